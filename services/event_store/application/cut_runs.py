"""Cut earlier runs out of the logs of ended sessions: nothing that one can still go back to loses its past.

run 1 ────────▶   run 2 ──────────▶   run 3 ──────▶ the end
└── cut: nothing stands on it         └── the latest run, and whatever it or a checkpoint continues, stays whole
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog
from prometheus_client import Counter

from event_store.gateways.cuts import Cuts, EndedLog
from event_store.gateways.event_rows import EventRow, EventRows, Page
from milepost.event.v1.event_pb2 import CheckpointCommitted, CheckpointDeleted, EventKind, RunOpened

log = structlog.get_logger()
_cut_events = Counter("milepost_cut_events_total", "Events that went with earlier runs")

_PAGE_EVENTS = 1000
_PAGE_BYTES = 4 * 1024 * 1024
_NEEDED_KINDS = frozenset(
    {
        EventKind.EVENT_KIND_RUN_OPENED,
        EventKind.EVENT_KIND_CHECKPOINT_COMMITTED,
        EventKind.EVENT_KIND_CHECKPOINT_DELETED,
    }
)


@dataclass(frozen=True, slots=True)
class Cut:
    """What was cut, or would be."""

    logs: int = 0
    events: int = 0


@dataclass(frozen=True, slots=True)
class CutRuns:
    """Runs beside everything else; raises what the database raises, and goes on the next time."""

    rows: EventRows
    cuts: Cuts
    after: timedelta | None
    """How long a session must have ended; None: nothing is cut."""
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    async def __call__(self, *, dry_run: bool = False) -> Cut:
        """Cut what may be cut now; with `dry_run` only count it."""
        if self.after is None:
            return Cut()
        logs = events = 0
        async for item in self.cuts.ended(stored_before=self.clock() - self.after):
            before = await self._needed_from(item)
            if before <= item.oldest_seq:
                continue
            taken = await (self.cuts.count if dry_run else self.cuts.cut)(item.log_key, before_seq=before)
            logs, events = logs + 1, events + taken
            if not dry_run:
                _cut_events.inc(taken)
                log.info("earlier runs cut", log_key=item.log_key, oldest_seq=before, events=taken)
        return Cut(logs, events)

    async def _needed_from(self, item: EndedLog) -> int:
        """Where the first run that is still needed begins; 0 while the latest has not simulated anything."""
        rows: list[EventRow] = []
        after, complete = 0, False
        while not complete:
            page = await self._read(item, after, _NEEDED_KINDS, _PAGE_EVENTS)
            rows += page.rows
            after, complete = page.rows[-1].seq if page.rows else after, page.complete
        needed = needed_from((row.seq, row.kind, row.payload) for row in rows)
        simulated = await self._read(item, needed, frozenset({EventKind.EVENT_KIND_INTERVAL_CLOSED}), 1)
        return needed if simulated.rows else 0

    async def _read(self, item: EndedLog, after: int, kinds: frozenset[int], limit: int) -> Page:
        return await self.rows.read(
            item.log_key, after=after, upto=item.head_seq, limit=limit, limit_bytes=_PAGE_BYTES, kinds=kinds
        )


def needed_from(events: Iterable[tuple[int, int, bytes]]) -> int:
    """Seq at which the first run begins that the latest run or a standing checkpoint is in, or continues.

    `events` are (seq, kind, payload) of the whole log; other kinds than openings and checkpoints mean nothing here.
    """
    begins, bases, checkpoints = {1: 1}, {1: 0}, dict[str, int]()
    for seq, kind, payload in events:
        match kind:
            case EventKind.EVENT_KIND_RUN_OPENED:
                opened = RunOpened.FromString(payload)
                begins[opened.run], bases[opened.run] = seq, opened.base_run
            case EventKind.EVENT_KIND_CHECKPOINT_COMMITTED:
                made = CheckpointCommitted.FromString(payload).checkpoint
                checkpoints[made.checkpoint_id] = made.run
            case EventKind.EVENT_KIND_CHECKPOINT_DELETED:
                checkpoints.pop(CheckpointDeleted.FromString(payload).checkpoint_id, None)
    needed, looked_at = {max(begins), *checkpoints.values()}, set[int]()
    while left := needed - looked_at:
        looked_at |= left
        needed |= {base for run in left if (base := bases.get(run, 0))}
    return min(begins.get(run, 1) for run in needed)
