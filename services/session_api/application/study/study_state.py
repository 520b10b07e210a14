"""A study as its log adds up: the fold that runner, ranking and answers share."""

from collections.abc import Iterable, Iterator, KeysView
from dataclasses import dataclass, field
from datetime import UTC, datetime

from milepost.event.v1.event_pb2 import Event
from milepost.study.v1.study_event_pb2 import (
    SeedsAdded,
    StudyCancelRequested,
    StudyCompleted,
    StudyCreated,
    VariantDropped,
    WarmUpFinished,
)
from milepost.study.v1.study_pb2 import Cell, CellState, MapRun, ResolvedVariant, StudyPlan, StudyState
from session_log.codec import TERMINAL_KINDS, event_kind
from session_log.writer import Place

CellKey = tuple[int, int]
"""Index of the variant, seed."""


@dataclass(slots=True)
class StudySoFar:
    """One study's log, folded up to `place`."""

    study_id: str
    created: StudyCreated
    plan: StudyPlan
    create_time: datetime
    place: Place = field(default_factory=Place)
    rungs: list[SeedsAdded] = field(default_factory=list)
    cells: dict[CellKey, Cell] = field(default_factory=dict)
    dropped: dict[int, VariantDropped] = field(default_factory=dict)
    """By index of the variant."""
    warm_ups: dict[tuple[int, int], WarmUpFinished] = field(default_factory=dict)
    """By group and seed."""
    map_runs: list[MapRun] = field(default_factory=list)
    cancel: StudyCancelRequested | None = None
    completed: StudyCompleted | None = None
    end_time: datetime | None = None
    deleted: bool = False
    last_cell_time: datetime | None = None
    """When the last cell was over."""
    failed: int = 0
    """Cells without a value."""
    cached: int = 0
    """Cells that are stored results."""
    sessions: int = 0
    """Sessions that are over, those of warm-ups included."""
    simulated_s: float = 0.0
    """Simulated time of them, s."""
    _open: dict[CellKey, None] = field(default_factory=dict)
    _versions: dict[str, list[int]] = field(default_factory=dict)
    _index: dict[str, int] = field(default_factory=dict)

    @property
    def state(self) -> StudyState.ValueType:
        """Where it stands."""
        if self.completed is not None:
            return StudyState.STUDY_STATE_COMPLETED
        if self.end_time is not None:
            return StudyState.STUDY_STATE_CANCELLED
        return StudyState.STUDY_STATE_RUNNING if self.cancel is None else StudyState.STUDY_STATE_CANCELLING

    @property
    def variants(self) -> list[ResolvedVariant]:
        """Its variants, in order."""
        return list(self.plan.variants)

    def index(self, variant: str) -> int:
        """Index of the variant of that name."""
        if not self._index:
            self._index = {one.name: index for index, one in enumerate(self.plan.variants)}
        return self._index[variant]

    def twins(self, index: int) -> list[int]:
        """Other variants whose runs are the same, byte for byte."""
        if not self._versions:
            for other, variant in enumerate(self.plan.variants):
                self._versions.setdefault(variant.version, []).append(other)
        return [other for other in self._versions[self.plan.variants[index].version] if other != index]

    @property
    def open_cells(self) -> KeysView[CellKey]:
        """Cells asked for that are not over, rung by rung, seed by seed: those of one seed can be compared at once."""
        return self._open.keys()

    def warm_up(self, key: CellKey) -> tuple[int, int] | None:
        """Group and seed of the session that a cell begins with; None: it has none, or that failed."""
        group = self.plan.warm_up_groups[key[0]] if self.plan.warm_up_groups else 0
        shared = (group, key[1])
        return None if not group or (shared in self.warm_ups and self.warm_ups[shared].failure) else shared

    def apply(self, event: Event) -> None:
        """One more event of its log."""
        match event.WhichOneof("payload"):
            case "seeds_added":
                self.rungs.append(event.seeds_added)
                left = [index for index in range(len(self.plan.variants)) if index not in self.dropped]
                self._open.update(dict.fromkeys((index, seed) for seed in event.seeds_added.seeds for index in left))
            case "cells_finished":
                self.last_cell_time = event.record_time.ToDatetime(UTC)
                for cell in event.cells_finished.cells:
                    self._finish((self.index(cell.variant), cell.seed), cell)
            case "variant_dropped":
                self.dropped[self.index(event.variant_dropped.variant)] = event.variant_dropped
            case "warm_up_finished":
                finished = event.warm_up_finished
                if (finished.group, finished.seed) not in self.warm_ups:
                    self.warm_ups[finished.group, finished.seed] = finished
                    self.sessions += 1
                    self.simulated_s += finished.simulated_s
            case "map_run_finished":
                self.map_runs.append(event.map_run_finished.run)
            case "study_cancel_requested":
                self.cancel = self.cancel or event.study_cancel_requested
            case "study_completed":
                self.completed = event.study_completed
            case "study_deleted":
                self.deleted = True
        if event_kind(event) in TERMINAL_KINDS:
            self.end_time = event.record_time.ToDatetime(UTC)

    def _finish(self, key: CellKey, cell: Cell) -> None:
        if key in self.cells:
            return
        self.cells[key] = cell
        self._open.pop(key, None)
        self.failed += cell.state == CellState.CELL_STATE_FAILED
        self.cached += cell.cached
        self.sessions += not cell.cached
        self.simulated_s += cell.simulated_s


def decisions_in(events: Iterable[Event]) -> Iterator[tuple[int, str]]:
    """Seq and words of every decision among a study's events."""
    for event in events:
        match event.WhichOneof("payload"):
            case "seeds_added":
                added = event.seeds_added
                yield event.seq, f"{len(added.seeds)} seeds on {added.variants} variants: {added.because}"
            case "variant_dropped":
                yield event.seq, f"{event.variant_dropped.variant} dropped: {event.variant_dropped.because}"
            case "warm_up_finished" if event.warm_up_finished.failure:
                warm = event.warm_up_finished
                yield event.seq, f"no shared warm-up on seed {warm.seed}: {warm.failure}"
            case "study_cancel_requested":
                comment = event.study_cancel_requested.comment
                yield event.seq, "cancel requested" + (f": {comment}" if comment else "")
            case "study_completed":
                yield event.seq, event.study_completed.answer
            case "study_cancelled":
                yield event.seq, "cancelled"
