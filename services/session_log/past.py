"""The past of a run: what an attempt begins with, from the log alone (determinism.md).

A run that continues another inherits its intervals and interventions up to the place where it was opened:

    run 1   ──────┬─────────────▶            records ≤ step of the opening are run 2's own too
                  └─ run 2 ──────┬────▶
                                 └─ run 3 ───▶
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from milepost.checkpoint.v1.checkpoint_pb2 import Checkpoint
from milepost.event.v1.event_pb2 import Event, EventKind, JournalEntry, SessionCreated
from milepost.scenario.v1.scenario_pb2 import Scene
from milepost.session.v1.session_pb2 import SessionSpec
from session_log.codec import SIMULATION_KINDS

PAST_KINDS = (
    *sorted(EventKind.ValueType(kind) for kind in SIMULATION_KINDS),
    EventKind.EVENT_KIND_SESSION_CREATED,
    EventKind.EVENT_KIND_SESSION_UPDATED,
    EventKind.EVENT_KIND_RUN_OPENED,
    EventKind.EVENT_KIND_RUN_STARTED,
    EventKind.EVENT_KIND_COMMAND_REQUESTED,
    EventKind.EVENT_KIND_COMMAND_APPLIED,
    EventKind.EVENT_KIND_PAUSED,
    EventKind.EVENT_KIND_CHECKPOINT_COMMITTED,
    EventKind.EVENT_KIND_CHECKPOINT_PINNED,
    EventKind.EVENT_KIND_CHECKPOINT_DELETED,
)
"""Kinds a past is made of."""


@dataclass(frozen=True, slots=True)
class Pacing:
    """How fast a run goes, as its log says: what a new attempt takes up again."""

    factor: float = 0.0
    hold_at_step: int | None = None
    hold_at_time_s: float | None = None
    standing: bool = False
    """Whether Paused stands in the log and nothing has moved it since."""


@dataclass(frozen=True, slots=True)
class Reach:
    """How far an earlier run belongs to the past of this one."""

    run: int
    step: int
    journal_length: int


@dataclass(frozen=True, slots=True)
class Past:
    """A run up to the end of its log."""

    run: int
    created: SessionCreated
    spec: SessionSpec
    scene: Scene
    begin_step: int
    """Where the run was opened; nothing up to here is written again."""
    begin_journal: int
    """Interventions that were applied before the run was opened."""
    journal: Sequence[JournalEntry]
    """Interventions of the whole past, those of a fork's origin included, in order."""
    recorded: Sequence[Event]
    """SIMULATION events of the whole past, in order, without ends: what a new attempt is judged by."""
    head_step: int
    """The last step the log knows of: an interval, an applied command or a pause (log.md R18)."""
    pacing: Pacing
    checkpoints: Sequence[Checkpoint] = field(default=())
    """Those that stand, of all runs, oldest first."""
    rebased: Sequence[Checkpoint] = field(default=())
    """Where the simulation went on from a state file (REBASE), in order, deleted ones too."""
    ancestors: Sequence[Reach] = field(default=())
    """The runs it continues, nearest first."""
    started_at: datetime | None = None
    """When SUMO first stepped in this run."""
    completed: Event | None = None
    """Its SessionCompleted."""

    def holds(self, *, run: int, step: int, journal_length: int) -> bool:
        """Whether a place of a run is a place of this past too."""
        if run == self.run:
            return True
        return any(
            reach.run == run and step <= reach.step and journal_length <= reach.journal_length
            for reach in self.ancestors
        )


NOTHING = Past(
    run=0,
    created=SessionCreated(),
    spec=SessionSpec(),
    scene=Scene(),
    begin_step=0,
    begin_journal=0,
    journal=(),
    recorded=(),
    head_step=0,
    pacing=Pacing(),
)
"""Before anything was read."""
