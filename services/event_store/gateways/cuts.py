"""Cutting the beginning of logs, in SQL: intervals and log lines of earlier runs go, `oldest_seq` moves.

What says what the session is (requests, claims, ends, commands, checkpoints, artifacts) stays for good, wherever it
stands: states, journals and the projection are folded from it.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from event_store.gateways.batches import BatchRow, EventRow, messages_of, of_kinds
from event_store.gateways.blob_folder import microseconds
from event_store.gateways.event_bytes import compress, framed, kinds_mask, packed_messages
from event_store.gateways.merged import Values
from event_store.gateways.tables import batches, logs
from milepost.event.v1.event_pb2 import EventKind
from session_log.codec import TERMINAL_KINDS

CUT_KINDS = frozenset({EventKind.EVENT_KIND_INTERVAL_CLOSED, EventKind.EVENT_KIND_LOG_LINE})
"""What is cut."""

# Batches rewritten in one transaction: ingestion waits meanwhile. One holds at most some hundred KiB.
BATCHES_AT_ONCE = 50
# Logs fetched at a time.
_PAGE_LOGS = 200


@dataclass(frozen=True, slots=True)
class EndedLog:
    """A log whose session has ended, and stands."""

    log_key: int
    oldest_seq: int
    head_seq: int


class Cuts:
    """One cut at a time; any of its transactions may be the last before the process dies."""

    def __init__(self, engine: AsyncEngine, writing: asyncio.Lock) -> None:
        """`writing` is taken by every writer of the database."""
        self._engine = engine
        self._writing = writing

    async def ended(self, *, stored_before: datetime) -> AsyncIterator[EndedLog]:
        """Logs of ended sessions with more than one run, to which nothing was added for long enough."""
        after = 0
        opened = of_kinds(select(batches.c.log_key), (EventKind.EVENT_KIND_RUN_OPENED,))
        while True:
            query = (
                select(logs.c.log_key, logs.c.oldest_seq, logs.c.head_seq)
                .where(
                    logs.c.log_key > after,
                    logs.c.head_kind.in_(TERMINAL_KINDS),
                    logs.c.head_stored_us <= microseconds(stored_before),
                    opened.where(batches.c.log_key == logs.c.log_key).exists(),
                )
                .order_by(logs.c.log_key)
                .limit(_PAGE_LOGS)
            )
            async with self._engine.connect() as connection:
                page = [EndedLog(*row) for row in await connection.execute(query)]
            if not page:
                return
            for item in page:
                yield item
            after = page[-1].log_key

    async def count(self, log_key: int, *, before_seq: int) -> int:
        """Events that a cut would take."""
        found, after = 0, 0
        while True:
            async with self._engine.connect() as connection:
                portion = await _portion(connection, log_key, after=after, before_seq=before_seq)
            if not portion:
                return found
            found += sum(len(_taken(rows, before_seq)) for batch in portion for _, rows in messages_of(batch))
            after = portion[-1].last_seq

    async def cut(self, log_key: int, *, before_seq: int) -> int:
        """Take what may be cut before `before_seq`; returns the number of events."""
        taken, after = 0, 0
        while True:
            async with self._writing, self._engine.begin() as connection:
                portion = await _portion(connection, log_key, after=after, before_seq=before_seq)
                # No reader may begin where something is missing.
                oldest = min(before_seq, portion[-1].last_seq + 1) if portion else before_seq
                moved = update(logs).where(logs.c.log_key == log_key, logs.c.oldest_seq < oldest)
                await connection.execute(moved.values(oldest_seq=oldest))
                if not portion:
                    return taken
                left = await asyncio.to_thread(_left, portion, before_seq)
                taken += sum(batch.event_count for batch in portion) - sum(values["event_count"] for values in left)
                await _rewrite(connection, log_key, portion, left)
            after = portion[-1].last_seq


async def _portion(connection: AsyncConnection, log_key: int, *, after: int, before_seq: int) -> Sequence[BatchRow]:
    """The next batches of which something may be cut."""
    query = of_kinds(select(batches), CUT_KINDS).where(
        batches.c.log_key == log_key, batches.c.last_seq > after, batches.c.first_seq < before_seq
    )
    return list((await connection.execute(query.order_by(batches.c.last_seq).limit(BATCHES_AT_ONCE))).all())


def _taken(rows: Sequence[EventRow], before_seq: int) -> list[EventRow]:
    return [row for row in rows if row.seq < before_seq and row.kind in CUT_KINDS]


def _left(portion: Sequence[BatchRow], before_seq: int) -> list[Values]:
    """What batches of which something is left hold after the cut. Their numbers stay: what was cut leaves gaps."""
    values: list[Values] = []
    for batch in portion:
        messages, kept = [], list[EventRow]()
        for stream_seq, rows in messages_of(batch):
            gone = {row.seq for row in _taken(rows, before_seq)}
            messages.append((stream_seq, len(rows) - len(gone)))
            kept += [row for row in rows if row.seq not in gone]
        if kept:
            values.append(
                {
                    "last": batch.last_seq,
                    "kinds": kinds_mask({row.kind for row in kept}),
                    "messages": packed_messages(messages),
                    "event_count": len(kept),
                    "events": compress(b"".join(framed(row.encoded) for row in kept)),
                }
            )
    return values


async def _rewrite(
    connection: AsyncConnection, log_key: int, portion: Sequence[BatchRow], left: Sequence[Values]
) -> None:
    mine = batches.c.log_key == log_key
    gone = {batch.last_seq for batch in portion} - {values["last"] for values in left}
    await connection.execute(delete(batches).where(mine, batches.c.last_seq.in_(gone)))
    if left:
        await connection.execute(
            update(batches)
            .where(mine, batches.c.last_seq == bindparam("last"))
            .values({name: bindparam(name) for name in ("kinds", "messages", "event_count", "events")}),
            left,
        )
