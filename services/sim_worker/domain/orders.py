"""What a worker does with a work order that was delivered to it (log.md R8)."""

from dataclasses import dataclass

from session_log.domain.fold import SessionLife
from session_log.domain.lifecycle import WANTS_ORDER, State


@dataclass(frozen=True, slots=True)
class Drop:
    """Nobody needs it: acknowledge."""


@dataclass(frozen=True, slots=True)
class Adopt:
    """This worker runs that attempt: the delivery is its lease from now on."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Take the session."""

    lost_worker: bool = False


@dataclass(frozen=True, slots=True)
class Ask:
    """Another worker claimed it: claim only when that one does not answer."""

    worker_id: str
    attempt: int


Decision = Drop | Adopt | Claim | Ask


def decide(life: SessionLife, *, worker_id: str, running_attempt: int | None) -> Decision:
    """The decision, from the fold of the log and the attempt this worker runs of that session, if any."""
    if life.state not in WANTS_ORDER:
        return Drop()
    if running_attempt is not None and running_attempt >= life.attempt:
        return Adopt()
    if life.attempt == 0 or life.handed_over or life.state is State.PENDING:
        return Claim()
    if life.worker_id == worker_id:
        # An earlier life of this worker: nobody else runs it.
        return Claim(lost_worker=True)
    return Ask(worker_id=life.worker_id, attempt=life.attempt)
