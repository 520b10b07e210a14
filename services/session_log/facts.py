"""What each event means for the life of its session: from contract to fact."""

from milepost.event.v1.event_pb2 import CommandRequested, Event
from session_log.domain.fold import (
    Answered,
    Claimed,
    Created,
    Ended,
    Fact,
    LetGo,
    Progressed,
    Recovered,
    Requested,
    SessionLife,
    Stepping,
    fold,
)
from session_log.domain.lifecycle import State, Verb

_VERBS = {"start": Verb.START, "cancel": Verb.CANCEL}
_ENDS = {
    "session_completed": State.COMPLETED,
    "session_failed": State.FAILED,
    "session_cancelled": State.CANCELLED,
}


def fact(event: Event) -> Fact:
    """The meaning of an event."""
    kind = event.WhichOneof("payload")
    match kind:
        case "session_created":
            return Created(auto_start=event.session_created.auto_start)
        case "attempt_claimed":
            return Claimed(attempt=event.attempt_claimed.attempt, worker_id=event.attempt_claimed.worker_id)
        case "run_started":
            return Stepping()
        case "session_completed" | "session_failed" | "session_cancelled":
            return Ended(_ENDS[kind])
        case "command_requested":
            command = event.command_requested
            return Requested(command.command_id, verb_of(command), command.request_digest)
        case "command_applied":
            return Answered(event.command_applied.command_id, applied=True)
        case "command_rejected":
            return Answered(event.command_rejected.command_id, applied=False)
        case "session_recovered":
            return Recovered()
        case "handed_over":
            return LetGo()
        case _:
            return Progressed()


def verb_of(command: CommandRequested) -> Verb:
    """The verb a command asks for. Raises KeyError for one this release does not know."""
    return _VERBS[command.WhichOneof("verb") or ""]


def fold_event(life: SessionLife, event: Event) -> SessionLife:
    """The life after one more event."""
    return fold(life, event.seq, fact(event))
