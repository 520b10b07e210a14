"""Statistics as they follow from the logs."""

import pytest
from projected_logs import BEGAN, CREATED, RUNNING, after

from milepost.dispatch.v1.dispatch_pb2 import WorkerPresence
from milepost.event.v1.event_pb2 import (
    AttemptClaimed,
    ClaimReason,
    HandedOver,
    IntervalClosed,
    RecoveryJudged,
    RunStarted,
    SessionCancelled,
    SessionFailed,
    SessionRecovered,
    Verdict,
)
from milepost.session.v1.session_pb2 import Failure, FailureReason, SessionState
from milepost.session.v1.statistics_pb2 import Distribution
from session_api.application.gather_statistics import Tally, distribution

EXACT = RecoveryJudged(verdict=Verdict.VERDICT_EXACT, intervals=7)


def claimed(attempt: int, worker_id: str, because: ClaimReason.ValueType) -> AttemptClaimed:
    return AttemptClaimed(attempt=attempt, worker_id=worker_id, because=because)


FIRST = claimed(1, "w1", ClaimReason.CLAIM_REASON_NEW)


def test_an_attempt_is_ready_when_it_goes_on_where_the_log_stands() -> None:
    lost = claimed(2, "w2", ClaimReason.CLAIM_REASON_WORKER_LOST)
    session = after(CREATED, FIRST, RunStarted(), IntervalClosed(), lost, RunStarted(), EXACT, SessionRecovered())
    first, second = ([moment.ToDatetime(BEGAN.tzinfo) - BEGAN for moment in times(one)] for one in session.attempts)
    assert [moment.total_seconds() for moment in first] == [0, 1, 2]
    assert [moment.total_seconds() for moment in second] == [3, 4, 7]
    preparing = after(CREATED, FIRST)
    assert not preparing.attempts[0].HasField("ready_time")


def times(attempt):
    return attempt.previous_time, attempt.claim_time, attempt.ready_time


def test_losses_recoveries_and_their_time_are_told_per_worker() -> None:
    tally = Tally()
    lost = claimed(2, "w2", ClaimReason.CLAIM_REASON_WORKER_LOST)
    tally.take(after(CREATED, FIRST, RunStarted(), IntervalClosed(), lost, RunStarted(), EXACT, SessionRecovered()))
    died = claimed(2, "w1", ClaimReason.CLAIM_REASON_CHILD_DIED)
    tally.take(after(CREATED, FIRST, RunStarted(), died, RunStarted(), SessionFailed(failure=POISONED)))
    passed_on = claimed(2, "w2", ClaimReason.CLAIM_REASON_HANDED_OVER)
    tally.take(after(CREATED, FIRST, RunStarted(), HandedOver(), passed_on, RunStarted(), SessionRecovered()))
    found = tally.response([WorkerPresence(worker_id="w3", pool="p", slots=4, busy=1)])

    assert found.sessions == 3
    assert {one.state: one.sessions for one in found.states} == {
        SessionState.SESSION_STATE_RUNNING: 2,
        SessionState.SESSION_STATE_FAILED: 1,
    }
    assert [(one.reason, one.sessions) for one in found.failures] == [(FailureReason.FAILURE_REASON_POISONED, 1)]
    assert [one.attempts for one in found.claims] == [3, 1, 1, 1]
    assert [(one.verdict, one.attempts) for one in found.verdicts] == [("EXACT", 1)]
    assert found.intervals_again == 7
    first, second, third = found.workers
    assert (first.attempts, first.lost, first.recoveries, first.sessions, first.present) == (4, 2, 1, 0, False)
    assert (second.attempts, second.lost, second.recoveries, second.sessions) == (2, 0, 2, 2)
    assert (third.worker_id, third.present, third.slots, third.busy, third.attempts) == ("w3", True, 4, 1, 0)
    # The second never went on.
    assert (found.recovery_s.count, found.recovery_s.min, found.recovery_s.max) == (2, 2, 3)
    assert (found.outage_s.count, found.outage_s.min, found.outage_s.max) == (2, 3, 4)
    assert (found.queue_s.count, found.preparation_s.count) == (3, 3)


POISONED = Failure(reason=FailureReason.FAILURE_REASON_POISONED)


def test_real_time_factors_are_of_sessions_that_run_or_ran_freely() -> None:
    tally = Tally()
    tally.take(after(*RUNNING, IntervalClosed()))
    tally.take(after(*RUNNING, IntervalClosed(), SessionCancelled()))
    tally.take(after(CREATED))
    found = tally.response([])
    assert (found.running_factor.count, found.running_factor.mean) == (1, 10)
    assert found.ended_factor.count == 1


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], Distribution()),
        ([4.0], Distribution(count=1, min=4, mean=4, p50=4, p90=4, max=4)),
        (list(range(10, 0, -1)), Distribution(count=10, min=1, mean=5.5, p50=5, p90=9, max=10)),
    ],
)
def test_a_distribution_is_of_the_values_themselves(values, expected) -> None:
    assert distribution(values) == expected
