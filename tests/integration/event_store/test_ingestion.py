"""Ingestion (log.md R11): order, one transaction, the fence, messages that break their log, other streams."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from nats.js import JetStreamContext
from running_store import Log, Store, as_records, completed, lines, metric, running_store
from sqlalchemy import update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from broker import Broker
from databases import url_of
from event_store.application.ingest import EpochChanged, Ingest
from event_store.application.purge import Purge
from event_store.gateways.event_appends import EventAppends, NotTheIngester
from event_store.gateways.event_rows import EventRows
from event_store.gateways.log_stream import StreamMessage
from event_store.gateways.tables import position
from event_store.main import MIGRATIONS
from milepost.event.v1.record_pb2 import EventBatch, Record
from runtime.broker import connect, ensure_streams, jetstream
from runtime.database import open_database
from runtime.process import cancel
from runtime.settings import DEFAULT_TENANT
from session_log.codec import BatchHeaders, LogMessage, events
from session_log.writer import Place

BROKEN = "milepost_broken_messages_total"


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    async with open_database(url_of(tmp_path / "alone.db"), migrations=MIGRATIONS) as opened:
        yield opened


def stream_message(stream_seq: int, first_seq: int, *records: Record) -> StreamMessage:
    headers = BatchHeaders(first_seq, 1, 1, "nonce", datetime.now(UTC))
    return StreamMessage("t", "s", stream_seq, LogMessage(stream_seq, headers, EventBatch(records=records)))


async def rows_of(engine: AsyncEngine) -> list[tuple[int, str]]:
    rows = EventRows(engine)
    head = await rows.head("t", "s")
    assert head is not None
    page = await rows.read(head.log_key, after=0, upto=head.head_seq, limit=1000, limit_bytes=10**9)
    return [(row.seq, row.payload.decode("ascii", "replace")[2:]) for row in page.rows]


async def test_what_was_appended_is_stored_in_order_and_byte_for_byte(js: JetStreamContext, store: Store) -> None:
    logs = [Log(js, f"s{n}") for n in range(3)]
    for n in range(20):
        for log in logs:
            await log.append(*lines(f"{log.session_id} {n}", "x" * n))
    for log in logs:
        await store.stored(log)
        stored = await store.whole_log(log.session_id)
        assert [event.seq for event in stored] == list(range(1, 41))
        assert as_records(stored) == log.appended


async def test_an_event_from_the_store_is_the_event_from_the_broker(js: JetStreamContext, store: Store) -> None:
    headers = BatchHeaders(1, 3, 7, "nonce", datetime(2026, 3, 4, 5, 6, 7, 123457, tzinfo=UTC))
    batch = EventBatch(records=[*lines("a"), Record(kind=20, step=5, sim_time_s=0.1, payload=b"")])
    await js.publish("milepost.log.default.s", batch.SerializeToString(), headers=headers.encode())
    async with store.watching("s") as watch:
        await watch.until_seq(2)
    assert watch.events == list(events("s", LogMessage(1, headers, batch)))
    assert (await store.read("s")).events == watch.events


async def test_a_batch_is_written_whole_or_not_at_all_and_with_its_position(engine: AsyncEngine) -> None:
    appends, rows = EventAppends(engine, asyncio.Lock()), EventRows(engine)
    place = await appends.place("epoch")
    # A number the database cannot hold: the statement fails after the fence and the heads were touched.
    impossible = stream_message(2, 2, Record(kind=20, step=1, payload=b"")), stream_message(2**70, 3, *lines("c"))
    with pytest.raises((SQLAlchemyError, OverflowError)):
        await appends.append([stream_message(1, 1, *lines("a")), *impossible], place=place, stored=datetime.now(UTC))
    assert (await rows.count(), await rows.place(), await rows.head("t", "s")) == (0, place, None)
    await appends.append([stream_message(1, 1, *lines("a"))], place=place, stored=datetime.now(UTC))
    with pytest.raises(NotTheIngester):
        await appends.append([stream_message(2, 2, *lines("b"))], place=place, stored=datetime.now(UTC))
    assert await rows_of(engine) == [(1, "a")]


async def test_of_two_ingesters_one_stops_and_what_is_stored_is_right(
    broker: Broker, js: JetStreamContext, engine: AsyncEngine
) -> None:
    clients = [await connect(broker.url, name=f"ingester-{n}") for n in range(2)]
    tasks = [
        asyncio.create_task(Ingest(client, EventAppends(engine, asyncio.Lock()), lambda _: None)())
        for client in clients
    ]
    log = Log(js, "s")
    try:
        async with asyncio.timeout(20):
            while not any(task.done() for task in tasks):
                await log.append(*lines("a"))
            stopped = [task for task in tasks if task.done()]
            assert [type(task.exception()) for task in stopped] == [NotTheIngester]
            await log.append(completed())
            rows = EventRows(engine)
            while (head := await rows.head(DEFAULT_TENANT, "s")) is None or head.head_seq < log.head:
                await asyncio.sleep(0.01)
        assert await rows.count() == log.head
    finally:
        await cancel(*tasks)
        for client in clients:
            await client.close()


async def test_a_gap_is_left_out_loudly_and_the_others_go_on(js: JetStreamContext, store: Store) -> None:
    before = metric(BROKEN)
    log, other = Log(js, "s"), Log(js, "other")
    await log.append(*lines("a", "b"))
    place = log.writer.place
    log.writer.place = Place(place.stream_seq, seq=5)
    with capture_logs() as logged:
        await log.writer.append(lines("after a gap"), run=1, attempt=1)
        await other.append(*lines("x"))
        await store.stored(other)
    assert metric(BROKEN) == before + 1
    broken = [entry for entry in logged if "breaks its log" in entry["event"]]
    assert [(entry["session"], entry["expected_seq"], entry["first_seq"]) for entry in broken] == [("s", 3, 6)]
    assert [event.log_line.text for event in await store.whole_log("s")] == ["a", "b"]


@pytest.mark.parametrize("batch_messages", [1, 5])
async def test_an_overlap_is_taken_when_equal_and_left_out_when_not(engine: AsyncEngine, batch_messages: int) -> None:
    appends = EventAppends(engine, asyncio.Lock())
    place = await appends.place("epoch")
    messages = [
        stream_message(1, 1, *lines("a", "b", "c")),
        stream_message(2, 2, *lines("b", "c", "d")),
        stream_message(3, 3, *lines("c", "D", "e")),
        stream_message(4, 5, *lines("e")),
        stream_message(5, 4, *lines("d", "e")),
    ]
    broken = []
    for start in range(0, len(messages), batch_messages):
        some = messages[start : start + batch_messages]
        written = await appends.append(some, place=place, stored=datetime.now(UTC))
        place, broken = written.place, broken + written.broken
    assert await rows_of(engine) == [(1, "a"), (2, "b"), (3, "c"), (4, "d"), (5, "e")]
    assert [failure.first_seq for failure in broken] == [4]


async def test_an_overlap_in_the_simulated_time_alone_is_unequal(engine: AsyncEngine) -> None:
    appends = EventAppends(engine, asyncio.Lock())
    records = [Record(kind=20, step=1, sim_time_s=time, payload=b"") for time in (0.1, 0.2)]
    written = await appends.append(
        [stream_message(n, 1, record) for n, record in enumerate(records, start=1)],
        place=await appends.place("epoch"),
        stored=datetime.now(UTC),
    )
    assert (written.events, len(written.broken)) == (1, 1)


async def test_a_log_that_ended_still_has_ended_after_its_last_message_came_twice(engine: AsyncEngine) -> None:
    appends = EventAppends(engine, asyncio.Lock())
    place = await appends.place("epoch")
    for n in (1, 2):
        message = stream_message(n, 1, completed())
        place = (await appends.append([message], place=place, stored=datetime.now(UTC))).place
    head = await EventRows(engine).head("t", "s")
    assert head is not None
    assert (head.terminal, head.head_seq, head.stream_seq) == (True, 1, 2)


async def test_messages_that_are_no_batches_stop_nobody(js: JetStreamContext, store: Store) -> None:
    before = metric(BROKEN)
    headers = BatchHeaders(1, 1, 1, "nonce", datetime.now(UTC)).encode()
    empty, from_nowhere = EventBatch().SerializeToString(), {**headers, "Milepost-First-Seq": "0"}
    await js.publish("milepost.log.default.no-headers", b"")
    await js.publish("milepost.log.default.garbage", b"\xff\xff\xff", headers=headers)
    await js.publish("milepost.log.default.empty", empty, headers=headers)
    await js.publish(
        "milepost.log.default.nowhere", EventBatch(records=lines("a")).SerializeToString(), headers=from_nowhere
    )
    await js.publish("milepost.log.too.many.tokens", b"", headers=headers)
    await js.publish("milepost.log.few", b"", headers=headers)
    log = Log(js, "s")
    await log.append(*lines("a"))
    await store.stored(log)
    assert metric(BROKEN) == before + 6


async def test_a_backlog_of_many_and_of_large_messages_is_read_without_beginning_again(
    broker: Broker, js: JetStreamContext, tmp_path: Path
) -> None:
    small, large = Log(js, "small"), Log(js, "large")
    for n in range(1100):
        await small.append(*lines(str(n)))
    for _ in range(80):
        await large.append(*lines("x" * 250_000))
    with capture_logs() as logged:
        async with running_store(tmp_path / "store", broker.url) as store:
            async with store.watching("large", after=79) as watch:
                await watch.until_seq(80)
            assert (await store.read("small", page_size=1)).head_seq == 1100
    assert [entry for entry in logged if "again" in entry["event"]] == []


async def test_another_stream_is_not_ingested_and_what_is_stored_is_still_served(
    broker: Broker, tmp_path: Path
) -> None:
    client = await connect(broker.url, name="test", appends=True)
    await ensure_streams(jetstream(client))
    log = Log(jetstream(client), "s")
    await log.append(*lines("a"), completed())
    async with running_store(tmp_path / "store", broker.url) as store:
        await store.stored(log)
    await jetstream(client).delete_stream("SESSIONS")
    await ensure_streams(jetstream(client))
    other = Log(jetstream(client), "s")
    for text in "xyz":
        await other.append(*lines(text))
    async with running_store(tmp_path / "store", broker.url) as store:
        health = health_pb2_grpc.HealthStub(store.channel)
        request = health_pb2.HealthCheckRequest(service="milepost.event.v1.EventService")
        async for answer in health.Watch(request):
            if answer.status == health_pb2.HealthCheckResponse.NOT_SERVING:
                break
        assert as_records(await store.whole_log("s")) == log.appended
    async with open_database(url_of(tmp_path / "store" / "events.db"), migrations=MIGRATIONS) as found:
        purge = Purge(jetstream(client), EventRows(found), EventAppends(found, asyncio.Lock()), delay_s=0)
        assert await purge.once() == 0
    state = (await jetstream(client).stream_info("SESSIONS")).state
    assert state.messages == 3, "numbers of one stream must not purge another"
    await client.close()


async def test_a_stream_that_lost_its_end_is_not_ingested(
    broker: Broker, js: JetStreamContext, engine: AsyncEngine, tmp_path: Path
) -> None:
    """What would come next has numbers that are stored already: it would be skipped without a word."""
    client = await connect(broker.url, name="ingester")
    ingest = Ingest(client, EventAppends(engine, asyncio.Lock()), lambda _: None)
    log = Log(js, "s")
    await log.append(*lines("a"))
    task = asyncio.create_task(ingest())
    rows = EventRows(engine)
    async with asyncio.timeout(20):
        while await rows.count() == 0:
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait({task})
    async with engine.begin() as connection:
        await connection.execute(update(position).values(stream_seq=100))
    with pytest.raises(EpochChanged):
        await asyncio.wait_for(ingest(), 20)
    await client.close()


async def test_killing_the_broker_in_the_middle_loses_and_doubles_nothing(
    js: JetStreamContext, broker: Broker, store: Store
) -> None:
    logs = [Log(js, f"s{n}") for n in range(3)]

    async def write(log: Log) -> None:
        for n in range(150):
            await log.append(*lines(f"{n}", "x"))
        await log.append(completed())

    async def kill() -> None:
        for part in (60, 180):
            async with store.watching("s0") as watch:
                await watch.until_seq(part)
            await broker.restart()

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(kill())
        for log in logs:
            tasks.create_task(write(log))
    for log in logs:
        async with store.watching(log.session_id) as watch:
            await watch.to_the_end()
        assert watch.seqs == list(range(1, 302))
        assert as_records(watch.events) == log.appended


async def test_a_database_of_an_earlier_start_is_opened_again(
    js: JetStreamContext, broker: Broker, tmp_path: Path
) -> None:
    log = Log(js, "s")
    for text in "abc":
        await log.append(*lines(text))
        async with running_store(tmp_path / "store", broker.url) as store:
            await store.stored(log)
            assert as_records(await store.whole_log("s")) == log.appended
            head = await store.read("s", page_size=1)
            assert head.head_seq == log.head
