"""How much of what a child reports goes into one append.

An append costs worker, broker, store and every replica of the API about the same, whatever it holds. Where somebody may
be looking, little is kept waiting; batch work is told of once a second.
"""

from dataclasses import dataclass
from typing import Final

from milepost.event.v1.event_pb2 import IntervalClosed, RunStarted, ScenePrepared
from milepost.session.v1.session_pb2 import SessionSpec, WorkClass
from session_log.codec import kind_of

_INTERVALS: Final = frozenset({kind_of(IntervalClosed)})


@dataclass(frozen=True, slots=True)
class Gathering:
    """The rule for one session. Records that are not `patient` leave at once, with all before them."""

    wait_s: float
    """How long patient records wait for more, seconds."""
    prompt: bool
    """Whether a patient one leaves at once when none has left just before, and the last before artifacts are kept."""
    patient: frozenset[int]
    """Kinds of records that wait."""
    records: int
    """Most in one append; half as many end the waiting, so that a small network never waits for the log."""

    @property
    def run_ahead_intervals(self) -> int:
        """How many intervals a child may be ahead of what is durable (log.md R1)."""
        return self.records


# An interval of a paced session finds nothing under way and leaves at once.
LIVE: Final = Gathering(0.2, prompt=True, patient=_INTERVALS, records=64)
BATCH: Final = Gathering(
    1.0, prompt=False, patient=_INTERVALS | {kind_of(ScenePrepared), kind_of(RunStarted)}, records=256
)


def gathering_of(spec: SessionSpec) -> Gathering:
    """The rule for a session of that spec."""
    return BATCH if spec.scheduling.work_class == WorkClass.WORK_CLASS_BATCH else LIVE
