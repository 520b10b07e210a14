"""Events and logs in SQL, written: by one ingester, in the stream's order, a batch in one transaction (log.md R11)."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from event_store.gateways.batch_insert import insert_batches
from event_store.gateways.batches import Key, Place, rows_of
from event_store.gateways.event_bytes import kinds_mask
from event_store.gateways.event_rows import KEYS_PER_QUERY, portions
from event_store.gateways.log_stream import StreamMessage
from event_store.gateways.merged import Merged, Values
from event_store.gateways.references import Noted, note, noted_in
from event_store.gateways.tables import batches, logs, position
from milepost.event.v1.event_pb2 import RunOpened
from milepost.event.v1.record_pb2 import EventBatch
from session_log.codec import TERMINAL_KINDS, LogMessage, kind_of

_RUN_OPENED = kind_of(RunOpened)
_ENDS_OR_OPENS = kinds_mask({*TERMINAL_KINDS, _RUN_OPENED})


class NotTheIngester(Exception):
    """The position was moved by another process: stop ingesting."""


@dataclass(eq=False)
class LogBroken(Exception):
    """A message does not continue its log: a gap, something else than what is stored, or no batch at all (0, 0)."""

    tenant: str
    session_id: str
    expected_seq: int
    first_seq: int


@dataclass(frozen=True, slots=True)
class Committed:
    """A log that grew."""

    tenant: str
    session_id: str
    head_seq: int
    trace: str = ""
    """The span in which intervals of it were stored, a `traceparent`."""


@dataclass(slots=True)
class Written:
    """What a transaction did: where the position is now, what grew, how many events, what was left out."""

    place: Place
    grown: list[Committed] = field(default_factory=list)
    events: int = 0
    stored_bytes: int = 0
    """What the events take, compressed."""
    broken: list[LogBroken] = field(default_factory=list)


@dataclass(slots=True)
class _Tail:
    """A log's end while a batch is being written."""

    log_key: int
    head_seq: int
    head_kind: int
    stream_seq: int
    changed: bool = False


class EventAppends:
    """Writes events. `writing` is taken by every writer of the database: SQLite lets writers starve each other."""

    def __init__(self, engine: AsyncEngine, writing: asyncio.Lock) -> None:
        self._engine = engine
        self._writing = writing

    async def place(self, epoch: str) -> Place:
        """The position, made at the first start on a stream of this epoch."""
        async with self._writing, self._engine.begin() as connection:
            row = (await connection.execute(select(position))).one_or_none()
            if row is None:
                await connection.execute(insert(position).values(one=1, epoch=epoch, stream_seq=0))
                return Place(epoch, 0)
        return Place(row.epoch, row.stream_seq)

    async def append(self, messages: Sequence[StreamMessage], *, place: Place, stored: datetime) -> Written:
        """Write messages, heads and the new position in one transaction (R11). Raises NotTheIngester.

        A message that breaks its log is left out, loudly: the log keeps its last good head, the others go on.
        """
        written = Written(Place(place.epoch, messages[-1].stream_seq))
        async with self._writing, self._engine.begin() as connection:
            fence = await connection.execute(
                update(position)
                .where(position.c.epoch == place.epoch, position.c.stream_seq == place.stream_seq)
                .values(stream_seq=written.place.stream_seq)
            )
            if fence.rowcount != 1:
                raise NotTheIngester
            keys = {(item.tenant, item.session_id) for item in messages if item.message is not None}
            tails = await _tails(connection, keys, stored)
            rows = _Batches(connection, stored=stored, commit_seq=written.place.stream_seq)
            noted: list[Noted] = []
            for item in messages:
                if item.message is None:
                    written.broken.append(LogBroken(item.tenant, item.session_id, 0, 0))
                    continue
                tail = tails[item.tenant, item.session_id]
                if item.message.headers.first_seq <= tail.head_seq:
                    # It is compared with what is stored.
                    await rows.write()
                try:
                    fresh = await _fresh(connection, item, item.message, tail)
                except LogBroken as error:
                    written.broken.append(error)
                    continue
                tail.stream_seq, tail.changed = item.stream_seq, True
                if fresh is not None:
                    _move(tail, fresh, rows.add(item.session_id, fresh, tail))
                    noted += noted_in(tail.log_key, fresh.batch.records)
                    written.events += len(fresh.batch.records)
            await rows.write()
            await _move_heads(connection, [tail for tail in tails.values() if tail.changed], stored)
            # Behind the heads, whose rows are locked now: nobody notes, or drops, anything of these logs meanwhile.
            await note(connection, noted)
        written.stored_bytes = rows.stored_bytes
        written.grown = [Committed(*key, tail.head_seq) for key, tail in tails.items() if tail.changed]
        return written

    async def purgeable(self, *, stored_before: datetime, limit: int) -> list[Row[*tuple[Any, ...]]]:
        """Logs to which nothing was added for long enough, of which the broker holds more than the fence (R4)."""
        query = (
            select(logs.c.log_key, logs.c.tenant, logs.c.session_id, logs.c.head_stream_seq)
            .where(
                logs.c.head_stored_us <= _us(stored_before),
                logs.c.purged_stream_seq < logs.c.head_stream_seq,
            )
            .limit(limit)
        )
        async with self._engine.connect() as connection:
            return list((await connection.execute(query)).all())

    async def purged(self, log_key: int, stream_seq: int) -> None:
        """Remember that the broker holds nothing of this log before `stream_seq`."""
        async with self._writing, self._engine.begin() as connection:
            await connection.execute(update(logs).where(logs.c.log_key == log_key).values(purged_stream_seq=stream_seq))


async def _tails(connection: AsyncConnection, keys: Collection[Key], stored: datetime) -> dict[Key, _Tail]:
    """Where the logs of a batch end; logs that are new get their row."""
    found: dict[Key, _Tail] = {}
    ordered = sorted(keys)
    for some in portions(ordered, KEYS_PER_QUERY):
        query = select(logs).where(tuple_(logs.c.tenant, logs.c.session_id).in_(some))
        for row in await connection.execute(query):
            found[row.tenant, row.session_id] = _Tail(row.log_key, row.head_seq, row.head_kind, row.head_stream_seq)
    for tenant, session_id in ordered:
        if (tenant, session_id) not in found:
            made = await connection.execute(
                insert(logs).values(
                    tenant=tenant,
                    session_id=session_id,
                    oldest_seq=1,
                    head_seq=0,
                    head_kind=0,
                    head_stream_seq=0,
                    head_stored_us=_us(stored),
                    purged_stream_seq=0,
                )
            )
            assert made.inserted_primary_key is not None
            found[tenant, session_id] = _Tail(made.inserted_primary_key[0], 0, 0, 0)
    return found


async def _fresh(
    connection: AsyncConnection, item: StreamMessage, message: LogMessage, tail: _Tail
) -> LogMessage | None:
    """What of a message is not stored yet; None when all of it is. Raises LogBroken."""
    first_seq, expected = message.headers.first_seq, tail.head_seq + 1
    if first_seq > expected:
        raise LogBroken(item.tenant, item.session_id, expected, first_seq)
    if first_seq == expected:
        return message
    await _require_equal(connection, item, message, tail)
    records = message.batch.records[expected - first_seq :]
    if not records:
        return None
    return LogMessage(message.stream_seq, replace(message.headers, first_seq=expected), EventBatch(records=records))


async def _require_equal(connection: AsyncConnection, item: StreamMessage, message: LogMessage, tail: _Tail) -> None:
    """An overlap must say what is stored, byte for byte."""
    first_seq, last_seq = message.headers.first_seq, min(message.last_seq, tail.head_seq)
    query = select(batches).where(
        batches.c.log_key == tail.log_key, batches.c.last_seq >= first_seq, batches.c.first_seq <= last_seq
    )
    for batch in (await connection.execute(query)).all():
        for row in rows_of(batch):
            if not first_seq <= row.seq <= last_seq:
                continue
            event, record = row.event, message.batch.records[row.seq - first_seq]
            there = (row.kind, event.step, event.sim_time_s, row.payload)
            if there != (record.kind, record.step, record.sim_time_s, record.payload):
                raise LogBroken(item.tenant, item.session_id, tail.head_seq + 1, row.seq)


class _Batches:
    """The rows of one transaction while it is put together."""

    def __init__(self, connection: AsyncConnection, *, stored: datetime, commit_seq: int) -> None:
        self.stored_bytes = 0
        self._connection = connection
        self._stored_us = _us(stored)
        self._commit_seq = commit_seq
        self._full: list[Merged] = []
        self._open: dict[int, Merged] = {}

    def add(self, session_id: str, message: LogMessage, tail: _Tail) -> int:
        """A message that continues its log; returns the mask of its kinds."""
        growing = self._open.get(tail.log_key)
        if growing is None or not growing.takes(message):
            if growing is not None:
                self._full.append(growing)
            growing = self._open[tail.log_key] = Merged(tail.log_key, first=message, last=message)
        return growing.add(session_id, message)

    async def write(self) -> None:
        """Write what there is."""
        merged, self._full, self._open = [*self._full, *self._open.values()], [], {}
        rows = await asyncio.to_thread(self._rows, merged)
        self.stored_bytes += await insert_batches(self._connection, rows)

    def _rows(self, merged: Sequence[Merged]) -> list[Values]:
        return [batch.values(stored_us=self._stored_us, commit_seq=self._commit_seq) for batch in merged]


def _move(tail: _Tail, message: LogMessage, kinds: int) -> None:
    """A tail moves to the end of a message with such kinds."""
    tail.head_seq = message.last_seq
    if tail.head_kind not in TERMINAL_KINDS and not kinds & _ENDS_OR_OPENS:
        tail.head_kind = message.batch.records[-1].kind
        return
    for record in message.batch.records:
        # An end stays the end whatever is noted after it, until a new run is opened (R14).
        if tail.head_kind not in TERMINAL_KINDS or record.kind == _RUN_OPENED:
            tail.head_kind = record.kind


async def _move_heads(connection: AsyncConnection, tails: Sequence[_Tail], stored: datetime) -> None:
    if not tails:
        return
    moved = update(logs).where(logs.c.log_key == bindparam("key"))
    await connection.execute(
        moved.values(
            head_seq=bindparam("seq"),
            head_kind=bindparam("kind"),
            head_stream_seq=bindparam("at"),
            head_stored_us=_us(stored),
        ),
        [{"key": tail.log_key, "seq": tail.head_seq, "kind": tail.head_kind, "at": tail.stream_seq} for tail in tails],
    )


def _us(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)
