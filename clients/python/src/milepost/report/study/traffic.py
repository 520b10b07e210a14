"""Traffic on edges, from SUMO's edge data (`outputs/edges.xml`): means over the runs of a variant."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from milepost.report.study.elements import read_elements
from milepost.report.study.model import EdgeMeans


@dataclass(slots=True)
class EdgeTraffic:
    """What was seen of an edge: time that vehicles were on it, what they drove, what they lost, how many there were."""

    sampled_s: float = 0.0
    driven_m: float = 0.0
    time_loss_s: float = 0.0
    vehicles: int = 0


def traffic_of(chunks: Iterable[bytes]) -> dict[str, EdgeTraffic]:
    """The traffic of one run, over all intervals it was told for. Raises ValueError when it is no edge data."""
    found: defaultdict[str, EdgeTraffic] = defaultdict(EdgeTraffic)

    def start(name: str, attributes: dict[str, str]) -> None:
        if name != "edge":
            return
        sampled_s = float(attributes.get("sampledSeconds", 0))
        one = found[attributes["id"]]
        one.sampled_s += sampled_s
        one.driven_m += sampled_s * float(attributes.get("speed", 0))
        one.time_loss_s += float(attributes.get("timeLoss", 0))
        # A vehicle is counted where it comes from another edge, or departs.
        one.vehicles += int(float(attributes.get("entered", 0))) + int(float(attributes.get("departed", 0)))

    read_elements(chunks, start, lambda _: None)
    return dict(found)


def means_of(runs: Sequence[Mapping[str, EdgeTraffic]]) -> dict[str, EdgeMeans]:
    """Means over runs of one variant: of speed over all time that vehicles were there, of the rest per run."""
    total: defaultdict[str, EdgeTraffic] = defaultdict(EdgeTraffic)
    for run in runs:
        for edge_id, one in run.items():
            there = total[edge_id]
            there.sampled_s += one.sampled_s
            there.driven_m += one.driven_m
            there.time_loss_s += one.time_loss_s
            there.vehicles += one.vehicles
    return {
        edge_id: EdgeMeans(
            speed_mps=one.driven_m / one.sampled_s if one.sampled_s > 0 else math.nan,
            delay_s=one.time_loss_s / len(runs),
            vehicles=one.vehicles / len(runs),
        )
        for edge_id, one in total.items()
    }
