"""Where the phases of a session's plan stand in its log.

A phase is where the log says so: from PhaseStarted to PhaseEnded. A run that goes on from the middle of another
one, and a fork, are in a phase from their first event on: the one that was under way where they begin.

    created … started(0) … ended(0) started(1) … │ run opened at a step of phase 0 … ended(0) started(1) …
              └──── 0 ────┘└───── 1 ─────────────┘ └────────── 0 ─────────────────┘└─ 1 ─ …
"""

from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from event_store.gateways.event_rows import EventRow, EventRows, Head
from milepost.errors.v1 import errors_pb2
from milepost.event.v1.event_pb2 import (
    EventKind,
    PhaseEnded,
    PhaseStarted,
    RunOpened,
    SessionCreated,
    SessionUpdated,
)
from milepost.event.v1.event_service_pb2 import PhaseSelector
from milepost.session.v1.session_pb2 import SessionSpec
from runtime.errors import CallRefused, FieldViolation

# Logs whose phases are kept; a log's take some kilobytes.
KEPT_LOGS = 10_000
# Events of the kinds that matter, read at a time.
_PAGE_EVENTS = 1000
_PAGE_BYTES = 1024 * 1024

_CREATED = EventKind.EVENT_KIND_SESSION_CREATED
_UPDATED = EventKind.EVENT_KIND_SESSION_UPDATED
_OPENED = EventKind.EVENT_KIND_RUN_OPENED
_STARTED = EventKind.EVENT_KIND_PHASE_STARTED
_ENDED = EventKind.EVENT_KIND_PHASE_ENDED
KINDS = frozenset({_CREATED, _UPDATED, _OPENED, _STARTED, _ENDED})


@dataclass(frozen=True, slots=True)
class Window:
    """Consecutive events of a log that are in one phase; `last_seq` is None while the phase is under way."""

    first_seq: int
    last_seq: int | None
    phase: int
    name: str

    def matches(self, selectors: Collection[PhaseSelector]) -> bool:
        """Whether it is one of these phases."""
        return any(
            self.name == selector.name if selector.HasField("name") else self.phase == selector.index
            for selector in selectors
        )


@dataclass(frozen=True, slots=True)
class _Mark:
    """A phase that started or ended at a step."""

    step: int
    phase: int
    started: bool


class PhaseTrack:
    """The phases of one log, as far as it was read: a fold over events of KINDS."""

    def __init__(self) -> None:
        self.upto = 0
        self.windows: list[Window] = []
        self.plan: list[str] = []
        """Names of the plan in force."""
        self._marks: dict[int, list[_Mark]] = {1: []}

    def add(self, row: EventRow) -> None:
        """Fold the next event."""
        match row.kind:
            case EventKind.EVENT_KIND_SESSION_CREATED:
                created = SessionCreated.FromString(row.payload)
                self._plan(created.spec)
                if created.HasField("forked_from"):
                    elapsed_s = created.forked_from.sim_time_s - created.scene.begin_time_s
                    self._enter(row.seq, _phase_at(created.spec, elapsed_s))
            case EventKind.EVENT_KIND_SESSION_UPDATED:
                self._plan(SessionUpdated.FromString(row.payload).spec)
            case EventKind.EVENT_KIND_RUN_OPENED:
                opened = RunOpened.FromString(row.payload)
                self._plan(opened.spec)
                self._leave(row.seq - 1)
                past = [mark for mark in self._marks.get(opened.base_run, ()) if _is_past(mark, opened.step)]
                self._marks[opened.run] = past
                self._enter(row.seq, past[-1].phase if past and past[-1].started else None)
            case EventKind.EVENT_KIND_PHASE_STARTED:
                phase = PhaseStarted.FromString(row.payload).phase
                self._leave(row.seq - 1)
                self._mark(row, phase, started=True)
                self._enter(row.seq, phase)
            case EventKind.EVENT_KIND_PHASE_ENDED:
                self._mark(row, PhaseEnded.FromString(row.payload).phase, started=False)
                self._leave(row.seq)

    def next(self, selectors: Collection[PhaseSelector], *, after: int) -> Window | None:
        """The first window of these phases that ends after a place."""
        for window in self.windows:
            if (window.last_seq is None or window.last_seq > after) and window.matches(selectors):
                return window
        return None

    def _plan(self, spec: SessionSpec) -> None:
        self.plan = [planned.name for planned in spec.plan]

    def _mark(self, row: EventRow, phase: int, *, started: bool) -> None:
        self._marks.setdefault(row.run, []).append(_Mark(row.step, phase, started))

    def _enter(self, seq: int, phase: int | None) -> None:
        if phase is not None:
            name = self.plan[phase] if 0 <= phase < len(self.plan) else ""
            self.windows.append(Window(seq, None, phase, name))

    def _leave(self, last_seq: int) -> None:
        if self.windows and self.windows[-1].last_seq is None:
            self.windows[-1] = replace(self.windows[-1], last_seq=last_seq)


def _is_past(mark: _Mark, step: int) -> bool:
    """Whether a mark belongs to what a run that begins at a step continues; an end right there may be the run's own."""
    return mark.step < step or (mark.step == step and mark.started)


def _phase_at(spec: SessionSpec, elapsed_s: float) -> int | None:
    """The phase after so much simulated time, by the plan."""
    end_s = 0.0
    for phase, planned in enumerate(spec.plan):
        end_s += planned.duration_s
        if elapsed_s < end_s:
            return phase
    return None


class Phases:
    """Keeps the phases of logs that are watched by phase."""

    def __init__(self, rows: EventRows) -> None:
        self._rows = rows
        self._tracks: OrderedDict[int, PhaseTrack] = OrderedDict()

    async def next(self, head: Head, selectors: Sequence[PhaseSelector], *, after: int) -> Window | None:
        """The first window of these phases that ends after a place, as the log stands at `head`."""
        return (await self._track(head)).next(selectors, after=after)

    async def windows(self, head: Head, selectors: Sequence[PhaseSelector]) -> list[Window]:
        """All windows of these phases, in order, as the log stands at `head`."""
        return [window for window in (await self._track(head)).windows if window.matches(selectors)]

    async def require_known(self, head: Head, selectors: Sequence[PhaseSelector]) -> None:
        """Raises CallRefused (FIELD_INVALID) when the plan lacks one of these phases."""
        plan = (await self._track(head)).plan
        for number, selector in enumerate(selectors):
            if selector.HasField("name") and selector.name not in plan:
                raise _unknown(number, f"no phase {selector.name!r}, there are {', '.join(plan) or 'none'}")
            if selector.HasField("index") and selector.index >= len(plan):
                raise _unknown(number, f"no phase {selector.index}, there are {len(plan)}")

    async def _track(self, head: Head) -> PhaseTrack:
        track = self._tracks.setdefault(head.log_key, PhaseTrack())
        self._tracks.move_to_end(head.log_key)
        if len(self._tracks) > KEPT_LOGS:
            self._tracks.popitem(last=False)
        while track.upto < head.head_seq:
            after = track.upto
            page = await self._rows.read(
                head.log_key,
                after=after,
                upto=head.head_seq,
                limit=_PAGE_EVENTS,
                limit_bytes=_PAGE_BYTES,
                kinds=KINDS,
            )
            if track.upto != after:
                # Another watcher read on meanwhile.
                continue
            for row in page.rows:
                track.add(row)
            track.upto = head.head_seq if page.complete else page.rows[-1].seq
        return track


def _unknown(number: int, description: str) -> CallRefused:
    return CallRefused(
        errors_pb2.ERROR_REASON_FIELD_INVALID,
        f"phases: {description}",
        violations=[FieldViolation(field=f"phases[{number}]", description=description)],
    )
