"""A database that is killed, stands still, refuses or is full: what is appended waits on the broker, nothing is lost.

Reads say UNAVAILABLE and when to come again; heartbeats say how far the store is behind; nobody has to do anything.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import grpc
import pytest
from nats.js import JetStreamContext
from running_store import Log, Store, as_records, completed, lines, refusal, running_store

from broker import Broker
from databases import SQLITE, Postgres, may_mount, small_disk
from milepost.event.v1 import event_service_pb2 as pb
from milepost.event.v1.event_pb2 import Event

Fault = Callable[[Postgres], Iterator[None]]


@contextmanager
def killed(server: Postgres) -> Iterator[None]:
    server.kill()
    yield
    server.launch()


@contextmanager
def standing_still(server: Postgres) -> Iterator[None]:
    server.pause()
    yield
    server.go_on()


@contextmanager
def refusing_connections(server: Postgres) -> Iterator[None]:
    server.execute("alter database milepost with allow_connections false")
    server.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = 'milepost'")
    yield
    server.execute("alter database milepost with allow_connections true")


@pytest.fixture
def server(database: str) -> Iterator[Postgres]:
    if database == SQLITE:
        pytest.skip("of a file nothing of this is to be feared but a full disk")
    server = Postgres(database).start()
    server.execute("create database milepost")
    yield server
    server.remove()


@asynccontextmanager
async def appending(js: JetStreamContext, count: int = 4) -> AsyncIterator[list[Log]]:
    """Logs that grow until the body ends, and then end themselves."""
    logs, stop = [Log(js, f"s{n}") for n in range(count)], asyncio.Event()

    async def write(log: Log) -> None:
        while not stop.is_set():
            await log.append(*lines("a", "b" * 100))
        await log.append(completed())

    async with asyncio.TaskGroup() as tasks:
        for log in logs:
            tasks.create_task(write(log))
        yield logs
        stop.set()


async def all_is_there(store: Store, logs: list[Log]) -> None:
    for log in logs:
        watched = await watched_to_the_end(store, log)
        assert [event.seq for event in watched] == list(range(1, log.head + 1))
        assert as_records(watched) == log.appended


async def watched_to_the_end(store: Store, log: Log) -> list[Event]:
    """As a client watches: again by its cursor when the store is unavailable."""
    events: list[Event] = []
    while True:
        async with store.watching(log.session_id, after=len(events)) as watch:
            try:
                await watch.to_the_end()
            except grpc.aio.AioRpcError as error:
                if error.code() != grpc.StatusCode.UNAVAILABLE:
                    raise
                events += watch.events
                await asyncio.sleep(0.1)
            else:
                return events + watch.events


async def refused(call: Awaitable[object]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    assert b"retry" in dict(raised.value.trailing_metadata() or ())["grpc-status-details-bin"].lower()
    return refusal(raised.value)[:2]


@pytest.mark.parametrize(
    "fault",
    [
        killed,
        pytest.param(standing_still, marks=pytest.mark.long),
        pytest.param(refusing_connections, marks=pytest.mark.long),
    ],
)
async def test_the_database_is_away_for_a_while_and_nothing_is_lost(
    js: JetStreamContext, broker: Broker, server: Postgres, tmp_path: Path, fault: Fault
) -> None:
    url = server.url("milepost")
    async with asyncio.timeout(90), running_store(tmp_path / "store", broker.url, database_url=url) as store:
        async with appending(js) as logs, store.watching("s0") as watch:
            await watch.until_seq(20)
            with fault(server):
                head, away = logs[0].head, (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
                get_head = store.events.GetHead(pb.GetHeadRequest(session_id="s0"))
                assert await asyncio.gather(refused(store.read("s0")), refused(get_head)) == [away] * 2
                async with asyncio.timeout(20):
                    while logs[0].head < head + 20:
                        await asyncio.sleep(0.01)
        await all_is_there(store, logs)


async def test_a_heartbeat_says_how_far_behind_the_store_is_while_its_database_is_away(
    js: JetStreamContext, broker: Broker, server: Postgres, tmp_path: Path
) -> None:
    url = server.url("milepost")
    async with running_store(tmp_path / "store", broker.url, database_url=url) as store:
        log = Log(js, "s")
        await log.append(*lines("a"))
        async with store.watching("s") as watch:
            await watch.until("heartbeat")
            with killed(server):
                await log.append(*lines("b"))
                async with asyncio.timeout(20):
                    while (await watch.until("heartbeat")).heartbeat.ingest_lag.ToMilliseconds() < 1000:
                        pass
            await watch.until_seq(2)


@pytest.mark.long
async def test_a_full_disk_is_waited_for(
    js: JetStreamContext, broker: Broker, server: Postgres, tmp_path: Path
) -> None:
    if not may_mount():
        pytest.skip("mounting is not permitted")
    with small_disk(server, "milepost", megabytes=1) as disk:
        url = server.url("milepost")
        async with running_store(tmp_path / "store", broker.url, database_url=url) as store:
            async with asyncio.timeout(60), appending(js) as logs:
                while "No space left" not in server.log:
                    await asyncio.sleep(0.01)
                # What is stored is served meanwhile.
                assert (await store.read("s0")).events
                disk.grow(megabytes=200)
            await all_is_there(store, logs)


async def test_a_store_that_starts_before_its_database_waits_for_it(
    js: JetStreamContext, broker: Broker, server: Postgres, tmp_path: Path
) -> None:
    server.stop()
    starting = asyncio.get_running_loop().call_later(0.5, server.launch)
    url = server.url("milepost")
    async with running_store(tmp_path / "store", broker.url, database_url=url) as store:
        log = Log(js, "s")
        await log.append(*lines("a"))
        await store.stored(log)
    assert not starting.cancelled()
