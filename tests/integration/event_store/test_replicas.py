"""Several stores on one PostgreSQL (log.md R11, R12): one ingests, the others serve, and take over."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from nats.js import JetStreamContext
from running_store import Log, Store, StoreProcess, as_records, completed, lines, running_store
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine

from broker import Broker
from databases import SQLITE, url_of
from event_store.gateways.ingest_lease import LEASE_S, IngestLease
from event_store.main import MIGRATIONS
from runtime.database import open_database

# From the silence of the ingester to what was appended then, stored by another: the promise is "within seconds".
TAKEN_OVER_S = LEASE_S + 4


@pytest.fixture(autouse=True)
def several_processes(database: str) -> None:
    if database == SQLITE:
        pytest.skip("SQLite is for one process")


@asynccontextmanager
async def two_processes(tmp_path: Path, broker: Broker) -> AsyncIterator[tuple[StoreProcess, Store, Store]]:
    """The one that ingests, and one that came later and stands by."""
    database = url_of(tmp_path / "events.db")
    first = StoreProcess(tmp_path / "first", broker.url, database_url=database)
    async with running_store(tmp_path / "warm", broker.url, database_url=database):
        pass
    ingesting = await first.start()
    log_of_first = tmp_path / "first" / "log"
    async with asyncio.timeout(20):
        while '"ingests"' not in log_of_first.read_text():
            await asyncio.sleep(0.01)
    async with running_store(tmp_path / "second", broker.url, database_url=database) as standing_by:
        try:
            yield first, ingesting, standing_by
        finally:
            await ingesting.channel.close()
            await first.end()


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.long), signal.SIGTERM]
)
async def test_another_takes_over_within_seconds_and_nothing_is_lost(
    js: JetStreamContext, broker: Broker, tmp_path: Path, number: signal.Signals
) -> None:
    async with two_processes(tmp_path, broker) as (first, _, standing_by):
        logs = [Log(js, f"s{n}") for n in range(3)]
        stop = asyncio.Event()

        async def write(log: Log) -> None:
            while not stop.is_set():
                await log.append(*lines("a", "b"))
            await log.append(completed())

        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            for log in logs:
                tasks.create_task(write(log))
            # What one replica stores, a watcher of the other sees.
            async with standing_by.watching("s0") as watch:
                await watch.until_seq(50)
                first.send(number)
                cut = logs[0].head
                async with asyncio.timeout(TAKEN_OVER_S):
                    await watch.until_seq(cut + 50)
                stop.set()
                await watch.to_the_end()
            assert as_records(watch.events) == logs[0].appended
        for log in logs:
            async with standing_by.watching(log.session_id) as watch:
                await watch.to_the_end()
            assert watch.seqs == list(range(1, log.head + 1))
            assert as_records(watch.events) == log.appended


async def test_who_stood_still_and_comes_back_stands_by(js: JetStreamContext, broker: Broker, tmp_path: Path) -> None:
    async with two_processes(tmp_path, broker) as (first, ingesting, standing_by):
        log = Log(js, "s")
        await log.append(*lines("a"))
        await ingesting.stored(log)
        first.send(signal.SIGSTOP)
        await log.append(*lines("b"))
        await standing_by.stored(log)
        first.send(signal.SIGCONT)
        log_of_first = tmp_path / "first" / "log"
        async with asyncio.timeout(20):
            while '"stands by"' not in log_of_first.read_text():
                await log.append(*lines("c"))
        await log.append(completed())
        for store in (ingesting, standing_by):
            async with store.watching("s") as watch:
                await watch.to_the_end()
            assert as_records(watch.events) == log.appended


@pytest.fixture
async def engines(tmp_path: Path) -> AsyncIterator[list[AsyncEngine]]:
    url = url_of(tmp_path / "alone.db")
    async with (
        open_database(url, migrations=MIGRATIONS) as one,
        open_database(url, migrations=MIGRATIONS) as other,
    ):
        yield [one, other]


async def test_a_lease_is_one_process_s_until_it_is_given_back_or_over(engines: list[AsyncEngine]) -> None:
    one, other = (IngestLease(engine) for engine in engines)
    assert [await one.take(), await other.take(), await other.renew(), await one.renew()] == [True, False, False, True]
    await one.release()
    assert [await other.take(), await one.renew(), await one.take()] == [True, False, False]
    async with engines[0].begin() as connection:
        await connection.execute(text("update ingest_lease set until_us = 1"))
    assert [await other.renew(), await one.take()] == [True, False]


async def test_taking_a_lease_over_ends_what_its_holder_left_open(engines: list[AsyncEngine]) -> None:
    one, other = (IngestLease(engine) for engine in engines)
    assert await one.take()
    with pytest.raises(OperationalError):
        async with engines[0].begin() as held:
            await held.execute(text("insert into position (one, epoch, stream_seq) values (1, 'e', 1)"))
            async with engines[1].begin() as connection:
                await connection.execute(text("update ingest_lease set until_us = 1"))
            assert await other.take()
            async with asyncio.timeout(5), engines[1].begin() as connection:
                await connection.execute(text("insert into position (one, epoch, stream_seq) values (1, 'e', 2)"))


async def test_replicas_that_start_at_once_migrate_once(tmp_path: Path) -> None:
    async def opened() -> int:
        async with (
            open_database(url_of(tmp_path / "new.db"), migrations=MIGRATIONS) as engine,
            engine.connect() as found,
        ):
            return int((await found.execute(text("select count(*) from alembic_version"))).scalar_one())

    assert await asyncio.gather(*(opened() for _ in range(4))) == [1] * 4
