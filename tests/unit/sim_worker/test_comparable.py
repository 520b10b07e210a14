"""Behind a state file the judge looks at everything but sums and means over trips."""

import pytest

from milepost.event.v1.event_pb2 import Event, IntervalClosed, StartKind
from milepost.kpi.v1.kpi_pb2 import Kpis
from session_log.codec import kind_of
from sim_worker.application.comparable import judge_of
from sim_worker.domain.judge import Diverged, Simulated

STATE_FILE = StartKind.START_KIND_STATE_FILE
RECORDED = Kpis(departed=9, trips=3, mean_travel_time_s=31.45)


def recorded(kpis: Kpis) -> Event:
    return Event(step=10, sim_time_s=10.0, interval_closed=IntervalClosed(kpis=kpis, state_digest=b"state"))


def computed(kpis: Kpis, state_digest: bytes = b"state") -> Simulated:
    payload = IntervalClosed(kpis=kpis, state_digest=state_digest).SerializeToString()
    return Simulated(kind_of(IntervalClosed), 10, 10.0, payload)


def about(**fields: float) -> Kpis:
    return Kpis(approximate_trips=True, **fields)  # type: ignore[arg-type]


def test_the_last_digit_of_a_mean_is_no_difference() -> None:
    judge = judge_of([recorded(RECORDED)], start=STATE_FILE)
    assert judge.is_known(computed(about(departed=9, trips=3, mean_travel_time_s=31.46)))


@pytest.mark.parametrize(
    "differs",
    [
        computed(about(departed=8, trips=3, mean_travel_time_s=31.45)),
        computed(about(departed=9, trips=2, mean_travel_time_s=31.45)),
        computed(about(departed=9, trips=3, mean_travel_time_s=31.45), b"other"),
    ],
)
def test_a_count_or_another_state_is_one(differs: Simulated) -> None:
    with pytest.raises(Diverged):
        judge_of([recorded(RECORDED)], start=STATE_FILE).is_known(differs)


def test_from_the_origin_every_digit_counts() -> None:
    with pytest.raises(Diverged):
        judge_of([recorded(RECORDED)]).is_known(computed(Kpis(departed=9, trips=3, mean_travel_time_s=31.46)))


def test_what_stands_in_the_log_behind_a_state_file_is_compared_likewise_from_the_origin() -> None:
    judge = judge_of([recorded(about(departed=9, trips=3, mean_travel_time_s=31.44))])
    assert judge.is_known(computed(RECORDED))
