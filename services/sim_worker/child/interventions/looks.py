"""Looks at a simulation before it is changed: what there is, and what may be where."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from sim_worker.child.engine import Engine

# Changes that were found possible, in the order in which to make them.
Changes: TypeAlias = list[Callable[[], object]]

# The way of a pedestrian or vehicle of this class.
PEDESTRIAN = "pedestrian"


class Refusal(Exception):
    """An intervention is not possible now; nothing was changed."""

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class Looks:
    """What interventions ask of the simulation. The network does not change; what is in it does."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.api: Any = engine.api
        self._edges: frozenset[str] = frozenset()
        self._lanes: frozenset[str] = frozenset()

    def edges(self, edge_ids: Iterable[str], field: str) -> None:
        """Raises Refusal when the network lacks one of them."""
        self._edges = self._edges or frozenset(self.api.edge.getIDList())
        _all_known("edge", edge_ids, self._edges, field)

    def lanes(self, lane_ids: Iterable[str], field: str) -> None:
        """Raises Refusal when the network lacks one of them."""
        self._lanes = self._lanes or frozenset(self.api.lane.getIDList())
        _all_known("lane", lane_ids, self._lanes, field)

    def lanes_of(self, edge_id: str) -> list[str]:
        """The lanes of an edge, from the right."""
        return [f"{edge_id}_{index}" for index in range(self.api.edge.getLaneNumber(edge_id))]

    def closed_to(self, lane_id: str) -> Sequence[str]:
        """Vehicle classes that may not use a lane."""
        return tuple(self.api.lane.getDisallowed(lane_id))

    def vehicle_classes(self, lane_id: str) -> frozenset[str]:
        """All words for vehicle classes: each is either allowed on a lane or not."""
        return frozenset(self.api.lane.getAllowed(lane_id)) | frozenset(self.api.lane.getDisallowed(lane_id))

    def is_open(self, edge_id: str, vehicle_class: str) -> bool:
        """Whether a lane of the edge is open to the class."""
        return any(vehicle_class not in self.closed_to(lane_id) for lane_id in self.lanes_of(edge_id))

    def vehicles(self, vehicle_ids: Iterable[str], field: str) -> None:
        """Raises Refusal when one is neither in the network nor waiting to enter it."""
        present = frozenset(self.engine.vehicle_ids())
        for vehicle_id in vehicle_ids:
            if vehicle_id not in present and not self.knows_vehicle(vehicle_id):
                raise Refusal(f"there is no vehicle {vehicle_id}", field)

    def knows_vehicle(self, vehicle_id: str) -> bool:
        """Whether SUMO has the vehicle, departed or not."""
        try:
            self.api.vehicle.getRoadID(vehicle_id)
        except self.engine.refusal:
            return False
        return True

    def vehicle_type(self, type_id: str, field: str) -> None:
        """Raises Refusal when the scenario lacks it."""
        _all_known("vehicle type", [type_id], frozenset(self.api.vehicletype.getIDList()), field)

    def signal(self, signal_id: str, field: str) -> None:
        """Raises Refusal when the network lacks it."""
        _all_known("signal", [signal_id], frozenset(self.api.trafficlight.getIDList()), field)


def _all_known(what: str, ids: Iterable[str], known: frozenset[str], field: str) -> None:
    for wanted in ids:
        if wanted not in known:
            raise Refusal(f"there is no {what} {wanted}", field)
