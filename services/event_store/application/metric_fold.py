"""What becomes of a run's intervals: values per bucket of simulated time and metric. Pure.

Intervals come in order of simulated time, so a bucket is over when an interval of another one comes, and nothing is
kept of an interval but what its bucket makes of it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from milepost.event.v1.metrics_pb2 import Aggregation
from milepost.kpi.v1.kpi_pb2 import Kpis
from milepost.options.v1 import options_pb2

KPI_CLASSES: Mapping[str, "options_pb2.KpiClass.ValueType"] = {
    field.name: field.GetOptions().Extensions[options_pb2.kpi_class]
    for field in Kpis.DESCRIPTOR.fields
    if field.GetOptions().Extensions[options_pb2.kpi_class]
}
"""What each KPI counts: the contract's own table."""

_NATURAL = {
    options_pb2.KPI_CLASS_COUNTER: Aggregation.AGGREGATION_INCREMENT,
    options_pb2.KPI_CLASS_GAUGE: Aggregation.AGGREGATION_MEAN,
    options_pb2.KPI_CLASS_TRIP_MEAN: Aggregation.AGGREGATION_INCREMENT,
}
_OF_GAUGES = (Aggregation.AGGREGATION_MEAN, Aggregation.AGGREGATION_MIN, Aggregation.AGGREGATION_MAX)
# SUMO says so of the mean speed of no vehicles.
_NO_SPEED = -1.0

Key = int | str


@dataclass(frozen=True, slots=True)
class Metric:
    """A KPI and what is made of it."""

    name: str
    aggregation: "Aggregation.ValueType"

    @property
    def kpi_class(self) -> "options_pb2.KpiClass.ValueType":
        """What it counts."""
        return KPI_CLASSES[self.name]


def metric(name: str, asked: "Aggregation.ValueType") -> Metric | None:
    """A metric as asked for; None when the aggregation means nothing for what it counts."""
    aggregation = asked or _NATURAL[KPI_CLASSES[name]]
    gauge = KPI_CLASSES[name] == options_pb2.KPI_CLASS_GAUGE
    if aggregation == Aggregation.AGGREGATION_LAST or gauge == (aggregation in _OF_GAUGES):
        return Metric(name, aggregation)
    return None


@dataclass(slots=True)
class _Gauge:
    """A gauge within a bucket."""

    count: int = 0
    total: float = 0.0
    least: float = math.inf
    greatest: float = -math.inf

    def take(self, value: float) -> None:
        """One more interval."""
        self.count += 1
        self.total += value
        self.least, self.greatest = min(self.least, value), max(self.greatest, value)

    def value(self, aggregation: "Aggregation.ValueType") -> float:
        """What they come to."""
        if not self.count:
            return math.nan
        match aggregation:
            case Aggregation.AGGREGATION_MIN:
                return self.least
            case Aggregation.AGGREGATION_MAX:
                return self.greatest
            case _:
                return self.total / self.count


@dataclass(slots=True)
class RunFold:
    """Folds the intervals of one run; `values` has a value per metric for each bucket, after `close`.

    `bucket_of` tells the bucket an interval ends in, None: in none. `before` are the KPIs where the first interval
    begins, None: unknown.
    """

    metrics: Sequence[Metric]
    bucket_of: Callable[[float], Key | None]
    before: Kpis | None
    values: dict[Key, list[float]] = field(default_factory=dict)
    intervals: int = 0
    _key: Key | None = None
    _last: Kpis | None = None
    _gauges: dict[str, _Gauge] = field(default_factory=dict)

    def take(self, sim_time_s: float, kpis: Kpis) -> Key | None:
        """One more interval; the bucket it ends in."""
        key = self.bucket_of(sim_time_s)
        if key != self._key:
            self.close()
            self._key = key
            self._gauges = {one.name: _Gauge() for one in self.metrics if one.aggregation in _OF_GAUGES}
        if key is not None:
            self.intervals += 1
            for name, gauge in self._gauges.items():
                value = getattr(kpis, name)
                if value != _NO_SPEED:
                    gauge.take(value)
        self._last = kpis
        return key

    def close(self) -> None:
        """The bucket is over."""
        if self._key is not None and self._last is not None:
            self.values[self._key] = [self._value(one, self._last) for one in self.metrics]
        if self._last is not None:
            self.before = self._last
        self._key = None

    def settle(self, key: Key, alone: Kpis) -> None:
        """The simulation itself said what came about in a bucket alone."""
        if key not in self.values:
            return
        for place, one in enumerate(self.metrics):
            if one.aggregation == Aggregation.AGGREGATION_INCREMENT:
                self.values[key][place] = increment(one, alone, Kpis())

    def _value(self, one: Metric, last: Kpis) -> float:
        if one.aggregation in _OF_GAUGES:
            return self._gauges[one.name].value(one.aggregation)
        if one.aggregation == Aggregation.AGGREGATION_INCREMENT:
            return math.nan if self.before is None else increment(one, last, self.before)
        value = float(getattr(last, one.name))
        return math.nan if value == _NO_SPEED else value


def increment(one: Metric, whole: Kpis, first: Kpis) -> float:
    """What came about after `first`, which `whole` begins with; of a mean, over the trips that ended since."""
    now, then = getattr(whole, one.name), getattr(first, one.name)
    if one.kpi_class == options_pb2.KPI_CLASS_COUNTER:
        return float(now - then)
    trips = whole.trips - first.trips
    return (now * whole.trips - then * first.trips) / trips if trips > 0 else math.nan


@dataclass(slots=True)
class Spread:
    """Values of one bucket over sessions, one after the other (Welford)."""

    count: int = 0
    mean: float = math.nan
    least: float = math.nan
    greatest: float = math.nan
    _squares: float = 0.0

    def take(self, value: float) -> None:
        """One more session; a missing value counts for nothing."""
        if math.isnan(value):
            return
        self.count += 1
        if self.count == 1:
            self.mean = self.least = self.greatest = value
            return
        off = value - self.mean
        self.mean += off / self.count
        self._squares += off * (value - self.mean)
        self.least, self.greatest = min(self.least, value), max(self.greatest, value)

    @property
    def standard_deviation(self) -> float:
        """Of the sample."""
        return math.sqrt(self._squares / (self.count - 1)) if self.count > 1 else math.nan
