"""Drop deleted sessions: all that the store and the broker have of them, and nothing else (log.md R4).

    purge time over ─► broker purged up to the fence ─► hidden ─► events and references deleted ─► tombstone
                                                                      TOMBSTONE later: the fence goes, and the name

Every step may be done again, so it does not matter where a process died. While the tombstone stands the fence on
the broker refuses whoever would begin the log a second time. Forks have blobs of their own and miss nothing (R19).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog
from nats.js import JetStreamContext
from prometheus_client import Counter

from event_store.gateways.deletions import Deletion, Deletions, Stage
from event_store.gateways.event_rows import EventRows
from event_store.gateways.log_stream import stream_end
from milepost.event.v1.record_pb2 import EventBatch
from runtime.broker import binding, subject
from session_log.broker_log import last_stream_seq

log = structlog.get_logger()
_dropped = Counter("milepost_dropped_logs_total", "Logs of deleted sessions that went for good")
_dropped_rows = Counter("milepost_dropped_rows_total", "Rows of events that went with deleted sessions")


@dataclass(frozen=True, slots=True)
class DropDeleted:
    """Runs beside the ingester; raises what the broker and the database raise, and goes on the next time."""

    js: JetStreamContext
    rows: EventRows
    deletions: Deletions
    forget: Callable[[int], None]
    """Told the key of every log that is gone: SQLite gives it to another log one day."""
    purge_delay: timedelta
    tombstone: timedelta
    """How long the fence of a deleted session stands after its purge time."""
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    async def __call__(self) -> int:
        """Do what is due now; returns the number of logs that were dropped."""
        now = self.clock()
        place, end = await self.rows.place(), await stream_end(self.js)
        if place is None or place.epoch != end.epoch:
            # The numbers are those of another stream: they would purge what was never stored.
            return 0
        stored_before = now - self.purge_delay
        for item in await self.deletions.due(Stage.DELETED, purged_before=now, stored_before=stored_before):
            await self._hide(item)
        dropped = 0
        for item in await self.deletions.due(Stage.HIDDEN, purged_before=now, stored_before=stored_before):
            _dropped_rows.inc(await self.deletions.empty(item))
            _dropped.inc()
            dropped += 1
            log.info("deleted session dropped", tenant=item.tenant, session=item.session_id)
        expired = now - self.tombstone
        for item in await self.deletions.due(Stage.EMPTY, purged_before=expired, stored_before=stored_before):
            # The fence stands, so nothing has begun anew: what is last on the broker is the deleted log's.
            last = await last_stream_seq(self.js, item.tenant, item.session_id)
            await self.deletions.lift(item, fence_stream_seq=max(last, item.fence_stream_seq))
        for item in await self.deletions.due(Stage.FREED, purged_before=expired, stored_before=now):
            await self._purge(item, keep_from=item.fence_stream_seq + 1)
            self.forget(item.log_key)
            await self.deletions.free(item)
        return dropped

    async def _hide(self, item: Deletion) -> None:
        last = await last_stream_seq(self.js, item.tenant, item.session_id)
        if last > item.fence_stream_seq:
            # Something was added that is not stored yet: the deletion may have been undone.
            return
        await self._purge(item, keep_from=item.fence_stream_seq)
        await self.deletions.hide(item)

    async def _purge(self, item: Deletion, *, keep_from: int) -> None:
        name = subject(EventBatch, tenant=item.tenant, session=item.session_id)
        await self.js.purge_stream(binding(EventBatch).stream, subject=name, seq=keep_from)
