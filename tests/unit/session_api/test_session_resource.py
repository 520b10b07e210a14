"""What a session looks like to a client, event by event."""

import sys
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from google.protobuf.message import Message
from projected_logs import BEGAN, CREATED, RUNNING, after, log, projected

from milepost.checkpoint.v1.checkpoint_pb2 import Exactness
from milepost.event.v1.event_pb2 import (
    AttemptClaimed,
    ClaimReason,
    CommandApplied,
    CommandRejected,
    CommandRequested,
    ExactnessBroken,
    HandedOver,
    IntervalClosed,
    Label,
    Paused,
    RecoveryJudged,
    ResourceUsed,
    RunCause,
    RunOpened,
    SessionCompleted,
    SessionCreated,
    SessionDeleted,
    SessionFailed,
    SessionRecovered,
    SessionUndeleted,
    SessionUpdated,
    SetPaceCommand,
    StartCommand,
    StepCommand,
    SuspendCommand,
    Verdict,
)
from milepost.kpi.v1.kpi_pb2 import Kpis
from milepost.scenario.v1.scenario_pb2 import Scene
from milepost.session.v1.session_pb2 import (
    Failure,
    Limits,
    ResourceUsage,
    Results,
    Session,
    SessionSpec,
    SessionState,
)
from session_api.gateways.projected import Projected
from session_api.gateways.session_resource import apply, etag


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
    found = projected(*RUNNING, IntervalClosed())
    before = Session.FromString(found.session.SerializeToString())
    for event in log(*RUNNING, IntervalClosed()):
        assert apply(found, event) is None
    assert found.session == before


def test_a_session_handed_over_says_so_until_it_is_claimed_and_runs_when_recovered() -> None:
    let_go = (*RUNNING, HandedOver())
    assert list(after(*let_go).conditions) == ["handed over by w, waiting for another worker"]
    claimed = (*let_go, AttemptClaimed(attempt=2, worker_id="v"))
    assert after(*claimed).state == SessionState.SESSION_STATE_RECOVERING
    assert list(after(*claimed).conditions) == ["simulating again up to step 0"]
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


def asked(command_id: str, **verb: Message) -> CommandRequested:
    return CommandRequested(command_id=command_id, **verb)  # type: ignore[arg-type]


def test_an_outcome_means_what_its_command_asked_for_also_after_a_restart_of_the_projection() -> None:
    events = log(*RUNNING, asked("c", suspend=SuspendCommand()), CommandApplied(command_id="c"))
    found = Projected()
    for event in events:
        # Every event in a process of its own: what is needed of the past is in the row.
        found = Projected.of_row(found.session.SerializeToString(), found.pool, found.memory())
        outcome = apply(found, event)
    assert found.session.state == SessionState.SESSION_STATE_SUSPENDED
    assert outcome is not None
    assert (outcome.command_id, outcome.applied, outcome.seq, outcome.step) == ("c", True, 5, 20)
    assert found.open_commands == {}


def test_a_suspension_that_was_rejected_leaves_the_session_running() -> None:
    suspending = (*RUNNING, asked("c", suspend=SuspendCommand()))
    assert after(*suspending).state == SessionState.SESSION_STATE_SUSPENDING
    rejected = CommandRejected(command_id="c", message="m", field="f")
    assert after(*suspending, rejected).state == SessionState.SESSION_STATE_RUNNING
    outcome = apply(projected(*suspending), log(*suspending, rejected)[-1])
    assert outcome is not None
    assert (outcome.applied, outcome.message, outcome.field) == (False, "m", "f")


def test_pace_is_what_was_applied_and_a_pause_stays_until_the_next_command() -> None:
    paced = (*RUNNING, asked("c", set_pace=SetPaceCommand(factor=2)), CommandApplied(command_id="c"))
    assert after(*paced[:-1]).pace.factor == 0
    assert (after(*paced).pace.factor, after(*paced).pace.paused) == (2, False)
    stepping = (*paced, asked("d", step=StepCommand(steps=5)), CommandApplied(command_id="d"))
    assert after(*stepping).pace.hold_at_step == 40 + 5
    paused = after(*stepping, Paused())
    assert (paused.pace.factor, paused.pace.paused, paused.pace.HasField("hold_at_step")) == (2, True, False)
    assert list(paused.conditions) == ["paused at step 50"]
    goes_on = (*stepping, Paused(), asked("e", set_pace=SetPaceCommand()), CommandApplied(command_id="e"))
    assert not after(*goes_on).pace.paused
    assert list(after(*goes_on).conditions) == []


def test_another_pace_leaves_a_hold_that_is_still_ahead() -> None:
    stepping = (*RUNNING, asked("c", step=StepCommand(steps=500)), CommandApplied(command_id="c"))
    faster = (*stepping, asked("d", set_pace=SetPaceCommand(factor=3)), CommandApplied(command_id="d"))
    pace = after(*faster).pace
    assert (pace.factor, pace.hold_at_step, pace.paused) == (3, 20 + 500, False)
    halted = (*stepping, asked("d", set_pace=SetPaceCommand(paused=True)), CommandApplied(command_id="d"))
    pace = after(*halted).pace
    assert (pace.HasField("hold_at_step"), pace.paused) == (False, True)


def test_pace_begins_as_the_spec_has_it_and_is_carried_into_a_run_that_goes_on() -> None:
    spec = SessionSpec(pace=4, start_paused=True)
    begun = (SessionCreated(auto_start=True, pool="p", spec=spec), *RUNNING[1:])
    assert (after(*begun).pace.factor, after(*begun).pace.hold_at_step) == (4, 0)
    back = RunOpened(run=2, because=RunCause.RUN_CAUSE_ROLLBACK, base_run=1, step=20, spec=spec)
    stood = after(*begun, Paused(), back).pace
    assert (stood.factor, stood.paused, stood.hold_at_step) == (4, False, 20)
    moving = (*RUNNING, asked("c", set_pace=SetPaceCommand(factor=2)), CommandApplied(command_id="c"), back)
    assert (after(*moving).pace.factor, after(*moving).pace.HasField("hold_at_step")) == (2, False)


def test_attempts_say_why_they_were_made_and_what_the_log_said_of_them() -> None:
    moved = AttemptClaimed(attempt=2, worker_id="v", because=ClaimReason.CLAIM_REASON_WORKER_LOST)
    judged = RecoveryJudged(verdict=Verdict.VERDICT_AGREED, intervals=7)
    session = after(*RUNNING, moved, judged)
    assert [attempt.worker_id for attempt in session.attempts] == ["w", "v"]
    last = session.attempts[-1]
    assert (last.because, last.verdict) == ("the worker before did not answer any more", "AGREED")
    assert (last.intervals_again, last.run) == (7, 1)
    assert session.exactness == Exactness.EXACTNESS_AGREED
    assert after(*RUNNING).exactness == Exactness.EXACTNESS_EXACT
    broken = after(*RUNNING, ExactnessBroken(), moved, judged)
    assert broken.exactness == Exactness.EXACTNESS_BROKEN


def test_a_hundred_claims_are_listed_and_the_oldest_go() -> None:
    session = after(CREATED, *[AttemptClaimed(attempt=n, worker_id="w") for n in range(1, 151)])
    assert [attempt.attempt for attempt in session.attempts] == list(range(51, 151))
    assert session.attempt == 150


def test_the_etag_changes_with_every_command_and_with_nothing_else() -> None:
    tags = [
        after(*RUNNING).etag,
        after(*RUNNING, asked("c", set_pace=SetPaceCommand())).etag,
        after(*RUNNING, asked("c", set_pace=SetPaceCommand()), asked("d", set_pace=SetPaceCommand())).etag,
    ]
    assert len(set(tags)) == 3
    assert after(*RUNNING, IntervalClosed(), Paused()).etag == tags[0] == etag("s", None)
    assert tags[2] == etag("s", "d")


def test_an_update_shows_in_names_task_and_expected_end() -> None:
    updated = SessionUpdated(
        display_name="new", labels=[Label(key="k", value="v")], spec=SessionSpec(seed=7), scene=Scene(end_time_s=300)
    )
    session = after(*RUNNING, updated)
    assert (session.display_name, dict(session.labels), session.spec.seed) == ("new", {"k": "v"}, 7)
    assert session.progress.end_time_s == 300


def test_a_new_run_begins_with_nothing_of_the_old_end() -> None:
    over = (*RUNNING, IntervalClosed(kpis=Kpis(arrived=5)), SessionFailed(failure=Failure(message="m")))
    assert after(*over).failure.message == "m"
    scene = Scene(begin_time_s=100, end_time_s=400)
    opened = RunOpened(run=2, because=RunCause.RUN_CAUSE_RESTART, scene=scene)
    session = after(*over, opened)
    assert (session.state, session.run) == (SessionState.SESSION_STATE_PENDING, 2)
    assert not any(session.HasField(name) for name in ("failure", "results", "end_time"))
    progress = session.progress
    assert (progress.step, progress.sim_time_s, progress.end_time_s) == (0, 100, 400)
    assert progress.kpis == Kpis()
    assert list(session.conditions) == ["waiting for a worker of pool p"]
    assert after(*over, opened, AttemptClaimed(attempt=2)).state == SessionState.SESSION_STATE_PREPARING


def test_a_deleted_session_says_when_it_goes_until_it_is_undeleted() -> None:
    gone = SessionDeleted()
    gone.purge_time.FromDatetime(BEGAN)
    deleted = after(*RUNNING, SessionCompleted(), gone)
    assert deleted.HasField("delete_time")
    assert deleted.purge_time == gone.purge_time
    there = after(*RUNNING, SessionCompleted(), gone, SessionUndeleted())
    assert not there.HasField("delete_time")
    assert not there.HasField("purge_time")


def test_usage_is_that_of_the_latest_attempt() -> None:
    used = ResourceUsed(usage=ResourceUsage(cpu_s=3))
    assert after(*RUNNING, used).usage.cpu_s == 3
    assert not after(*RUNNING, used, AttemptClaimed(attempt=2)).HasField("usage")


def test_only_a_session_that_just_stands_is_idle_and_only_with_a_ttl() -> None:
    limited = SessionCreated(auto_start=True, spec=SessionSpec(limits=Limits(idle_ttl_s=60)))
    suspended = (asked("c", suspend=SuspendCommand()), CommandApplied(command_id="c"))
    idle = projected(limited, *suspended)
    assert idle.idle_until == (BEGAN + timedelta(seconds=2 + 60)).replace(tzinfo=None)
    assert projected(limited).idle_until is None
    assert projected(SessionCreated(auto_start=True), *suspended).idle_until is None
    paused = projected(limited, *RUNNING[1:], Paused())
    assert paused.idle_until == (BEGAN + timedelta(seconds=3 + 60)).replace(tzinfo=None)
    assert projected(limited, *RUNNING[1:], Paused(), asked("d", step=StepCommand(steps=1))).idle_until is None
