"""Closing, opening and speed limits."""

from collections.abc import Iterable, Sequence
from functools import partial

from milepost.intervention.v1.intervention_pb2 import Close, Open, Place, SetSpeedLimit
from sim_worker.child.interventions.looks import Changes, Looks, Refusal


class Streets:
    """Remembers whom a lane was built for from its first change on."""

    def __init__(self, looks: Looks) -> None:
        self._looks = looks
        # Lane: classes it was closed to before anybody changed that.
        self._built: dict[str, Sequence[str]] = {}

    def close(self, asked: Close) -> Changes:
        """Raises Refusal."""
        lanes = self._lanes(asked.place)
        classes = self._classes(asked.vehicle_classes, lanes)
        return [partial(self._forbid, lane, frozenset(self._looks.closed_to(lane)) | classes) for lane in lanes]

    def open(self, asked: Open) -> Changes:
        """Raises Refusal."""
        lanes = self._lanes(asked.place)
        if not asked.vehicle_classes:
            return [partial(self._forbid, lane, self._built[lane]) for lane in lanes if lane in self._built]
        classes = self._classes(asked.vehicle_classes, lanes)
        return [partial(self._forbid, lane, frozenset(self._looks.closed_to(lane)) - classes) for lane in lanes]

    def set_speed_limit(self, asked: SetSpeedLimit) -> Changes:
        """Raises Refusal."""
        if not 0.0 < asked.speed_mps < float("inf"):
            raise Refusal("the speed must be positive", "speed_mps")
        set_max_speed = self._looks.api.lane.setMaxSpeed
        return [partial(set_max_speed, lane, asked.speed_mps) for lane in self._lanes(asked.place)]

    def _lanes(self, place: Place) -> list[str]:
        self._looks.edges(place.edge_ids, "place.edge_ids")
        self._looks.lanes(place.lane_ids, "place.lane_ids")
        lanes = [lane for edge_id in place.edge_ids for lane in self._looks.lanes_of(edge_id)]
        if not lanes and not place.lane_ids:
            raise Refusal("no edge and no lane is named", "place")
        return list(dict.fromkeys([*lanes, *place.lane_ids]))

    def _classes(self, named: Sequence[str], lanes: Sequence[str]) -> frozenset[str]:
        """The classes named, or all. A word that SUMO does not know would end the simulation."""
        known = self._looks.vehicle_classes(lanes[0])
        for word in named:
            if word not in known:
                raise Refusal(f"{word} is no vehicle class", "vehicle_classes")
        return frozenset(named) or known

    def _forbid(self, lane: str, classes: Iterable[str]) -> None:
        self._built.setdefault(lane, self._looks.closed_to(lane))
        self._looks.api.lane.setDisallowed(lane, sorted(classes))
