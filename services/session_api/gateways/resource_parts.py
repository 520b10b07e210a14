"""Parts of the resource `Session`: pace, phases, checkpoints, conditions in words."""

from milepost.checkpoint.v1.checkpoint_pb2 import Checkpoint
from milepost.event.v1.event_pb2 import ClaimReason, Event, RunCause, RunOpened, SetPaceCommand, Verdict
from milepost.session.v1.session_pb2 import Pace, Phase, PhaseStatus, Session
from session_api.gateways.projected import Projected
from session_log.domain.lifecycle import ENDED, State

CLAIMED_BECAUSE = {
    ClaimReason.CLAIM_REASON_NEW: "it was new",
    ClaimReason.CLAIM_REASON_WORKER_LOST: "the worker before did not answer any more",
    ClaimReason.CLAIM_REASON_CHILD_DIED: "the process that ran SUMO died",
    ClaimReason.CLAIM_REASON_HANDED_OVER: "the worker before handed it over",
    ClaimReason.CLAIM_REASON_RESUMED: "it was resumed",
    ClaimReason.CLAIM_REASON_NEW_RUN: "a new run was opened",
    ClaimReason.CLAIM_REASON_DIVERGED: "the start before did not do what the log says",
}
"""Why a worker claimed, in words."""

VERDICTS = {
    Verdict.VERDICT_EXACT: "EXACT",
    Verdict.VERDICT_AGREED: "AGREED",
    Verdict.VERDICT_DIVERGED: "DIVERGED",
}
"""What the log said of an attempt."""

_HANDED_OVER = "handed over by "
_CHECKPOINTING = "writing checkpoint "


def begin_pace(session: Session, step: int) -> None:
    """As the spec has it, from the first step on."""
    session.pace.CopyFrom(Pace(factor=session.spec.pace))
    if session.spec.start_paused:
        session.pace.hold_at_step = step


def carry_pace(session: Session, opened: RunOpened) -> None:
    """A run that continues another goes on as that one went; what stood stands again where it was rolled back to."""
    if not opened.base_run:
        begin_pace(session, opened.step)
        return
    stood = session.pace.paused
    session.pace.CopyFrom(Pace(factor=session.pace.factor))
    if stood and opened.because == RunCause.RUN_CAUSE_ROLLBACK:
        session.pace.hold_at_step = opened.step


def set_pace(session: Session, command: SetPaceCommand, step: int) -> None:
    """Another pace. A hold that is still ahead stays, unless it is to stand now."""
    ahead = session.pace.HasField("hold_at_step") and session.pace.hold_at_step > step
    held = session.pace.hold_at_step if ahead and not command.paused and not session.pace.paused else None
    session.pace.CopyFrom(Pace(factor=command.factor, paused=command.paused, hold_at_step=held))


def plan_phases(session: Session, at_s: float) -> None:
    """Phases as they stand where a run begins; what they amounted to before is kept."""
    known = {phase.planned.name: phase for phase in session.phases if phase.status == PhaseStatus.PHASE_STATUS_DONE}
    planned = list(session.spec.plan)
    del session.phases[:]
    run_begin = begin = session.scene.begin_time_s
    for one in planned:
        end = begin + one.duration_s
        phase = session.phases.add(planned=one, status=PhaseStatus.PHASE_STATUS_PENDING)
        if run_begin < at_s and begin <= at_s:
            phase.begin_time_s, phase.status = begin, PhaseStatus.PHASE_STATUS_ACTIVE
        if end <= at_s:
            phase.end_time_s, phase.status = end, PhaseStatus.PHASE_STATUS_DONE
            if one.name in known:
                phase.kpis.CopyFrom(known[one.name].kpis)
        begin = end


def begin_phase(session: Session, event: Event) -> None:
    """PhaseStarted."""
    if (phase := _phase(session, event.phase_started.phase)) is not None:
        phase.status, phase.begin_time_s = PhaseStatus.PHASE_STATUS_ACTIVE, event.sim_time_s


def end_phase(session: Session, event: Event) -> None:
    """PhaseEnded."""
    if (phase := _phase(session, event.phase_ended.phase)) is not None:
        phase.status, phase.end_time_s = PhaseStatus.PHASE_STATUS_DONE, event.sim_time_s
        phase.kpis.CopyFrom(event.phase_ended.kpis)


def close_phases(session: Session, event: Event) -> None:
    """The session has ended: no phase stays open."""
    for phase in session.phases:
        if phase.status == PhaseStatus.PHASE_STATUS_PENDING:
            phase.status = PhaseStatus.PHASE_STATUS_SKIPPED
        elif phase.status == PhaseStatus.PHASE_STATUS_ACTIVE:
            phase.end_time_s = session.progress.sim_time_s
            completed = event.HasField("session_completed")
            # A phase that was cut off by a cancel was not done either, and never will be.
            phase.status = PhaseStatus.PHASE_STATUS_DONE if completed else PhaseStatus.PHASE_STATUS_FAILED


def add_checkpoint(session: Session, event: Event) -> None:
    """CheckpointCommitted."""
    made = Checkpoint()
    made.CopyFrom(event.checkpoint_committed.checkpoint)
    if not made.HasField("create_time"):
        made.create_time.CopyFrom(event.record_time)
    session.checkpoints.append(made)
    session.last_checkpoint.CopyFrom(made)


def pin_checkpoint(session: Session, checkpoint_id: str, *, pinned: bool) -> None:
    """CheckpointPinned."""
    for checkpoint in (*session.checkpoints, session.last_checkpoint):
        if checkpoint.checkpoint_id == checkpoint_id:
            checkpoint.pinned = pinned


def drop_checkpoint(session: Session, checkpoint_id: str) -> None:
    """CheckpointDeleted."""
    left = [checkpoint for checkpoint in session.checkpoints if checkpoint.checkpoint_id != checkpoint_id]
    del session.checkpoints[:]
    session.checkpoints.extend(left)
    session.ClearField("last_checkpoint")
    if left:
        session.last_checkpoint.CopyFrom(left[-1])


def describe_conditions(projected: Projected, event: Event) -> None:
    """What holds beside the state, in words."""
    session = projected.session
    kept = [text for text in session.conditions if text.startswith((_HANDED_OVER, _CHECKPOINTING))]
    match event.WhichOneof("payload"):
        case "handed_over":
            kept = [f"{_HANDED_OVER}{session.worker_id}, waiting for another worker"]
        case "attempt_claimed" | "run_opened":
            kept = []
        case "checkpoint_started":
            kept.append(_CHECKPOINTING + event.checkpoint_started.checkpoint_id)
        case "checkpoint_committed":
            kept = _without(kept, event.checkpoint_committed.checkpoint.checkpoint_id)
        case "checkpoint_failed":
            kept = _without(kept, event.checkpoint_failed.checkpoint_id)
    state = State(session.state)
    if state in ENDED or state is State.SUSPENDED:
        kept = []
    elif state is State.PENDING and not kept:
        kept = [f"waiting for a worker of pool {projected.pool}"]
    elif state is State.RECOVERING and not any(text.startswith(_HANDED_OVER) for text in kept):
        kept.append(f"simulating again up to step {session.progress.step}")
    if state is State.RUNNING and session.pace.paused:
        kept.append(f"paused at step {session.progress.step}")
    session.conditions[:] = kept


def _without(conditions: list[str], checkpoint_id: str) -> list[str]:
    return [text for text in conditions if text != _CHECKPOINTING + checkpoint_id]


def _phase(session: Session, index: int) -> Phase | None:
    return session.phases[index] if 0 <= index < len(session.phases) else None
