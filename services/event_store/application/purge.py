"""Purge the broker behind the store (log.md R4).

Only sessions to which nothing was added for a while (they ended, are suspended or stand still), and never the last
message of a subject: it is the fence. Without it
`expected = 0` would win again, and a forgotten writer could begin the log a second time.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import nats.errors
import structlog
from nats.js import JetStreamContext
from sqlalchemy.exc import SQLAlchemyError

from event_store.gateways.event_appends import EventAppends
from event_store.gateways.event_rows import EventRows
from event_store.gateways.log_stream import stream_end
from milepost.event.v1.record_pb2 import EventBatch
from runtime.broker import binding, subject

log = structlog.get_logger()

# How often to look for logs to purge, and how many at a time.
PERIOD_S = 30.0
_LIMIT = 200


@dataclass(frozen=True, slots=True)
class Purge:
    """Runs beside the ingester."""

    js: JetStreamContext
    rows: EventRows
    appends: EventAppends
    delay_s: float
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    async def __call__(self) -> None:
        """Run until cancelled."""
        while True:
            try:
                await self.once()
            except (nats.errors.Error, SQLAlchemyError) as error:
                log.warning("purging goes on later", error=repr(error))
            await asyncio.sleep(min(PERIOD_S, max(self.delay_s, 1.0)))

    async def once(self) -> int:
        """Purge what may be purged now; returns the number of logs."""
        before = self.clock() - timedelta(seconds=self.delay_s)
        found = await self.appends.purgeable(stored_before=before, limit=_LIMIT)
        if not found:
            return 0
        place, end = await self.rows.place(), await stream_end(self.js)
        if place is None or place.epoch != end.epoch:
            # The numbers are those of another stream: they would purge what was never stored.
            return 0
        for row in found:
            await self.js.purge_stream(
                binding(EventBatch).stream,
                subject=subject(EventBatch, tenant=row.tenant, session=row.session_id),
                seq=row.head_stream_seq,
            )
            await self.appends.purged(row.log_key, row.head_stream_seq)
        return len(found)
