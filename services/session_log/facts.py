"""What each event means for the life of its session: from contract to fact."""

from milepost.event.v1.event_pb2 import CommandRequested, Event
from session_log.domain.fold import (
    Answered,
    Claimed,
    Created,
    Ended,
    Fact,
    Hidden,
    LetGo,
    Opened,
    Progressed,
    Recovered,
    Requested,
    SessionLife,
    Stepping,
    fold,
)
from session_log.domain.lifecycle import State, Verb

_VERBS = {
    "start": Verb.START,
    "cancel": Verb.CANCEL,
    "suspend": Verb.SUSPEND,
    "resume": Verb.RESUME,
    "restart": Verb.RESTART,
    "terminate": Verb.TERMINATE,
    "rollback": Verb.ROLLBACK,
    "checkpoint": Verb.CHECKPOINT,
    "intervene": Verb.INTERVENE,
    "set_pace": Verb.PACE,
    "step": Verb.PACE,
    "run_until": Verb.PACE,
    "fork": Verb.FORK,
    "delete": Verb.DELETE,
    "undelete": Verb.UNDELETE,
    "pin": Verb.PIN,
    "delete_checkpoint": Verb.PIN,
}
# What UpdateSession may change while a worker has the session.
_ALWAYS_UPDATED = frozenset({"display_name", "labels", "spec.limits", "spec.checkpoints"})
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
            claimed = event.attempt_claimed
            return Claimed(claimed.attempt, claimed.worker_id, claimed.fruitless_attempts)
        case "run_opened":
            return Opened(event.run_opened.run)
        case "session_deleted" | "session_undeleted":
            return Hidden(deleted=kind == "session_deleted")
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
    asked = command.WhichOneof("verb") or ""
    if asked == "update":
        return Verb.UPDATE if _ALWAYS_UPDATED.issuperset(command.update.update_mask) else Verb.UPDATE_TASK
    return _VERBS[asked]


def fold_event(life: SessionLife, event: Event) -> SessionLife:
    """The life after one more event."""
    return fold(life, event.seq, fact(event))
