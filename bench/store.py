"""The event store's database: appends and reads of the same events by us, by plain COPY and by a library for it.

    python -m bench.store

A real PostgreSQL of its own, durable as it is by default. Events come in transactions of the size that ingestion
makes of a backlog: intervals of twenty sessions, messages as full as a worker's, numbers that do not repeat.
"""

import asyncio
import contextlib
import itertools
import random
import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg
from tests.databases import Postgres

from bench.one_connection import install
from event_store.application.chunks import CHUNK_BYTES, CHUNK_EVENTS
from event_store.gateways.batches import Place
from event_store.gateways.event_appends import EventAppends
from event_store.gateways.event_rows import EventRows
from event_store.gateways.log_stream import BATCH_EVENTS, StreamMessage
from event_store.main import MIGRATIONS
from milepost.event.v1.event_pb2 import IntervalClosed
from milepost.event.v1.event_service_pb2 import EventList
from milepost.event.v1.record_pb2 import EventBatch, Record
from milepost.kpi.v1.kpi_pb2 import Kpis
from runtime.database import open_database
from session_log.codec import BatchHeaders, LogMessage, record

SESSIONS = 20
MESSAGES = 160
HISTORY_EVENTS = 1_000_000
_NOW = datetime(2026, 1, 1, tzinfo=UTC)
MESSAGE_EVENTS = 64
Transaction = list[StreamMessage]


async def measure() -> None:
    """Print the figures."""
    server = Postgres("postgresql18").start()
    try:
        many = list(_transactions(SESSIONS, SESSIONS * MESSAGES))
        one = list(_transactions(1, HISTORY_EVENTS // MESSAGE_EVENTS))
        _library(server, many, one)
        _plain_copy(server, many)
        await _ours(server, many, one)
    finally:
        server.remove()


def _batches() -> list[EventBatch]:
    """More messages than ever share a stored batch, of numbers that nothing can foresee."""
    chance = random.Random(1)
    digests = (chance.randbytes(16) for _ in itertools.count())

    def interval(step: int) -> Record:
        kpis = Kpis(
            loaded=900 + step,
            departed=800 + step,
            running=chance.randrange(250, 350),
            mean_speed_mps=chance.uniform(5, 15),
            mean_travel_time_s=chance.uniform(200, 400),
        )
        return record(IntervalClosed(kpis=kpis, state_digest=next(digests)), step=step, sim_time_s=step / 10)

    return [
        EventBatch(records=[interval(10 * (message * MESSAGE_EVENTS + n)) for n in range(MESSAGE_EVENTS)])
        for message in range(256)
    ]


def _transactions(sessions: int, messages: int) -> Iterator[Transaction]:
    """Messages of the stream in turn, as many at a time as ingestion takes."""
    transaction: Transaction = []
    batches = _batches()
    for number in range(messages):
        name, first_seq = f"202601010000-{number % sessions:010}", number // sessions * MESSAGE_EVENTS + 1
        headers = BatchHeaders(first_seq, 1, 1, "nonce", _NOW)
        transaction.append(
            StreamMessage(
                "t", name, number + 1, LogMessage(number + 1, headers, batches[number // sessions % len(batches)])
            )
        )
        if len(transaction) * MESSAGE_EVENTS >= BATCH_EVENTS:
            yield transaction
            transaction = []
    if transaction:
        yield transaction


async def _ours(server: Postgres, many: Sequence[Transaction], one: Sequence[Transaction]) -> None:
    for name, transactions in (("many", many), ("one", one)):
        server.execute(f"create database {name}")
        async with open_database(server.url(name), migrations=MIGRATIONS) as engine:
            appends, rows = EventAppends(engine, asyncio.Lock()), EventRows(engine)
            place = await appends.place("epoch")
            with _timed(f"append, ours, {_whose(name)}", _events(transactions)):
                await _append(appends, transactions, place)
            _print_size("ours", server, name, ("event_store.batches", "event_store.logs"), _events(transactions))
            if name == "many":
                _copy_again(server, name, _events(transactions))
                continue
            head = await rows.head("t", one[0][0].session_id)
            assert head is not None
            for decode in (False, True):
                with _timed(f"read a history, ours{', as messages' if decode else ', as sent'}", head.head_seq):
                    await _read(rows, head.log_key, head.head_seq, decode=decode)


async def _append(appends: EventAppends, transactions: Sequence[Transaction], place: Place) -> None:
    for transaction in transactions:
        place = (await appends.append(transaction, place=place, stored=_NOW)).place


async def _read(rows: EventRows, log_key: int, head_seq: int, *, decode: bool) -> None:
    after = events = 0
    while after < head_seq:
        found = await rows.read_frames(log_key, after=after, upto=head_seq, limit=CHUNK_EVENTS, limit_bytes=CHUNK_BYTES)
        after = found.last_seq
        if decode:
            events += len(EventList.FromString(found.frames).events)
    assert events in (0, head_seq)


def _plain_copy(server: Postgres, transactions: Sequence[Transaction]) -> None:
    """What COPY takes for the same events as rows of their own, in the same transactions, with the same two keys."""
    portions = [list(_plain_rows(transaction)) for transaction in transactions]
    server.execute("create database plain")
    columns = (
        "log_key int8, seq int8, kind int4, run int4, attempt int4, step int8, sim_time_s float8, record_us int8, "
        "stored_us int8, stream_seq int8, payload bytea"
    )
    server.execute(f"create table events ({columns}, primary key (log_key, seq))", "plain")
    server.execute("create index on events (stream_seq, seq)", "plain")
    types_of = [column.split()[1] for column in columns.split(", ")]
    events = _events(transactions)
    with (
        psycopg.connect(_conninfo(server, "plain")) as connection,
        _timed("append, plain COPY of a row for each event", events),
    ):
        for portion in portions:
            _copy(connection, "events", types_of, portion)
    _print_size("a row for each event", server, "plain", ("events",), events)


def _plain_rows(transaction: Transaction) -> Iterator[tuple[Any, ...]]:
    now_us = int(_NOW.timestamp() * 1_000_000)
    for item in transaction:
        assert item.message is not None
        log_key = int(item.session_id[-10:])
        for seq, r in enumerate(item.message.batch.records, start=item.message.headers.first_seq):
            yield log_key, seq, r.kind, 1, 1, r.step, r.sim_time_s, now_us, now_us, item.stream_seq, r.payload


def _copy_again(server: Postgres, database: str, events: int) -> None:
    """What COPY takes for the rows we made, finished as they are: the least that storing them can cost."""
    with psycopg.connect(_conninfo(server, database)) as connection:
        connection.execute("set search_path = event_store")
        names = [
            row[0]
            for row in connection.execute(
                "select format_type(atttypid, atttypmod) from pg_attribute "
                "where attrelid = 'batches'::regclass and attnum > 0 order by attnum"
            ).fetchall()
        ]
        rows = connection.execute("select * from batches order by commit_seq, first_stream_seq").fetchall()
        connection.execute("create table again (like batches including all)")
        connection.commit()
        portions: dict[int, list[Any]] = {}
        for row in rows:
            portions.setdefault(row[14], []).append(row)
        with _timed("append, plain COPY of our finished rows", events):
            for portion in portions.values():
                _copy(connection, "again", names, portion)


def _copy(connection: psycopg.Connection[Any], table: str, types_of: Sequence[str], rows: Sequence[Any]) -> None:
    with connection.cursor() as cursor, cursor.copy(f"copy {table} from stdin (format binary)".encode()) as copy:
        copy.set_types(types_of)
        for row in rows:
            copy.write_row(row)
    connection.commit()


def _library(server: Postgres, many: Sequence[Transaction], one: Sequence[Transaction]) -> None:
    """The PostgreSQL recorder of `eventsourcing`, as it comes and with its functions in the database."""
    install()
    from eventsourcing.persistence import StoredEvent  # noqa: PLC0415 - needs what was just installed
    from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore  # noqa: PLC0415

    for functions in (False, True):
        name = f"library_{functions}".lower()
        server.execute(f"create database {name}")
        with PostgresDatastore(
            name, str(server.folder), 5432, "postgres", "", enable_db_functions=functions
        ) as datastore:
            recorder = PostgresApplicationRecorder(datastore)
            recorder.create_table()
            for whose, transactions in (("many", many), ("one", one)) if functions else (("many", many),):
                ids = {item.session_id: uuid.uuid4() for transaction in transactions for item in transaction}
                how = " with functions" if functions else ""
                with _timed(f"append, eventsourcing{how}, {_whose(whose)}", _events(transactions)):
                    for transaction in transactions:
                        recorder.insert_events(list(_stored_events(StoredEvent, ids, transaction)))
            if functions:
                with _timed("read a history, eventsourcing", _events(one)):
                    _select(recorder, next(iter(ids.values())))
                continue
            _print_size("eventsourcing", server, name, ("stored_events",), _events(many))


def _stored_events(kind: Any, ids: dict[str, uuid.UUID], transaction: Transaction) -> Iterator[Any]:
    for item in transaction:
        assert item.message is not None
        for seq, r in enumerate(item.message.batch.records, start=item.message.headers.first_seq):
            yield kind(ids[item.session_id], seq, str(r.kind), r.payload)


def _select(recorder: Any, originator_id: uuid.UUID) -> None:
    """In pages as large as our chunks."""
    after = 0
    while page := recorder.select_events(originator_id, gt=after, limit=CHUNK_EVENTS):
        after = page[-1].originator_version


def _conninfo(server: Postgres, database: str) -> str:
    return f"host={server.folder} user=postgres dbname={database}"


def _events(transactions: Sequence[Transaction]) -> int:
    return sum(len(transaction) for transaction in transactions) * MESSAGE_EVENTS


def _whose(name: str) -> str:
    return f"{SESSIONS} sessions" if name == "many" else "one session"


@contextlib.contextmanager
def _timed(name: str, events: int) -> Iterator[None]:
    began = time.perf_counter()
    yield
    print(f"  {name:56} {events / (time.perf_counter() - began):12,.0f} events/s", flush=True)


def _print_size(name: str, server: Postgres, database: str, tables: Sequence[str], events: int) -> None:
    size = sum(int(str(server.execute(f"select pg_total_relation_size('{t}')", database)[0][0])) for t in tables)
    print(f"  {'stored with its keys, ' + name:56} {size / events:12.1f} bytes/event")


if __name__ == "__main__":
    asyncio.run(measure())
