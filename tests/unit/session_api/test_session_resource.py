"""What a session looks like to a client, event by event."""

from datetime import UTC, datetime, timedelta

from google.protobuf.message import Message

from milepost.event.v1.event_pb2 import (
    AttemptClaimed,
    CommandApplied,
    CommandRequested,
    Event,
    HandedOver,
    IntervalClosed,
    RunStarted,
    SessionCompleted,
    SessionCreated,
    SessionRecovered,
    StartCommand,
)
from milepost.event.v1.record_pb2 import EventBatch
from milepost.kpi.v1.kpi_pb2 import Kpis
from milepost.scenario.v1.scenario_pb2 import Scene
from milepost.session.v1.session_pb2 import Results, Session, SessionState
from session_api.gateways.session_resource import apply
from session_log.codec import BatchHeaders, LogMessage, events, record

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
CREATED = SessionCreated(display_name="d", auto_start=True, pool="p", scene=Scene(begin_time_s=100, end_time_s=200))


def log(*payloads: Message) -> list[Event]:
    """One event a second, ten simulated seconds each from the fourth on."""
    found: list[Event] = []
    for n, payload in enumerate(payloads):
        headers = BatchHeaders(n + 1, 1, 1 if n else 0, "n", BEGAN + timedelta(seconds=n))
        at = max(0, n - 2) * 10
        batch = EventBatch(records=[record(payload, step=at, sim_time_s=100.0 + at)])
        found += events("s", LogMessage(n + 1, headers, batch))
    return found


def after(*payloads: Message) -> Session:
    session = Session()
    for event in log(*payloads):
        apply(session, event)
    return session


RUNNING = (CREATED, AttemptClaimed(attempt=1, worker_id="w"), RunStarted(begin_time_s=100, step_length_s=1))


def test_a_waiting_session_says_what_it_waits_for() -> None:
    session = after(CREATED)
    assert session.state == SessionState.SESSION_STATE_PENDING
    assert list(session.conditions) == ["waiting for a worker of pool p"]
    assert list(after(*RUNNING).conditions) == []


def test_progress_is_what_the_latest_interval_says() -> None:
    session = after(*RUNNING, *[IntervalClosed(kpis=Kpis(running=n)) for n in range(3)])
    assert session.state == SessionState.SESSION_STATE_RUNNING
    progress = session.progress
    assert (progress.step, progress.sim_time_s, progress.kpis.running) == (30, 130, 2)
    assert progress.real_time_factor == 30 / 3
    assert progress.eta_s == 70 / 10


def test_an_event_that_comes_again_changes_nothing() -> None:
    session = after(*RUNNING, IntervalClosed())
    before = Session.FromString(session.SerializeToString())
    for event in log(*RUNNING, IntervalClosed()):
        apply(session, event)
    assert session == before


def test_a_session_handed_over_says_so_until_it_is_claimed_and_runs_when_recovered() -> None:
    let_go = (*RUNNING, HandedOver())
    assert list(after(*let_go).conditions) == ["handed over by w, waiting for another worker"]
    claimed = (*let_go, AttemptClaimed(attempt=2, worker_id="v"))
    assert after(*claimed).state == SessionState.SESSION_STATE_RECOVERING
    assert list(after(*claimed).conditions) == []
    assert after(*claimed, SessionRecovered()).state == SessionState.SESSION_STATE_RUNNING


def test_an_ended_session_has_its_results_and_no_expectation_left() -> None:
    completed = SessionCompleted(results=Results(steps=30, kpis=Kpis(arrived=7)))
    session = after(*RUNNING, IntervalClosed(), completed)
    assert session.state == SessionState.SESSION_STATE_COMPLETED
    assert (session.results.steps, session.progress.kpis.arrived) == (30, 7)
    assert session.HasField("end_time")
    assert not session.progress.HasField("eta_s")


def test_a_session_only_recorded_is_pending_once_its_start_was_applied() -> None:
    recorded = SessionCreated(auto_start=False)
    requested = CommandRequested(command_id="c", start=StartCommand())
    assert after(recorded, requested).state == SessionState.SESSION_STATE_CREATED
    assert after(recorded, requested, CommandApplied(command_id="c")).state == SessionState.SESSION_STATE_PENDING
