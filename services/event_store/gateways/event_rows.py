"""Events and logs in SQL, read: any number of readers beside the one writer (event_appends).

Why nothing can be skipped by a reader that follows `stream_seq`: there is one ingester (the position's row is its
fence), it writes messages in the stream's order and commits one transaction after the other. So whoever sees a
row sees every row that stands before it.

Rows are fetched a few at a time until a page is full: a page is bounded in bytes before it is in memory.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Row, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from event_store.gateways.tables import events, logs, position
from session_log.codec import TERMINAL_KINDS

EventRow = Row[*tuple[Any, ...]]
Key = tuple[str, str]

# Keys named in one statement; SQLite allows 32,766 variables, a key has two.
KEYS_PER_QUERY = 5000
# How many rows are fetched at a time; a row holds at most one message of the broker, 1 MiB, usually 300 bytes.
_FETCH = {"max_row_buffer": 64}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """How far the broker's stream has been written."""

    epoch: str
    stream_seq: int


@dataclass(frozen=True, slots=True)
class Head:
    """Where a stored log ends."""

    log_key: int
    oldest_seq: int
    head_seq: int
    head_kind: int
    stream_seq: int

    @property
    def terminal(self) -> bool:
        """Whether the session has ended (log.md R14)."""
        return self.head_kind in TERMINAL_KINDS


@dataclass(frozen=True, slots=True)
class Page:
    """Events of one log; `complete`: there are no more within what was asked for."""

    rows: list[EventRow]
    complete: bool


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


class EventRows:
    """Reads events."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def heads(self, keys: Collection[Key]) -> dict[Key, Head]:
        """Where these logs end (R12). Unknown and empty logs are left out."""
        found: dict[Key, Head] = {}
        async with self._engine.connect() as connection:
            for some in portions(sorted(keys), KEYS_PER_QUERY):
                query = select(logs).where(tuple_(logs.c.tenant, logs.c.session_id).in_(some), logs.c.head_seq > 0)
                for row in await connection.execute(query):
                    found[row.tenant, row.session_id] = Head(
                        row.log_key, row.oldest_seq, row.head_seq, row.head_kind, row.head_stream_seq
                    )
        return found

    async def head(self, tenant: str, session_id: str) -> Head | None:
        """Where a log ends, if it is known."""
        return (await self.heads([(tenant, session_id)])).get((tenant, session_id))

    async def place(self) -> Place | None:
        """How far the stream has been written, if anything ever began."""
        async with self._engine.connect() as connection:
            return await _place(connection)

    async def read(
        self,
        log_key: int,
        *,
        after: int,
        upto: int,
        limit: int,
        limit_bytes: int,
        kinds: Collection[int] = (),
        descending: bool = False,
    ) -> Page:
        """Events with after < seq <= upto from one end or the other; at least one if there is one."""
        query = select(events).where(events.c.log_key == log_key, events.c.seq > after, events.c.seq <= upto)
        if kinds:
            query = query.where(events.c.kind.in_(kinds))
        query = query.order_by(events.c.seq.desc() if descending else events.c.seq).limit(limit + 1)
        rows: list[EventRow] = []
        size = 0
        async with self._engine.connect() as connection, connection.stream(query, execution_options=_FETCH) as found:
            async for row in found:
                size += len(row.payload)
                if rows and (len(rows) == limit or size > limit_bytes):
                    return Page(rows, complete=False)
                rows.append(row)
        return Page(rows, complete=True)

    async def read_all(
        self, *, after_stream_seq: int, limit: int, limit_bytes: int, kinds: Collection[int], tenant: str
    ) -> Stretch | None:
        """Events of a tenant's logs after a position, about `limit` of them; None while there is no position."""
        async with self._engine.connect() as connection:
            # The position first: rows committed between the two reads are then left for the next call.
            place = await _place(connection)
            if place is None:
                return None
            # Not joined with the logs: SQLite would read every event of every log, then sort.
            query = (
                select(events)
                .where(events.c.stream_seq > after_stream_seq, events.c.stream_seq <= place.stream_seq)
                .order_by(events.c.stream_seq, events.c.seq)
            )
            if kinds:
                query = query.where(events.c.kind.in_(kinds))
            rows: list[EventRow] = []
            size, complete = 0, True
            async with connection.stream(query, execution_options=_FETCH) as found:
                async for row in found:
                    full = len(rows) >= limit or size >= limit_bytes
                    if full and row.stream_seq != rows[-1].stream_seq:
                        place, complete = Place(place.epoch, rows[-1].stream_seq), False
                        break
                    rows.append(row)
                    size += len(row.payload)
            keys = await _keys(connection, {row.log_key for row in rows})
        owned = [StoredRow(keys[row.log_key], row) for row in rows if keys[row.log_key][0] == tenant]
        return Stretch(owned, place, complete)

    async def count(self) -> int:
        """Events stored."""
        async with self._engine.connect() as connection:
            return (await connection.execute(select(func.count()).select_from(events))).scalar_one()


def portions(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items in order, at most `size` at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


async def _place(connection: AsyncConnection) -> Place | None:
    row = (await connection.execute(select(position))).one_or_none()
    return Place(row.epoch, row.stream_seq) if row else None


async def _keys(connection: AsyncConnection, log_keys: Collection[int]) -> dict[int, Key]:
    """Tenant and session by log key."""
    found: dict[int, Key] = {}
    for some in portions(sorted(log_keys), KEYS_PER_QUERY):
        query = select(logs.c.log_key, logs.c.tenant, logs.c.session_id).where(logs.c.log_key.in_(some))
        for row in await connection.execute(query):
            found[row.log_key] = (row.tenant, row.session_id)
    return found
