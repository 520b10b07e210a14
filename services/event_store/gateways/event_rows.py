"""Events and logs in SQL, read: any number of readers, in any number of processes, beside the one writer.

Batches are fetched a few at a time until a page is full: a page is bounded in bytes before it is in memory.
"""

from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncEngine

from event_store.gateways.all_events import StoredRow, Stretch, read_all
from event_store.gateways.batches import BatchRow, EventRow, Key, Place, of_kinds, place_of, rows_of
from event_store.gateways.event_bytes import decompress, framed, kinds_mask
from event_store.gateways.tables import batches, logs
from runtime.database import connected, each_alone, in_time
from session_log.codec import TERMINAL_KINDS

__all__ = ["EventRow", "EventRows", "Frames", "Head", "Key", "Page", "Place", "StoredRow", "Stretch"]

# Keys named in one statement; SQLite allows 32,766 variables, a key has two.
KEYS_PER_QUERY = 5000
# How many batches are fetched at a time: few at first, for one holds up to a message of the broker, 1 MiB, or
# MERGED_BYTES; many once they have turned out to be small, as those of a session at real time are.
FETCH_BATCHES = 16
_FETCH_MORE, _FETCH_MOST = 8, 512
_SMALL_BYTES = 2 * 1024
# So few events are fetched at once, however many batches they came in: most reads are of the newest.
_FEW_EVENTS = 128

T = TypeVar("T")


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
class Frames:
    """Events of one log up to `last_seq`, ready to be sent; `complete`: there are no more of what was asked for."""

    frames: bytes
    last_seq: int
    complete: bool


class EventRows:
    """Reads events."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = each_alone(engine)

    @in_time
    async def heads(self, keys: Collection[Key]) -> dict[Key, Head]:
        """Where these logs end (R12). Unknown and empty logs are left out."""
        found: dict[Key, Head] = {}
        async with connected(self._engine) as connection:
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

    @in_time
    async def place(self) -> Place | None:
        """How far the stream has been written, if anything ever began."""
        async with connected(self._engine) as connection:
            return await place_of(connection)

    @in_time
    async def read(
        self,
        log_key: int,
        *,
        after: int,
        upto: int,
        limit: int,
        limit_bytes: int,
        kinds: Collection[int] = (),
        run: int = 0,
        descending: bool = False,
    ) -> Page:
        """Events with after < seq <= upto, from either end, of `run` (0: any); at least one if there is one."""
        rows: list[EventRow] = []
        size = 0
        stored = self._batches(log_key, after=after, upto=upto, kinds=kinds, run=run, descending=descending)
        async for batch in stored:
            found = [row for row in rows_of(batch) if after < row.seq <= upto and (not kinds or row.kind in kinds)]
            for row in reversed(found) if descending else found:
                size += len(row.encoded)
                if rows and (len(rows) == limit or size > limit_bytes):
                    return Page(rows, complete=False)
                rows.append(row)
        return Page(rows, complete=True)

    @in_time
    async def read_frames(
        self, log_key: int, *, after: int, upto: int, limit: int, limit_bytes: int, kinds: Collection[int] = ()
    ) -> Frames:
        """Events with after < seq <= upto as frames, about `limit` of them; whole batches are not looked into."""
        wanted = kinds_mask(kinds)
        parts: list[bytes] = []
        count, size, last_seq = 0, 0, after
        async for batch in self._batches(log_key, after=after, upto=upto, kinds=kinds):
            frames, events = decompress(batch.events), batch.event_count
            # Bit 0 stands for several kinds.
            only_wanted = not kinds or not batch.kinds & (~wanted | 1)
            if not only_wanted or batch.first_seq <= after or batch.last_seq > upto:
                some = [row for row in rows_of(batch) if after < row.seq <= upto and (not kinds or row.kind in kinds)]
                frames, events = b"".join(framed(row.encoded) for row in some), len(some)
            if count + events > limit or size + len(frames) > limit_bytes:
                if parts:
                    return Frames(b"".join(parts), last_seq, complete=False)
                # More than a chunk in one message.
                page = await self.read(
                    log_key, after=after, upto=upto, limit=limit, limit_bytes=limit_bytes, kinds=kinds
                )
                some_frames = b"".join(framed(row.encoded) for row in page.rows)
                return Frames(some_frames, upto if page.complete else page.rows[-1].seq, complete=page.complete)
            if frames:
                parts.append(frames)
            count, size, last_seq = count + events, size + len(frames), min(batch.last_seq, upto)
        return Frames(b"".join(parts), upto, complete=True)

    @in_time
    async def read_all(
        self, *, after_stream_seq: int, limit: int, limit_bytes: int, kinds: Collection[int], tenant: str | None
    ) -> Stretch | None:
        """Events of a tenant's logs (None: of all) after a position, about `limit`; None while there is none."""
        async with connected(self._engine) as connection:
            return await read_all(
                connection,
                after_stream_seq=after_stream_seq,
                limit=limit,
                limit_bytes=limit_bytes,
                kinds=kinds,
                tenant=tenant,
            )

    async def _batches(
        self, log_key: int, *, after: int, upto: int, kinds: Collection[int], run: int = 0, descending: bool = False
    ) -> AsyncIterator[BatchRow]:
        """Batches that may hold events asked for, from one end or the other."""
        query = select(batches).where(batches.c.log_key == log_key, batches.c.last_seq > after)
        query = of_kinds(query, kinds)
        if run:
            # A batch is of one run.
            query = query.where(batches.c.run == run)
        if descending:
            query = query.where(batches.c.first_seq <= upto).order_by(batches.c.last_seq.desc())
        else:
            query = query.where(batches.c.first_seq <= upto).order_by(batches.c.last_seq)
        portion: Sequence[BatchRow] = ()
        size = FETCH_BATCHES if upto - after > _FEW_EVENTS else _FEW_EVENTS
        while not portion or len(portion) == size:
            go_on = query
            if portion:
                seen = portion[-1].last_seq
                go_on = query.where(batches.c.last_seq < seen if descending else batches.c.last_seq > seen)
                small = sum(len(batch.events) for batch in portion) <= size * _SMALL_BYTES
                size = min(size * _FETCH_MORE, _FETCH_MOST) if small else FETCH_BATCHES
            async with connected(self._engine) as connection:
                portion = (await connection.execute(go_on.limit(size))).all()
            for batch in portion:
                yield batch
            if not portion:
                return

    @in_time
    async def count(self) -> int:
        """Events stored."""
        stored = select(func.coalesce(func.sum(batches.c.event_count), 0))
        async with connected(self._engine) as connection:
            return int((await connection.execute(stored)).scalar_one())


def portions(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items in order, at most `size` at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
