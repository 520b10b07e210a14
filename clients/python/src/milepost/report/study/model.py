"""Everything the report of a study tells. What is not known is empty or None, and its part of the page says so."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from milepost.study.v1.study_pb2 import Cell, Ranking, Study
from milepost.study.v1.study_service_pb2 import Decision


@dataclass(frozen=True, slots=True)
class Curves:
    """KPIs over simulated time of some variants (the leader, the baseline, a few next ones), a line for each run."""

    bucket_s: float
    times_s: Sequence[float]
    """Ends of the buckets, simulated seconds."""
    lines: Mapping[tuple[str, str], Sequence[Sequence[float]]]
    """By variant and metric (a field of Kpis, as QueryMetrics names and counts it): for each run a value per bucket,
    NaN where there is none. Variants in the order they are drawn in."""


@dataclass(frozen=True, slots=True)
class EdgeMeans:
    """What SUMO's edge data says of an edge, as means over the runs of a variant."""

    speed_mps: float
    """Mean speed of the vehicles there; NaN: there were none."""
    delay_s: float
    """Time lost there by all vehicles together (SUMO: timeLoss)."""
    vehicles: float
    """Vehicles that drove there (SUMO: entered + departed)."""


@dataclass(frozen=True, slots=True)
class DifferenceMap:
    """The same edges in two variants."""

    shapes: Mapping[str, Sequence[tuple[float, float]]]
    """By edge, the middle line of it in the network's coordinates, m; y grows upwards."""
    variant: str
    """The leader; or what is best but the baseline, where the baseline leads."""
    baseline: str
    of_variant: Mapping[str, EdgeMeans]
    of_baseline: Mapping[str, EdgeMeans]
    seeds: Sequence[int]
    """Seeds the means are over."""


@dataclass(frozen=True, slots=True)
class StudyReport:
    """A study as it is now."""

    study: Study
    """FULL view."""
    ranking: Ranking
    made: datetime
    cells: Sequence[Cell] = ()
    decisions: Sequence[Decision] = ()
    """In the order of their events."""
    curves: Curves | None = None
    map: DifferenceMap | None = None
    why_no_map: str = ""
    """In words, when there is none."""
    simulators: Sequence[str] = ()
    """SUMO's version and build, each once, as runs of the study told it."""
    reproduce: str = ""
    """One command that runs the same study again."""
    study_file: str = ""
    """The study as a file for that command; empty: it is at hand otherwise."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Other versions that matter, by name: the template, the client …"""
