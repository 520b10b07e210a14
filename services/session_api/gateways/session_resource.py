"""What a session looks like to a client: its log, event by event, applied to the resource `Session`."""

from google.protobuf.timestamp_pb2 import Timestamp

from milepost.event.v1.event_pb2 import Event, RunStarted, SessionCreated
from milepost.session.v1.session_pb2 import Session, SessionState
from session_log.domain.fold import SessionLife
from session_log.domain.lifecycle import ENDED, State
from session_log.facts import fold_event


def apply(session: Session, event: Event) -> None:
    """One more event; those at or before `session.seq` were applied already and change nothing."""
    if event.seq <= session.seq:
        return
    session.state = _state_after(session, event)
    session.seq = event.seq
    session.run = event.run
    session.attempt = max(session.attempt, event.attempt)
    session.update_time.CopyFrom(event.record_time)
    match event.WhichOneof("payload"):
        case "session_created":
            _create(session, event.session_id, event.session_created, event.record_time)
        case "attempt_claimed":
            session.worker_id = event.attempt_claimed.worker_id
            session.attempt = event.attempt_claimed.attempt
            del session.conditions[:]
        case "handed_over":
            session.conditions[:] = [f"handed over by {session.worker_id}, waiting for another worker"]
        case "run_started":
            _start(session, event.run_started, event.record_time)
        case "interval_closed":
            _progress(session, event)
        case "artifact_stored":
            session.artifacts.append(event.artifact_stored.artifact)
        case "session_completed":
            session.results.CopyFrom(event.session_completed.results)
            _progress_to(session, event)
            session.progress.kpis.CopyFrom(event.session_completed.results.kpis)
        case "session_failed":
            session.failure.CopyFrom(event.session_failed.failure)
    _conclude(session, event.record_time)


def _state_after(session: Session, event: Event) -> SessionState.ValueType:
    """The fold's verdict. The resource holds what the fold needs but the open commands' verbs."""
    state = State(session.state) if session.state else None
    life = fold_event(SessionLife(state=state, seq=session.seq), event)
    if event.HasField("command_applied") and state is State.CREATED:
        # The only command that is applied to a session in CREATED and leaves it without a terminal event.
        return SessionState.SESSION_STATE_PENDING
    return SessionState.ValueType((life.state or State.CREATED).value)


def _create(session: Session, session_id: str, created: SessionCreated, at: Timestamp) -> None:
    session.session_id = session_id
    session.display_name = created.display_name
    session.labels.update({label.key: label.value for label in created.labels})
    session.spec.CopyFrom(created.spec)
    session.scene.CopyFrom(created.scene)
    session.create_time.CopyFrom(at)
    session.progress.begin_time_s = created.scene.begin_time_s
    session.progress.sim_time_s = created.scene.begin_time_s
    if created.scene.HasField("end_time_s"):
        session.progress.end_time_s = created.scene.end_time_s
    session.conditions[:] = [f"waiting for a worker of pool {created.pool}"]


def _start(session: Session, started: RunStarted, at: Timestamp) -> None:
    session.execution.CopyFrom(started.execution)
    session.progress.begin_time_s = started.begin_time_s
    if not session.HasField("start_time"):
        session.start_time.CopyFrom(at)


def _progress(session: Session, event: Event) -> None:
    _progress_to(session, event)
    session.progress.kpis.CopyFrom(event.interval_closed.kpis)


def _progress_to(session: Session, event: Event) -> None:
    progress = session.progress
    progress.step = event.step
    progress.sim_time_s = event.sim_time_s
    wall_s = (event.record_time.ToMicroseconds() - session.start_time.ToMicroseconds()) / 1e6
    if wall_s > 0:
        progress.real_time_factor = (event.sim_time_s - progress.begin_time_s) / wall_s
    if progress.HasField("end_time_s") and progress.real_time_factor > 0:
        progress.eta_s = max(0.0, (progress.end_time_s - event.sim_time_s) / progress.real_time_factor)


def _conclude(session: Session, at: Timestamp) -> None:
    """What follows from the state alone."""
    if State(session.state) in ENDED:
        session.end_time.CopyFrom(at)
        session.progress.ClearField("eta_s")
        del session.conditions[:]
