"""Deleted sessions go for good: everything of them, and nothing else, wherever a process dies (log.md R4)."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from nats.js import JetStreamContext
from running_store import PATIENCE_S, Log, Store, as_records, completed, created, lines, refusal, running_store
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine
from test_garbage import clean_up, put, stored

from broker import Broker
from databases import url_of
from event_store.application.drop_deleted import DropDeleted
from event_store.gateways.deletions import Deletion, Deletions
from event_store.gateways.event_rows import EventRows
from event_store.gateways.keeping_tables import blob_references, deletions
from event_store.gateways.tables import logs
from event_store.main import MIGRATIONS
from milepost.event.v1 import event_service_pb2 as pb
from milepost.event.v1.event_pb2 import ArtifactStored, EventKind, SessionDeleted, SessionUndeleted
from milepost.event.v1.record_pb2 import EventBatch, Record
from milepost.session.v1.session_pb2 import Artifact
from runtime.broker import binding, subject
from runtime.database import open_database
from runtime.settings import DEFAULT_TENANT
from session_log.codec import record
from session_log.writer import LogWriter, LostRace, Place

# Before and after each of the four transactions that drop a log.
STEPS = 8
AT_ONCE = {"purge_delay_s": 0.0, "blob_lease_s": 0.0}


@pytest.fixture
async def store(broker: Broker, js: JetStreamContext, tmp_path: Path) -> AsyncIterator[Store]:
    async with running_store(tmp_path / "store", broker.url, **AT_ONCE) as running:
        yield running


def deleted(in_s: float = 0.0) -> Record:
    gone = SessionDeleted()
    gone.purge_time.FromDatetime(datetime.now(UTC) + timedelta(seconds=in_s))
    return record(gone)


async def ended(js: JetStreamContext, store: Store, name: str, *more: Record) -> Log:
    """A stored log of an ended session."""
    log = Log(js, name)
    await log.append(created(), *lines("a", "b"))
    await log.append(*lines("c"), completed())
    for item in more:
        await log.append(item)
    await store.stored(log)
    return log


async def refused(call: Any) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return refusal(raised.value)[1]


async def on_broker(js: JetStreamContext, session_id: str) -> int:
    """Messages of a log that the broker holds."""
    name = subject(EventBatch, tenant=DEFAULT_TENANT, session=session_id)
    info = await js.stream_info(binding(EventBatch).stream, subjects_filter=name)
    return (info.state.subjects or {}).get(name, 0)


async def begins(js: JetStreamContext, session_id: str) -> bool:
    """Whether a log can begin under this name."""
    writer = LogWriter(js, tenant=DEFAULT_TENANT, session_id=session_id, place=Place(), nonce="forgotten")
    try:
        await writer.append([created()], run=1, attempt=0)
    except LostRace:
        return False
    return True


async def test_a_deleted_session_is_gone_after_its_time_with_its_blobs_and_no_other(
    js: JetStreamContext, store: Store
) -> None:
    own, shared = await put(store, b"own"), await put(store, b"shared")

    def named(*blobs: str) -> list[Record]:
        return [record(ArtifactStored(artifact=Artifact(name=blob, sha256=blob))) for blob in blobs]

    gone = await ended(js, store, "gone", *named(own, shared), deleted())
    waits = await ended(js, store, "waits", deleted(in_s=3600))
    there = await ended(js, store, "there", *named(shared), deleted(), record(SessionUndeleted()))
    before = {log.session_id: await store.whole_log(log.session_id) for log in (waits, there)}
    cleaned = await clean_up(store)
    assert (cleaned.dropped_sessions, cleaned.erased_blobs) == (1, 1)
    assert await stored(store, own, shared) == {shared}
    assert await refused(store.read(gone.session_id)) == "SESSION_NOT_FOUND"
    assert await refused(store.events.GetHead(pb.GetHeadRequest(session_id="gone"))) == "SESSION_NOT_FOUND"
    async with store.watching("gone") as watch:
        assert await refused(watch.to_the_end()) == "SESSION_NOT_FOUND"
    assert {log.session_id: await store.whole_log(log.session_id) for log in (waits, there)} == before
    assert (await clean_up(store)).dropped_sessions == 0


@pytest.mark.any_database
@pytest.mark.parametrize("kinds", [[], [EventKind.EVENT_KIND_INTERVAL_CLOSED]])
async def test_who_watches_a_session_that_goes_without_having_ended_is_told(
    js: JetStreamContext, store: Store, kinds: list[EventKind.ValueType]
) -> None:
    suspended = Log(js, "s")
    await suspended.append(created(), *lines("a"), deleted())
    await store.stored(suspended)
    async with store.watching("s", kinds=kinds) as watch:
        await watch.until("caught_up")
        assert (await clean_up(store)).dropped_sessions == 1
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await watch.to_the_end()
    expected = (grpc.StatusCode.NOT_FOUND, "SESSION_DELETED", {"session_id": "s"})
    assert refusal(raised.value) == expected


async def test_the_fence_outlives_the_session_and_then_the_name_is_free(
    broker: Broker, js: JetStreamContext, tmp_path: Path
) -> None:
    async with running_store(tmp_path / "store", broker.url, **AT_ONCE) as store:
        log = await ended(js, store, "s", deleted())
        await clean_up(store)
        assert await on_broker(js, "s") == 1
        assert not await begins(js, "s")
        # A forgotten writer that knows where the log ended finds no log to go on with either.
        await log.append(*lines("too late"))
        await store.stored(await ended(js, store, "other"))
        assert await refused(store.read("s")) == "SESSION_NOT_FOUND"
    async with running_store(tmp_path / "store", broker.url, **AT_ONCE, tombstone_s=0.0) as store:
        await clean_up(store)
        assert await on_broker(js, "s") == 0
        assert await refused(store.read("s")) == "SESSION_NOT_FOUND"
        again = Log(js, "s")
        await again.append(created(), *lines("x", "y", "z"))
        await store.stored(again)
        assert as_records(await store.whole_log("s")) == again.appended
        assert (await clean_up(store)).dropped_sessions == 0
        assert as_records(await store.whole_log("s")) == again.appended


async def test_what_is_purged_and_what_is_deleted_leave_the_fence_alone(
    broker: Broker, js: JetStreamContext, tmp_path: Path
) -> None:
    """Both purge the same subjects at the same time; the last message of each stays (R4)."""
    async with running_store(tmp_path / "store", broker.url, **AT_ONCE, clean_up_s=0.01) as store:
        names = [f"s{n}" for n in range(6)]
        await asyncio.gather(*(ended(js, store, name, deleted()) for name in names[:3]))
        await asyncio.gather(*(ended(js, store, name) for name in names[3:]))
        async with asyncio.timeout(PATIENCE_S):
            while [await on_broker(js, name) for name in names] != [1] * 6:
                await asyncio.sleep(0.05)
        assert not any([await begins(js, name) for name in names])


class Died(Exception):
    """The process that cleaned up is no more."""


class Mortal(Deletions):
    """Dies before or after one of its transactions."""

    def __init__(self, engine: AsyncEngine, lives: int) -> None:
        super().__init__(engine, asyncio.Lock())
        self._lives = lives

    def _live(self) -> None:
        self._lives -= 1
        if self._lives < 0:
            raise Died

    async def _mortally(self, step: Callable[..., Any], *given: Any, **named: Any) -> Any:
        self._live()
        done = await step(*given, **named)
        self._live()
        return done

    async def hide(self, item: Deletion) -> bool:
        return await self._mortally(super().hide, item)

    async def empty(self, item: Deletion) -> int:
        return await self._mortally(super().empty, item)

    async def lift(self, item: Deletion, *, fence_stream_seq: int) -> None:
        await self._mortally(super().lift, item, fence_stream_seq=fence_stream_seq)

    async def free(self, item: Deletion) -> None:
        await self._mortally(super().free, item)


async def test_wherever_it_dies_the_next_one_ends_what_it_began(
    broker: Broker, js: JetStreamContext, tmp_path: Path
) -> None:
    """One session a life: the n-th goes an hour after the one before, and who drops it dies at its n-th step."""
    artifact = record(ArtifactStored(artifact=Artifact(name="a", sha256="1" * 64)))
    names, now = [f"s{lives}" for lives in range(STEPS)], datetime.now(UTC)
    async with running_store(tmp_path / "store", broker.url) as store:
        for hours, name in enumerate(names):
            await ended(js, store, name, artifact, deleted(in_s=3600 * hours))
        other = await ended(js, store, "other", artifact)
    begun = {}
    async with open_database(url_of(tmp_path / "store" / "events.db"), migrations=MIGRATIONS) as engine:
        for lives, name in enumerate(names):
            drop = DropDeleted(
                js,
                EventRows(engine),
                Mortal(engine, lives),
                lambda _: None,
                purge_delay=timedelta(0),
                tombstone=timedelta(0),
                clock=lambda hours=lives: now + timedelta(hours=hours, minutes=1),
            )
            with pytest.raises(Died):
                await drop()
            # Who comes while the name is free, or nearly, gets all of it or nothing.
            begun[name] = await begins(js, name)
            await replace(drop, deletions=Deletions(engine, asyncio.Lock()))()
            assert await sessions_of(engine) == sorted({"other", *names[lives + 1 :]})
        async with engine.connect() as connection:
            references = (await connection.execute(select(func.count()).select_from(blob_references))).scalar_one()
            waiting = (await connection.execute(select(func.count()).select_from(deletions))).scalar_one()
        assert (references, waiting, await EventRows(engine).count()) == (1, 0, other.head)
    assert {name: await on_broker(js, name) for name in names} == {name: int(begun[name]) for name in names}
    assert set(begun.values()) == {False, True}
    async with running_store(tmp_path / "store", broker.url) as store:
        assert as_records(await store.whole_log("other")) == other.appended
        for name in names:
            if begun[name]:
                assert as_records(await store.whole_log(name)) == [created()]
            else:
                assert await refused(store.read(name)) == "SESSION_NOT_FOUND"


async def sessions_of(engine: AsyncEngine) -> list[str]:
    """Names of the logs that the store has rows of."""
    async with engine.connect() as connection:
        return sorted((await connection.execute(select(logs.c.session_id))).scalars())
