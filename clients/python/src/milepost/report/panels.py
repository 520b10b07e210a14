"""What is plotted over simulated time, in the page and in the picture alike."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from milepost.event.v1.metrics_pb2 import QueryMetricsResponse

# Two times that mean the same instant differ by less, seconds.
_SAME_S = 1e-6

COLOURS = (
    *("#0b6fb8", "#d55e00", "#00916b", "#b8519b", "#b98a00", "#5a4fcf"),
    *("#3d9fd6", "#8a2f12", "#6b8e23", "#d1477a", "#4a5a68", "#12807f"),
)
"""A colour per session, told apart also by those who see some colours alike."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One KPI over simulated time; `scale` turns it into `unit`, `per_hour` a count in a bucket into a flow."""

    metric: str
    title: str
    unit: str
    scale: float = 1.0
    per_hour: bool = False
    only_if_any: bool = False
    """Left out where there is hardly anything to see."""
    decimals: int = 0

    @property
    def heading(self) -> str:
        """Title and unit."""
        return f"{self.title}, {self.unit}" if self.unit else self.title

    def value(self, raw: float, bucket_s: float) -> float:
        """A value as it is shown."""
        return raw * self.scale * (3600 / bucket_s if self.per_hour else 1)


@dataclass(frozen=True, slots=True)
class Plot:
    """A panel and its lines: per session, points (simulated s at the bucket's end, value or NaN)."""

    panel: Panel
    times_s: Sequence[float]
    lines: Sequence[Sequence[float]]


PANELS = (
    Panel("running", "Vehicles in the network", ""),
    Panel("arrived", "Arrivals", "vehicles per hour", per_hour=True),
    Panel("mean_speed_mps", "Mean speed", "km/h", scale=3.6, decimals=1),
    Panel("halting", "Standing vehicles", ""),
    Panel("mean_travel_time_s", "Travel time of trips that ended", "s"),
    Panel("mean_time_loss_s", "Time lost on trips that ended", "s"),
    Panel("waiting", "Vehicles waiting to enter the network", "", only_if_any=True),
    Panel("persons", "Persons in the network", "", only_if_any=True),
    Panel("teleports", "Teleports", "per hour", per_hour=True, only_if_any=True),
    Panel("collisions", "Collisions", "per hour", per_hour=True, only_if_any=True),
)


def plots(metrics: QueryMetricsResponse, spans: Mapping[str, tuple[float, float]], bucket_s: float) -> Iterator[Plot]:
    """The panels that have something to show, for sessions by id and from when to when each was simulated.

    A flow is told of whole buckets only.
    """
    series = {(one.session_id, one.metric): one.values for one in metrics.series}
    times_s = [bucket.end_time_s for bucket in metrics.buckets]
    empty = [math.nan] * len(times_s)
    for panel in PANELS:
        lines = []
        for session_id, (begin_s, end_s) in spans.items():
            whole = [
                not panel.per_hour
                or (bucket.begin_time_s >= begin_s - _SAME_S and bucket.end_time_s <= end_s + _SAME_S)
                for bucket in metrics.buckets
            ]
            values = series.get((session_id, panel.metric), empty)
            lines.append(
                [panel.value(raw, bucket_s) if shown else math.nan for raw, shown in zip(values, whole, strict=True)]
            )
        if not panel.only_if_any or any(value >= 1 for line in lines for value in line):
            yield Plot(panel, times_s, lines)


def ticks(least: float, greatest: float, about: int) -> list[float]:
    """Round numbers from one end to the other."""
    rough = max(greatest - least, 1e-9) / about
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= rough * 0.999)
    return [number * step for number in range(math.ceil(least / step - 1e-9), math.floor(greatest / step + 1e-9) + 1)]


def time_ticks(begin_s: float, end_s: float, about: int) -> list[float]:
    """Round times of a clock from one end to the other."""
    steps = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400)
    step = next((one for one in steps if (end_s - begin_s) / one <= about), 86_400.0)
    return [number * step for number in range(math.ceil(begin_s / step - 1e-9), math.floor(end_s / step + 1e-9) + 1)]


def clock(time_s: float, *, seconds: bool = False) -> str:
    """Simulated seconds as hours and minutes, as SUMO counts them from midnight."""
    whole = round(time_s)
    words = f"{whole // 3600:02d}:{whole % 3600 // 60:02d}"
    return f"{words}:{whole % 60:02d}" if seconds else words
