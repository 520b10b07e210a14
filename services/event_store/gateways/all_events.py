"""Events of all logs in the stream's order.

Why nothing can be skipped by a reader that follows the stream's numbers, wherever it reads: there is one ingester
(the position's row is its fence), it writes messages in the stream's order and commits one transaction after the
other, each with the position it reaches. So whoever sees a row sees every row of every transaction before it, and
whoever sees a position sees everything up to it. No clock, no sequence generator and no order of commits among
several writers has a part in it.

Within a transaction the messages of one log are merged into batches, so that batches interleave:

    stream     1 2 3 4 5 │ 6 7          batches of one `commit_seq` are merged again by the numbers of their
    log a      ▪   ▪   ▪ │   ▪          messages; a reader's position may lie in the middle of a batch
    log b        ▪   ▪   │ ▪
"""

import heapq
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from event_store.gateways.batches import BatchRow, EventRow, Key, Place, messages_of, of_kinds, place_of
from event_store.gateways.tables import batches, logs

# How many batches are fetched at a time.
_FETCH_BATCHES = 16


@dataclass(frozen=True, slots=True)
class StoredRow:
    """An event and whose it is."""

    key: Key
    row: EventRow


@dataclass(frozen=True, slots=True)
class Stretch:
    """Events of all logs up to `place`, whole messages only; `complete`: everything stored was looked at."""

    rows: list[StoredRow]
    place: Place
    complete: bool


@dataclass(frozen=True, slots=True, order=True)
class _Message:
    """A message of the stream: its number, which no other has, and its events."""

    stream_seq: int
    key: Key
    rows: list[EventRow]


async def read_all(
    connection: AsyncConnection,
    *,
    after_stream_seq: int,
    limit: int,
    limit_bytes: int,
    kinds: Collection[int],
    tenant: str | None,
) -> Stretch | None:
    """Events of a tenant's logs (None: of all) after a position, about `limit` of them; None while there is none."""
    # The position first: what is committed between the two reads is then left for the next call.
    place = await place_of(connection)
    if place is None:
        return None
    rows: list[StoredRow] = []
    size, last = 0, after_stream_seq
    async for message in _messages(connection, after=after_stream_seq, upto=place.stream_seq, kinds=kinds):
        if len(rows) >= limit or size >= limit_bytes:
            return Stretch(rows, Place(place.epoch, last), complete=False)
        last = message.stream_seq
        if tenant is not None and message.key[0] != tenant:
            continue
        found = [row for row in message.rows if not kinds or row.kind in kinds]
        rows += [StoredRow(message.key, row) for row in found]
        size += sum(len(row.encoded) for row in found)
    return Stretch(rows, place, complete=True)


async def _messages(
    connection: AsyncConnection, *, after: int, upto: int, kinds: Collection[int]
) -> AsyncIterator[_Message]:
    """Messages with after < stream_seq <= upto that may hold such kinds, in the stream's order."""
    waiting: list[_Message] = []
    async for batch, key in _batches(connection, after=after, upto=upto, kinds=kinds):
        # No batch that comes later begins before this one.
        while waiting and waiting[0].stream_seq < batch.first_stream_seq:
            yield heapq.heappop(waiting)
        for stream_seq, rows in messages_of(batch):
            if stream_seq > after:
                heapq.heappush(waiting, _Message(stream_seq, key, rows))
    while waiting:
        yield heapq.heappop(waiting)


async def _batches(
    connection: AsyncConnection, *, after: int, upto: int, kinds: Collection[int]
) -> AsyncIterator[tuple[BatchRow, Key]]:
    # Not joined with the logs: SQLite would read every batch of every log, then sort.
    order = (batches.c.commit_seq, batches.c.first_stream_seq)
    query = select(batches).where(batches.c.commit_seq > after, batches.c.last_stream_seq > after)
    query = of_kinds(query.where(batches.c.commit_seq <= upto), kinds).order_by(*order).limit(_FETCH_BATCHES)
    portion: Sequence[BatchRow] = ()
    while not portion or len(portion) == _FETCH_BATCHES:
        if portion:
            query = query.where(tuple_(*order) > (portion[-1].commit_seq, portion[-1].first_stream_seq))
        portion = (await connection.execute(query)).all()
        keys = await _keys(connection, {row.log_key for row in portion})
        for batch in portion:
            yield batch, keys[batch.log_key]
        if not portion:
            return


async def _keys(connection: AsyncConnection, log_keys: Collection[int]) -> dict[int, Key]:
    """Tenant and session by log key."""
    if not log_keys:
        return {}
    query = select(logs.c.log_key, logs.c.tenant, logs.c.session_id).where(logs.c.log_key.in_(log_keys))
    return {row.log_key: (row.tenant, row.session_id) for row in await connection.execute(query)}
