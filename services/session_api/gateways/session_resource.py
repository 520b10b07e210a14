"""What a session looks like to a client: its log, event by event, applied to the resource `Session`.

The fold (session_log.domain.fold) is the only judge of states. What it needs beyond the resource is kept beside
it: the open commands, without which an outcome means nothing.
"""

import hashlib
from types import MappingProxyType

from google.protobuf.timestamp_pb2 import Timestamp

from milepost.checkpoint.v1.checkpoint_pb2 import Exactness
from milepost.event.v1.event_pb2 import CommandRequested, Event, RunCause, RunOpened, SessionCreated, SessionUpdated
from milepost.scenario.v1.scenario_pb2 import Scene
from milepost.session.v1.session_pb2 import Attempt, Session, SessionState
from session_api.gateways.projected import Outcome, Projected
from session_api.gateways.resource_parts import (
    CLAIMED_BECAUSE,
    VERDICTS,
    add_checkpoint,
    begin_pace,
    begin_phase,
    carry_pace,
    close_phases,
    describe_conditions,
    drop_checkpoint,
    end_phase,
    pin_checkpoint,
    plan_phases,
    set_pace,
)
from session_log.domain.fold import Command, SessionLife
from session_log.domain.lifecycle import ENDED, State
from session_log.facts import fold_event, verb_of
from session_log.fold_past import wish_after
from session_log.planned import end_of

# Claims that are listed; the log has all.
MAX_ATTEMPTS = 100


def etag(session_id: str, last_command_id: str | None) -> str:
    """What changes with every command. The log and the projection of it agree on it."""
    return hashlib.sha256((last_command_id or session_id).encode()).hexdigest()[:16]


def apply(projected: Projected, event: Event) -> Outcome | None:
    """One more event, and the outcome of a command where it is one.

    Events at or before `session.seq` were applied already and change nothing.
    """
    session = projected.session
    if event.seq <= session.seq:
        return None
    was = session.state
    life = fold_event(_life(projected), event)
    session.state = SessionState.ValueType((life.state or State.CREATED).value)
    session.seq, session.run = event.seq, life.run
    session.attempt = max(session.attempt, event.attempt)
    outcome = _take_in(projected, event)
    session.update_time.CopyFrom(event.record_time)
    if session.state != was or outcome is not None or event.HasField("paused"):
        projected.idle_since_s = event.record_time.ToMicroseconds() / 1e6
    if life.ended and State(was or 1) not in ENDED:
        _end(session, event)
    describe_conditions(projected, event)
    return outcome


def _life(projected: Projected) -> SessionLife:
    session = projected.session
    commands = {name: Command(name, verb_of(asked), b"") for name, asked in projected.open_commands.items()}
    return SessionLife(
        state=State(session.state) if session.state else None,
        seq=session.seq,
        run=session.run or 1,
        attempt=session.attempt,
        new_run=not session.attempts or session.attempts[-1].run != session.run,
        commands=MappingProxyType(commands),
    )


def _take_in(projected: Projected, event: Event) -> Outcome | None:
    session = projected.session
    match event.WhichOneof("payload"):
        case "session_created":
            _create(session, event.session_id, event.session_created, event.record_time)
            projected.pool = event.session_created.pool
            projected.waits_for_quota = event.session_created.wait_for_quota
        case "command_requested":
            command = event.command_requested
            projected.open_commands[command.command_id] = command
            session.etag = etag(session.session_id, command.command_id)
        case "command_applied":
            answered = projected.open_commands.pop(event.command_applied.command_id, None)
            _applied(projected, answered, event)
            return Outcome.of_applied(event)
        case "command_rejected":
            projected.open_commands.pop(event.command_rejected.command_id, None)
            return Outcome.of_rejected(event)
        case "session_updated":
            _update(session, event.session_updated)
        case "run_opened":
            _open_run(session, event.run_opened)
        case "session_deleted":
            session.delete_time.CopyFrom(event.record_time)
            session.purge_time.CopyFrom(event.session_deleted.purge_time)
        case "session_undeleted":
            session.ClearField("delete_time")
            session.ClearField("purge_time")
        case "session_forked":
            session.forks.append(event.session_forked.session_id)
        case _:
            _take_in_from_worker(projected, event)
    return None


def _take_in_from_worker(projected: Projected, event: Event) -> None:  # noqa: PLR0912 - one case per kind
    session = projected.session
    match event.WhichOneof("payload"):
        case "attempt_claimed":
            _claim(session, event)
        case "run_started":
            _start(session, event)
            _mark(projected, event)
        case "session_recovered":
            for attempt in session.attempts[-1:]:
                attempt.ready_time.CopyFrom(event.record_time)
            _mark(projected, event)
        case "recovery_judged":
            judged = event.recovery_judged
            if session.attempts:
                session.attempts[-1].verdict = VERDICTS.get(judged.verdict, "")
                session.attempts[-1].intervals_again = judged.intervals
            if VERDICTS.get(judged.verdict) == "AGREED" and session.exactness != Exactness.EXACTNESS_BROKEN:
                session.exactness = Exactness.EXACTNESS_AGREED
        case "exactness_broken":
            session.exactness = Exactness.EXACTNESS_BROKEN
        case "interval_closed":
            _progress_to(projected, event)
            session.progress.kpis.CopyFrom(event.interval_closed.kpis)
        case "paused":
            session.pace.paused = True
            session.pace.ClearField("hold_at_step")
            _progress_to(projected, event)
            session.progress.ClearField("eta_s")
        case "phase_started":
            begin_phase(session, event)
        case "phase_ended":
            end_phase(session, event)
        case "checkpoint_committed":
            add_checkpoint(session, event)
        case "checkpoint_pinned":
            pin_checkpoint(session, event.checkpoint_pinned.checkpoint_id, pinned=event.checkpoint_pinned.pinned)
        case "checkpoint_deleted":
            drop_checkpoint(session, event.checkpoint_deleted.checkpoint_id)
        case "resource_used":
            session.usage.CopyFrom(event.resource_used.usage)
        case "artifact_stored":
            session.artifacts.append(event.artifact_stored.artifact)
        case "session_completed":
            session.results.CopyFrom(event.session_completed.results)
            _progress_to(projected, event)
            session.progress.kpis.CopyFrom(event.session_completed.results.kpis)
        case "session_failed":
            session.failure.CopyFrom(event.session_failed.failure)


def _create(session: Session, session_id: str, created: SessionCreated, at: Timestamp) -> None:
    session.session_id, session.owner = session_id, created.subject
    session.create_time.CopyFrom(at)
    session.etag = etag(session_id, None)
    session.exactness = Exactness.EXACTNESS_EXACT
    _update(session, SessionUpdated(display_name=created.display_name, labels=created.labels, spec=created.spec))
    session.scene.CopyFrom(created.scene)
    at_step, at_time_s = 0, created.scene.begin_time_s
    if created.HasField("forked_from"):
        session.forked_from.CopyFrom(created.forked_from)
        at_step, at_time_s = created.forked_from.step, created.forked_from.sim_time_s
    _stand(session, created.scene, at_step, at_time_s)
    begin_pace(session, at_step)
    plan_phases(session, at_time_s)


def _claim(session: Session, event: Event) -> None:
    claimed = event.attempt_claimed
    session.worker_id, session.attempt = claimed.worker_id, claimed.attempt
    session.ClearField("usage")
    attempt = Attempt(
        attempt=claimed.attempt,
        run=session.run,
        worker_id=claimed.worker_id,
        because=CLAIMED_BECAUSE.get(claimed.because, ""),
    )
    attempt.claim_time.CopyFrom(event.record_time)
    attempt.previous_time.CopyFrom(session.update_time)
    session.attempts.append(attempt)
    del session.attempts[:-MAX_ATTEMPTS]


def _start(session: Session, event: Event) -> None:
    session.execution.CopyFrom(event.run_started.execution)
    session.progress.begin_time_s = event.run_started.begin_time_s
    if not session.HasField("start_time"):
        session.start_time.CopyFrom(event.record_time)
    # A later attempt of the run is ready when it has recovered.
    if sum(attempt.run == session.run for attempt in session.attempts) == 1:
        session.attempts[-1].ready_time.CopyFrom(event.record_time)


def _update(session: Session, updated: SessionUpdated) -> None:
    session.display_name = updated.display_name
    session.labels.clear()
    session.labels.update({label.key: label.value for label in updated.labels})
    session.spec.CopyFrom(updated.spec)
    if updated.HasField("scene"):
        session.scene.CopyFrom(updated.scene)
        _expect_end(session, updated.scene)


def _open_run(session: Session, opened: RunOpened) -> None:
    wish = wish_after(SessionUpdated(spec=session.spec), opened)
    session.spec.CopyFrom(wish.spec)
    session.scene.CopyFrom(opened.scene)
    for cleared in ("results", "failure", "end_time", "usage", "artifacts"):
        session.ClearField(cleared)
    if opened.because == RunCause.RUN_CAUSE_RESTART:
        session.exactness = Exactness.EXACTNESS_EXACT
    carry_pace(session, opened)
    kpis = session.progress.kpis if session.progress.step == opened.step else None
    for checkpoint in session.checkpoints:
        if checkpoint.checkpoint_id == opened.checkpoint_id:
            kpis = checkpoint.kpis
    _stand(session, opened.scene, opened.step, opened.sim_time_s if opened.base_run else opened.scene.begin_time_s)
    if kpis is not None:
        session.progress.kpis.CopyFrom(kpis)
    plan_phases(session, session.progress.sim_time_s)


def _stand(session: Session, scene: Scene, step: int, sim_time_s: float) -> None:
    """Progress as it is where a run begins."""
    kpis = type(session.progress.kpis)()
    kpis.CopyFrom(session.progress.kpis)
    session.progress.Clear()
    session.progress.step, session.progress.sim_time_s = step, sim_time_s
    session.progress.begin_time_s = scene.begin_time_s
    _expect_end(session, scene)


def _expect_end(session: Session, scene: Scene) -> None:
    if (end_time_s := end_of(session.spec, scene)) is not None:
        session.progress.end_time_s = end_time_s
    else:
        session.progress.ClearField("end_time_s")


def _applied(projected: Projected, command: CommandRequested | None, event: Event) -> None:
    """What an applied command changes beside the state: the pace."""
    pace = projected.session.pace
    match command.WhichOneof("verb") if command else None:
        case "set_pace":
            assert command is not None
            set_pace(projected.session, command.set_pace, event.step)
        case "step":
            assert command is not None
            pace.paused, pace.hold_at_step = False, event.step + command.step.steps
        case "run_until":
            pace.paused = False
            pace.ClearField("hold_at_step")
        case _:
            return
    _mark(projected, event)


def _mark(projected: Projected, event: Event) -> None:
    """The real-time factor counts from here."""
    projected.paced_since_s = event.record_time.ToMicroseconds() / 1e6
    projected.paced_from_sim_s = projected.session.progress.sim_time_s


def _progress_to(projected: Projected, event: Event) -> None:
    progress = projected.session.progress
    progress.step, progress.sim_time_s = event.step, event.sim_time_s
    wall_s = event.record_time.ToMicroseconds() / 1e6 - projected.paced_since_s
    if wall_s > 0 and projected.paced_since_s:
        progress.real_time_factor = (event.sim_time_s - projected.paced_from_sim_s) / wall_s
    if progress.HasField("end_time_s") and progress.real_time_factor > 0:
        progress.eta_s = max(0.0, (progress.end_time_s - event.sim_time_s) / progress.real_time_factor)


def _end(session: Session, event: Event) -> None:
    session.end_time.CopyFrom(event.record_time)
    session.progress.ClearField("eta_s")
    close_phases(session, event)
