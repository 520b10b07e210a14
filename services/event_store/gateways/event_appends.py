"""Events and logs in SQL, written: by one ingester, in the stream's order, a batch in one transaction (log.md R11)."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from event_store.gateways.event_rows import KEYS_PER_QUERY, EventRow, Key, Place, portions
from event_store.gateways.log_stream import StreamMessage
from event_store.gateways.tables import events, logs, position
from milepost.event.v1.event_pb2 import RunOpened
from session_log.codec import TERMINAL_KINDS, LogMessage, kind_of

# What makes two events equal (R1).
_JUDGED = ("kind", "step", "sim_time_s", "payload")

_RUN_OPENED = kind_of(RunOpened)

Values = dict[str, Any]


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


@dataclass(slots=True)
class Written:
    """What a transaction did: where the position is now, what grew, how many events, what was left out."""

    place: Place
    grown: list[Committed] = field(default_factory=list)
    events: int = 0
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
            rows: list[Values] = []
            for item in messages:
                if item.message is None:
                    written.broken.append(LogBroken(item.tenant, item.session_id, 0, 0))
                    continue
                tail = tails[item.tenant, item.session_id]
                try:
                    fresh = await _fresh(connection, item, item.message, tail, pending=rows, stored=stored)
                except LogBroken as error:
                    written.broken.append(error)
                    continue
                written.events += len(fresh)
                rows += fresh
            await _insert(connection, rows)
            await _move_heads(connection, [tail for tail in tails.values() if tail.changed], stored)
        written.grown = [Committed(*key, tail.head_seq) for key, tail in tails.items() if tail.changed]
        return written

    async def purgeable(self, *, stored_before: datetime, limit: int) -> list[EventRow]:
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
    connection: AsyncConnection,
    item: StreamMessage,
    message: LogMessage,
    tail: _Tail,
    *,
    pending: list[Values],
    stored: datetime,
) -> list[Values]:
    """The rows of a message that continues its log; moves `tail`. Raises LogBroken.

    `pending` are rows of earlier messages; they are written here when this message overlaps what is stored.
    """
    first_seq, expected = message.headers.first_seq, tail.head_seq + 1
    if first_seq > expected:
        raise LogBroken(item.tenant, item.session_id, expected, first_seq)
    rows = _values(message, tail.log_key, stored)
    if first_seq < expected:
        await _insert(connection, pending)
        pending.clear()
        await _require_equal(connection, item, tail, rows)
        rows = [row for row in rows if row["seq"] >= expected]
    for row in rows:
        tail.head_seq = row["seq"]
        # An end stays the end whatever is noted after it, until a new run is opened (R14).
        if tail.head_kind not in TERMINAL_KINDS or row["kind"] == _RUN_OPENED:
            tail.head_kind = row["kind"]
    tail.stream_seq = message.stream_seq
    tail.changed = True
    return rows


def _values(message: LogMessage, log_key: int, stored: datetime) -> list[Values]:
    headers = message.headers
    shared = {
        "log_key": log_key,
        "run": headers.run,
        "attempt": headers.attempt,
        "record_us": _us(headers.record_time),
        "stored_us": _us(stored),
        "stream_seq": message.stream_seq,
    }
    return [
        {
            **shared,
            "seq": seq,
            "kind": record.kind,
            "step": record.step,
            "sim_time_s": record.sim_time_s,
            "payload": record.payload,
        }
        for seq, record in enumerate(message.batch.records, start=headers.first_seq)
    ]


async def _require_equal(connection: AsyncConnection, item: StreamMessage, tail: _Tail, rows: Sequence[Values]) -> None:
    """An overlap must say what is stored, byte for byte."""
    query = select(events).where(
        events.c.log_key == tail.log_key, events.c.seq.between(rows[0]["seq"], rows[-1]["seq"])
    )
    stored = {row["seq"]: row for row in (await connection.execute(query)).mappings()}
    for row in rows:
        there = stored.get(row["seq"], row)
        if any(there[name] != row[name] for name in _JUDGED):
            raise LogBroken(item.tenant, item.session_id, tail.head_seq + 1, row["seq"])


async def _insert(connection: AsyncConnection, rows: Sequence[Values]) -> None:
    if rows:
        await connection.execute(insert(events), rows)


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
