"""What was observed of a stack: logs as they are stored, what clients were told, what watchers saw. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum, auto


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of a log: what the model knows of it."""

    seq: int
    run: int
    attempt: int
    step: int
    kind: str
    sim_time_s: float = 0.0
    written_ns: int = 0
    """Record time."""
    payload: bytes = b""
    simulated: bool = False
    """Whether it is equal in every run of the same inputs."""
    command_id: str = ""
    """Of a command, its answer and session_cancelled; of session_created the request id."""
    verb: str = ""
    """Of a command."""
    claims: int = 0
    """Of a claim: the attempt."""
    opens: int = 0
    """Of run_opened: the run."""
    base_run: int = 0
    """Of run_opened, and of the session_created of a fork: the run it continues, from `base_step` on."""
    base_step: int = 0
    reason: str = ""
    """Of session_failed."""


class Outcome(StrEnum):
    """What a client was told."""

    ACKNOWLEDGED = auto()
    REFUSED = auto()
    UNKNOWN = auto()
    BROKEN = auto()
    """An answer that no client should get: INTERNAL and the like."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One wish of a client, all its tries together. Times are of one monotonic clock, s."""

    session_id: str
    command_id: str
    verb: str
    begin_s: float
    end_s: float
    outcome: Outcome
    words: str = ""


@dataclass(frozen=True, slots=True)
class Watch:
    """What one connection of one watcher was sent."""

    session_id: str
    after_seq: int
    entries: Sequence[Entry]
    terminal_seq: int = 0
    """Where the server said that the log ends; 0 when the connection broke before."""


@dataclass(frozen=True, slots=True)
class History:
    """All of it."""

    logs: Mapping[str, Sequence[Entry]]
    operations: Sequence[Operation] = ()
    watches: Sequence[Watch] = ()
    interval_steps: int = 10


@dataclass(frozen=True, slots=True)
class Violation:
    """What must not be, and where."""

    rule: str
    session_id: str
    words: str
    seq: int = 0
