"""States of a session, verbs of a client, and the one table that says which goes with which.

CREATED -start-> PENDING -claim-> PREPARING -RunStarted-> RUNNING -> COMPLETED | FAILED | CANCELLED
                    ^                claim again -> RECOVERING -> RUNNING
                    |resume, restart
                 SUSPENDED <- SUSPENDING <- RUNNING            any claimed state -> TERMINATING -> an end
"""

from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """Where a session stands. Values are those of `milepost.session.v1.SessionState`."""

    CREATED = 1
    PENDING = 2
    PREPARING = 3
    RUNNING = 4
    RECOVERING = 5
    SUSPENDING = 6
    SUSPENDED = 7
    TERMINATING = 8
    COMPLETED = 9
    FAILED = 10
    CANCELLED = 11


class Verb(Enum):
    """What a client can ask of a session."""

    START = "start"
    SUSPEND = "suspend"
    RESUME = "resume"
    RESTART = "restart"
    ROLLBACK = "rollback"
    CANCEL = "cancel"
    TERMINATE = "terminate"
    CHECKPOINT = "checkpoint"
    INTERVENE = "intervene"
    PACE = "pace"
    FORK = "fork"
    UPDATE = "update"
    UPDATE_TASK = "update-task"
    PIN = "pin"
    DELETE = "delete"
    UNDELETE = "undelete"


ENDED = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED})
"""A watch ends here, a work order is not wanted."""

UNCLAIMED = frozenset({State.CREATED, State.PENDING, State.SUSPENDED})
"""No worker owns the session: session_api itself carries commands out."""

CLAIMED = frozenset(State) - ENDED - UNCLAIMED
"""A worker owns the session: it carries commands out."""

WANTS_ORDER = CLAIMED | {State.PENDING}
"""A work order must exist (log.md R9)."""

COMES_TO_WORKER = frozenset({Verb.CHECKPOINT, Verb.INTERVENE, Verb.PACE})
"""Verbs that wait in the log until a worker carries them out at a step boundary."""

_STEPPING = frozenset({State.PENDING, State.PREPARING, State.RUNNING, State.RECOVERING})

LEGAL: dict[Verb, frozenset[State]] = {
    Verb.START: frozenset({State.CREATED}),
    Verb.SUSPEND: _STEPPING,
    Verb.RESUME: ENDED | {State.SUSPENDED},
    Verb.RESTART: ENDED,
    Verb.ROLLBACK: ENDED | {State.RUNNING, State.SUSPENDED},
    # Cancel is at once and escalates a Terminate that takes too long.
    Verb.CANCEL: frozenset(State) - ENDED,
    Verb.TERMINATE: frozenset(State) - ENDED - {State.TERMINATING},
    Verb.CHECKPOINT: _STEPPING,
    Verb.INTERVENE: _STEPPING,
    Verb.PACE: _STEPPING,
    Verb.FORK: frozenset(State) - {State.CREATED, State.PENDING},
    # Names, labels and limits.
    Verb.UPDATE: frozenset(State),
    Verb.UPDATE_TASK: ENDED | {State.CREATED, State.SUSPENDED},
    Verb.PIN: frozenset(State),
    Verb.DELETE: ENDED | {State.CREATED, State.SUSPENDED},
    Verb.UNDELETE: frozenset(),
}
"""Of a session that is there; of a deleted one `undelete` alone is legal."""


@dataclass(eq=False)
class IllegalVerb(Exception):
    """The verb is not legal in this state."""

    state: State
    verb: Verb
    deleted: bool = False

    def __str__(self) -> str:
        return f"cannot {self.verb.value} a session that is {'deleted' if self.deleted else self.state.name}"


def legal_verbs(state: State, *, deleted: bool = False) -> tuple[Verb, ...]:
    """What a client can ask of a session in this state, in the order of Verb."""
    if deleted:
        return (Verb.UNDELETE,)
    return tuple(verb for verb in Verb if state in LEGAL[verb])


def require_legal(state: State, verb: Verb, *, deleted: bool = False) -> None:
    """Raise IllegalVerb unless the table allows it."""
    if verb not in legal_verbs(state, deleted=deleted):
        raise IllegalVerb(state, verb, deleted)
