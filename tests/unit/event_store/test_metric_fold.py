"""Values per bucket against a naive fold that keeps everything."""

import math
from statistics import fmean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_store.application.metric_fold import KPI_CLASSES, Metric, RunFold, Spread, metric
from milepost.event.v1.metrics_pb2 import Aggregation
from milepost.kpi.v1.kpi_pb2 import Kpis
from milepost.options.v1 import options_pb2

LAST, MEAN = Aggregation.AGGREGATION_LAST, Aggregation.AGGREGATION_MEAN
MIN, MAX = Aggregation.AGGREGATION_MIN, Aggregation.AGGREGATION_MAX
INCREMENT = Aggregation.AGGREGATION_INCREMENT
METRICS = [
    *(Metric("running", aggregation) for aggregation in (LAST, MEAN, MIN, MAX)),
    *(Metric("mean_speed_mps", aggregation) for aggregation in (LAST, MEAN, MIN, MAX)),
    *(Metric("arrived", aggregation) for aggregation in (LAST, INCREMENT)),
    *(Metric("mean_travel_time_s", aggregation) for aggregation in (LAST, INCREMENT)),
]

counts = st.integers(0, 1000)
steps = st.lists(
    st.tuples(
        st.integers(1, 30),
        counts,
        st.one_of(st.just(-1.0), st.floats(0, 40)),
        counts,
        st.integers(0, 50),
        st.floats(0, 4000),
    ),
    max_size=40,
)


def history(drawn: list[tuple[int, int, float, int, int, float]]) -> list[tuple[float, Kpis]]:
    """Intervals as SUMO could have told them: counters never fall."""
    found, at, arrived, trips = [], 0, 0, 0
    for gap, running, speed, more, ended, mean in drawn:
        at, arrived, trips = at + gap, arrived + more, trips + ended
        kpis = Kpis(running=running, mean_speed_mps=speed, arrived=arrived, trips=trips, mean_travel_time_s=mean)
        found.append((at / 10, kpis))
    return found


def naive(one: Metric, intervals: list[Kpis], before: Kpis | None) -> float:
    values = [getattr(kpis, one.name) for kpis in intervals]
    there = [value for value in values if value != -1.0]
    match one.aggregation:
        case Aggregation.AGGREGATION_LAST:
            return math.nan if values[-1] == -1.0 else values[-1]
        case Aggregation.AGGREGATION_INCREMENT if before is None:
            return math.nan
        case Aggregation.AGGREGATION_INCREMENT if one.name == "arrived":
            return intervals[-1].arrived - before.arrived
        case Aggregation.AGGREGATION_INCREMENT:
            last, trips = intervals[-1], intervals[-1].trips - before.trips
            total = last.mean_travel_time_s * last.trips - before.mean_travel_time_s * before.trips
            return total / trips if trips else math.nan
        case Aggregation.AGGREGATION_MEAN:
            return fmean(there) if there else math.nan
        case _:
            pick = min if one.aggregation == MIN else max
            return pick(there, default=math.nan)


@given(steps, st.floats(0.1, 100), st.sampled_from([Kpis(), None]))
def test_a_bucket_holds_what_its_intervals_come_to(drawn, bucket_s: float, begin: Kpis | None) -> None:
    intervals = history(drawn)

    def bucket_of(at: float) -> int | None:
        number = math.ceil(at / bucket_s)
        return number if number % 3 else None

    fold = RunFold(METRICS, bucket_of, begin)
    for at, kpis in intervals:
        fold.take(at, kpis)
    fold.close()

    keys = {bucket_of(at) for at, _ in intervals} - {None}
    assert set(fold.values) == keys
    for key in keys:
        inside = [kpis for at, kpis in intervals if bucket_of(at) == key]
        earlier = [kpis for at, kpis in intervals if math.ceil(at / bucket_s) < key]
        before = earlier[-1] if earlier else begin
        expected = [naive(one, inside, before) for one in METRICS]
        assert fold.values[key] == pytest.approx(expected, nan_ok=True, abs=1e-9)


@given(st.lists(st.one_of(st.just(math.nan), st.floats(-1e6, 1e6)), max_size=20))
def test_a_spread_is_that_of_its_values(values: list[float]) -> None:
    spread = Spread()
    for value in values:
        spread.take(value)
    there = [value for value in values if not math.isnan(value)]
    assert spread.count == len(there)
    assert spread.mean == pytest.approx(fmean(there) if there else math.nan, nan_ok=True, abs=1e-6)
    assert spread.least == pytest.approx(min(there, default=math.nan), nan_ok=True)
    assert spread.greatest == pytest.approx(max(there, default=math.nan), nan_ok=True)
    expected = stdev(there) if len(there) > 1 else math.nan
    assert spread.standard_deviation == pytest.approx(expected, nan_ok=True, rel=1e-6, abs=1e-4)


def test_every_number_among_the_kpis_says_what_it_counts() -> None:
    numbers = [kpi.name for kpi in Kpis.DESCRIPTOR.fields if kpi.type != kpi.TYPE_BOOL]
    assert list(KPI_CLASSES) == numbers


@pytest.mark.parametrize("name", list(KPI_CLASSES))
def test_what_means_nothing_is_no_metric(name: str) -> None:
    gauge = KPI_CLASSES[name] == options_pb2.KPI_CLASS_GAUGE
    allowed = {LAST, MEAN, MIN, MAX} if gauge else {LAST, INCREMENT}
    assert {one for one in (LAST, MEAN, MIN, MAX, INCREMENT) if metric(name, one)} == allowed
    natural = metric(name, Aggregation.AGGREGATION_UNSPECIFIED)
    assert natural is not None
    assert natural.aggregation == (MEAN if gauge else INCREMENT)
