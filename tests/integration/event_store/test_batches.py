"""How events are stored (ADR 12): merged by transaction, read from any place, cut; what was before is carried over."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from running_store import interval, lines
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from databases import url_of
from event_store.gateways.event_appends import EventAppends
from event_store.gateways.event_rows import EventRows
from event_store.gateways.log_stream import StreamMessage
from event_store.gateways.merged import without
from event_store.gateways.tables import batches
from event_store.main import MIGRATIONS
from milepost.event.v1.event_pb2 import EventKind
from milepost.event.v1.record_pb2 import EventBatch
from runtime.database import open_database
from session_log.codec import BatchHeaders, LogMessage

NOW = datetime(2026, 3, 4, 5, 6, 7, 123457, tzinfo=UTC)
INTERVAL, LINE = EventKind.EVENT_KIND_INTERVAL_CLOSED, EventKind.EVENT_KIND_LOG_LINE
LOGS, MESSAGES = 3, 60


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    async with open_database(url_of(tmp_path / "events.db"), migrations=MIGRATIONS) as opened:
        yield opened


def interleaved(seed: int) -> list[StreamMessage]:
    """Messages of several logs and attempts, of some events each."""
    chance, heads, messages = random.Random(seed), [0] * LOGS, []
    for stream_seq in range(1, MESSAGES + 1):
        log, count = chance.randrange(LOGS), chance.randrange(1, 5)
        records = [chance.choice([interval(n), *lines(str(n))]) for n in range(count)]
        headers = BatchHeaders(heads[log] + 1, 1, 1 + stream_seq // 25, "", NOW)
        heads[log] += count
        messages.append(
            StreamMessage("t", f"s{log}", stream_seq, LogMessage(stream_seq, headers, EventBatch(records=records)))
        )
    return messages


async def store_all(engine: AsyncEngine, messages: list[StreamMessage], seed: int) -> None:
    """In transactions of any size."""
    appends, chance = EventAppends(engine, asyncio.Lock()), random.Random(seed)
    place, rest = await appends.place("epoch"), messages
    while rest:
        some, rest = rest[: (cut := chance.randrange(1, 20))], rest[cut:]
        written = await appends.append(some, place=place, stored=NOW)
        assert not written.broken
        place = written.place


def expected(messages: list[StreamMessage], kinds: frozenset[int]) -> list[tuple[int, str, int, bytes]]:
    return [
        (item.stream_seq, item.session_id, item.message.headers.first_seq + n, record.payload)
        for item in messages
        if item.message
        for n, record in enumerate(item.message.batch.records)
        if not kinds or record.kind in kinds
    ]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kinds", [frozenset(), frozenset({INTERVAL})])
async def test_the_stream_is_read_in_its_order_from_any_position(
    engine: AsyncEngine, seed: int, kinds: frozenset[int]
) -> None:
    messages = interleaved(seed)
    await store_all(engine, messages, seed)
    rows = EventRows(engine)
    assert await rows.count() == len(expected(messages, frozenset()))
    for after, limit in ((0, 1), (0, 1000), (7, 3), (MESSAGES // 2, 10), (MESSAGES, 5)):
        found, position, complete = [], after, False
        while not complete:
            stretch = await rows.read_all(
                after_stream_seq=position, limit=limit, limit_bytes=10**6, kinds=kinds, tenant="t"
            )
            assert stretch is not None
            found += [
                (stored.row.stream_seq, stored.key[1], stored.row.seq, stored.row.payload) for stored in stretch.rows
            ]
            assert stretch.complete or stretch.place.stream_seq > position
            position, complete = stretch.place.stream_seq, stretch.complete
        assert found == [event for event in expected(messages, kinds) if event[0] > after]
    other = await rows.read_all(after_stream_seq=0, limit=10, limit_bytes=10**6, kinds=(), tenant="other")
    assert other is not None
    assert (other.rows, other.complete) == ([], True)


async def test_events_that_are_cut_out_are_gone_and_the_others_stay_as_they_were(engine: AsyncEngine) -> None:
    messages = interleaved(1)
    await store_all(engine, messages, 1)
    async with engine.begin() as connection:
        for batch in (await connection.execute(sa.select(batches))).all():
            mine = (batches.c.log_key == batch.log_key, batches.c.last_seq == batch.last_seq)
            left = without(batch, lambda row: row.kind == INTERVAL)
            await connection.execute(sa.update(batches).where(*mine).values(left))
    rows = EventRows(engine)
    stretch = await rows.read_all(after_stream_seq=0, limit=1000, limit_bytes=10**6, kinds=(), tenant="t")
    assert stretch is not None
    found = [(stored.row.stream_seq, stored.key[1], stored.row.seq, stored.row.payload) for stored in stretch.rows]
    assert found == expected(messages, frozenset({LINE}))
    assert await rows.count() == len(found)


async def test_the_first_release_s_rows_are_carried_over(tmp_path: Path) -> None:
    url, messages = url_of(tmp_path / "old.db"), interleaved(2)

    def first_release(connection: sa.Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        tables = sa.MetaData()
        tables.reflect(connection)
        for log in range(LOGS):
            head = {"oldest_seq": 1, "head_seq": 1, "head_kind": 1, "head_stream_seq": 1, "head_stored_us": 1}
            row = {"log_key": log + 1, "tenant": "t", "session_id": f"s{log}", "purged_stream_seq": 0, **head}
            connection.execute(sa.insert(tables.tables["logs"]).values(row))
        connection.execute(sa.insert(tables.tables["position"]).values(one=1, epoch="e", stream_seq=MESSAGES))
        for item in messages:
            assert item.message is not None
            for n, record in enumerate(item.message.batch.records):
                event = {
                    "log_key": int(item.session_id[1:]) + 1,
                    "seq": item.message.headers.first_seq + n,
                    "kind": record.kind,
                    "run": 1,
                    "attempt": 1,
                    "step": record.step,
                    "sim_time_s": record.sim_time_s,
                    "record_us": round(NOW.timestamp() * 1_000_000),
                    "stored_us": 1,
                    "stream_seq": item.stream_seq,
                    "payload": record.payload,
                }
                connection.execute(sa.insert(tables.tables["events"]).values(event))

    engine = create_async_engine(url, connect_args=_search_path(url))
    async with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            await connection.execute(sa.text("create schema event_store"))
        await connection.run_sync(first_release)
    await engine.dispose()

    async with open_database(url, migrations=MIGRATIONS) as migrated:
        stretch = await EventRows(migrated).read_all(
            after_stream_seq=0, limit=1000, limit_bytes=10**6, kinds=(), tenant="t"
        )
    assert stretch is not None
    found = [(stored.row.stream_seq, stored.key[1], stored.row.seq, stored.row.payload) for stored in stretch.rows]
    assert found == expected(messages, frozenset())
    assert {stored.row.event.record_time.ToDatetime(UTC) for stored in stretch.rows} == {NOW}


def _search_path(url: str) -> dict[str, str]:
    return {} if url.startswith("sqlite") else {"options": "-c search_path=event_store"}
