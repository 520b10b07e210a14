"""How one start of a session came out."""

from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.message import Message

from milepost.checkpoint.v1.checkpoint_pb2 import Checkpoint
from milepost.event.v1.event_pb2 import RunOpened
from milepost.event.v1.record_pb2 import Record
from milepost.session.v1.session_pb2 import Failure


@dataclass(frozen=True, slots=True)
class Ended:
    """A terminal event, and where."""

    terminal: Message
    step: int = 0
    sim_time_s: float = 0.0
    unsent: Sequence[Record] = ()
    """What the process told and the log does not hold yet: it goes before the end."""


@dataclass(frozen=True, slots=True)
class Suspended:
    """Told to suspend, or under pressure; everything up to here is in the log."""

    command_id: str


@dataclass(frozen=True, slots=True)
class RolledBack:
    """Told to go back and on from there."""

    command_id: str
    opened: RunOpened


@dataclass(frozen=True, slots=True)
class Died:
    """The process is gone, and it was not told to."""

    failure: Failure
    gained: bool
    """Whether it got any further: an interval is in the log, or it stood where it was told to."""
    step: int = 0
    sim_time_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Differed:
    """It computed something else than the log holds."""

    step: int
    difference: str


@dataclass(frozen=True, slots=True)
class Rebased:
    """It stands where it goes on from a state file; everything up to here is in the log (REBASE)."""

    step: int
    checkpoint: Checkpoint | None
    """What the file is; None when it could not be written."""
    message: str = ""
    """Why not."""
    judged: int = 0
    """Intervals that were computed again on the way."""


@dataclass(frozen=True, slots=True)
class NotLoaded:
    """SUMO refused the state file it was to begin from."""

    message: str


Outcome = NotLoaded | Rebased | Ended | Suspended | RolledBack | Died | Differed
