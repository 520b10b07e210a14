"""What is not stored yet (log.md R13), how heads are found out (R12), and the broker purged behind the store (R4)."""

import asyncio
import time
from pathlib import Path

import grpc
import pytest
from nats.js import JetStreamContext
from running_store import Log, Store, as_records, completed, ingestion_held_up, lines, refusal, running_store

from broker import Broker
from databases import url_of
from event_store.application.find_log import INGESTION_WAIT_S
from event_store.application.heads import Heads
from event_store.application.ingest import Ingest
from event_store.gateways.event_appends import Committed, EventAppends
from event_store.gateways.event_rows import EventRows
from event_store.main import MIGRATIONS
from milepost.event.v1 import event_service_pb2 as pb
from runtime.broker import connect
from runtime.database import open_database
from runtime.settings import DEFAULT_TENANT
from session_log.writer import LostRace

pytestmark = pytest.mark.any_database


async def _head_seq(store: Store, session_id: str) -> int:
    return (await store.events.GetHead(pb.GetHeadRequest(session_id=session_id))).head_seq


async def refused(call: object) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call  # type: ignore[misc]
    return refusal(raised.value)


async def refused_watch(store: Store, session_id: str, after: int) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    async with store.watching(session_id, after) as watch:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await watch.to_the_end()
        assert watch.messages == []
        return refusal(raised.value)


@pytest.mark.parametrize("session_id", ["nobody", "with.dots", "with space", ">", "*"])
async def test_a_session_nobody_knows_is_not_found(store: Store, session_id: str) -> None:
    expected = (grpc.StatusCode.NOT_FOUND, "SESSION_NOT_FOUND", {"session_id": session_id})
    assert await refused(store.read(session_id)) == expected
    assert await refused(store.events.GetHead(pb.GetHeadRequest(session_id=session_id))) == expected
    assert await refused_watch(store, session_id, 0) == expected


async def test_a_cursor_beyond_the_head_is_out_of_range(js: JetStreamContext, store: Store) -> None:
    log = Log(js, "s")
    await log.append(*lines("a", "b"))
    await store.stored(log)
    expected = (grpc.StatusCode.OUT_OF_RANGE, "CURSOR_BEYOND_HEAD", {"head_seq": "2"})
    assert await refused(store.read("s", cursor=3)) == expected
    assert await refused_watch(store, "s", 3) == expected
    assert list((await store.read("s", cursor=2)).events) == []


async def test_what_the_broker_has_is_waited_for(js: JetStreamContext, store: Store, tmp_path: Path) -> None:
    async def asked_too_early(log: Log) -> bool:
        """Whether those who asked before it was stored got it; not when the machine stood still for too long."""
        began = time.monotonic()
        async with ingestion_held_up(tmp_path / "store") as release:
            await log.append(*lines("a", "b"))
            page = asyncio.create_task(store.read(log.session_id))
            head = asyncio.create_task(_head_seq(store, log.session_id))
            done, _ = await asyncio.wait({page, head}, timeout=0.3)
            assert not done
            release()
            answers = await asyncio.gather(page, head, return_exceptions=True)
        if any(isinstance(answer, BaseException) for answer in answers):
            assert time.monotonic() - began >= INGESTION_WAIT_S, answers
            return False
        assert as_records(answers[0].events) == log.appended
        assert answers[1] == 2
        return True

    assert any([await asked_too_early(Log(js, f"s{n}")) for n in range(2)])


async def test_what_is_not_stored_in_time_is_unavailable_not_unknown(
    js: JetStreamContext, store: Store, tmp_path: Path
) -> None:
    known, new = Log(js, "known"), Log(js, "new")
    await known.append(*lines("a"))
    await store.stored(known)
    async with ingestion_held_up(tmp_path / "store"):
        await known.append(*lines("b", "c"))
        await new.append(*lines("x"))
        answers = await asyncio.gather(
            refused(store.read("new")),
            refused(store.events.GetHead(pb.GetHeadRequest(session_id="new"))),
            refused(store.read("known", cursor=3)),
            refused_watch(store, "known", 2),
            refused(store.read("known", cursor=4)),
            refused(store.read("new", cursor=2)),
        )
        not_stored = (grpc.StatusCode.UNAVAILABLE, "NOT_STORED_YET", {})
        assert answers[:4] == [not_stored] * 4
        assert answers[4] == (grpc.StatusCode.OUT_OF_RANGE, "CURSOR_BEYOND_HEAD", {"head_seq": "3"})
        assert answers[5] == (grpc.StatusCode.OUT_OF_RANGE, "CURSOR_BEYOND_HEAD", {"head_seq": "1"})
        # What is stored is served meanwhile.
        assert len((await store.read("known")).events) == 1
    async with store.watching("known", 2) as watch:
        await watch.until_seq(3)


async def test_while_the_broker_is_away_a_session_that_is_not_stored_is_unavailable(
    js: JetStreamContext, broker: Broker, store: Store
) -> None:
    log = Log(js, "s")
    await log.append(*lines("a"))
    await store.stored(log)
    broker.pause()
    answer, page = await asyncio.gather(refused(store.read("nobody")), store.read("s"))
    assert answer[:2] == (grpc.StatusCode.UNAVAILABLE, "NOT_STORED_YET")
    assert len(page.events) == 1
    broker.go_on()


async def tell_of_another(heads: Heads) -> None:
    """Notices of another log all the time: they must not keep anybody from looking around."""
    while True:
        heads.wake([Committed(DEFAULT_TENANT, "another", 1)])
        await asyncio.sleep(0.01)


async def test_a_growth_nobody_gives_notice_of_is_seen_within_a_second(
    js: JetStreamContext, broker: Broker, tmp_path: Path
) -> None:
    ingesting, watching = await connect(broker.url, name="a"), await connect(broker.url, name="b")
    log = Log(js, "s")
    async with open_database(url_of(tmp_path / "events.db"), migrations=MIGRATIONS) as engine:
        heads, kick = Heads(EventRows(engine), watching), asyncio.Event()
        # Not listening: every notice is lost.
        tasks = [
            asyncio.create_task(Ingest(ingesting, EventAppends(engine, asyncio.Lock()), lambda _: None)()),
            asyncio.create_task(heads.keep_level()),
            asyncio.create_task(tell_of_another(heads)),
        ]
        another = heads.watching((DEFAULT_TENANT, "another"), asyncio.Event())
        with heads.watching((DEFAULT_TENANT, "s"), kick) as watched, another:
            for n in range(2):
                await log.append(*lines(str(n)))
                async with asyncio.timeout(3):
                    while watched.head is None or watched.head.head_seq <= n:
                        await kick.wait()
                        kick.clear()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    await ingesting.close()
    await watching.close()


async def test_another_replica_hears_of_a_growth_before_it_looks_for_itself(
    js: JetStreamContext, broker: Broker, tmp_path: Path
) -> None:
    ingesting, watching = await connect(broker.url, name="a"), await connect(broker.url, name="b")
    log = Log(js, "s")
    rounds = 12
    async with open_database(url_of(tmp_path / "events.db"), migrations=MIGRATIONS) as engine:
        heads, kick = Heads(EventRows(engine), watching), asyncio.Event()
        await heads.listen()
        tasks = [
            asyncio.create_task(Ingest(ingesting, EventAppends(engine, asyncio.Lock()), lambda _: None)()),
            asyncio.create_task(heads.keep_level()),
        ]
        with heads.watching((DEFAULT_TENANT, "s"), kick) as watched:
            # By looking once a second alone it would take twice as long.
            async with asyncio.timeout(rounds / 2):
                for n in range(rounds):
                    await log.append(*lines(str(n)))
                    while watched.head is None or watched.head.head_seq <= n:
                        await kick.wait()
                        kick.clear()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    await ingesting.close()
    await watching.close()


async def test_logs_that_rest_are_purged_from_the_broker_but_for_the_fence(
    js: JetStreamContext, broker: Broker, tmp_path: Path
) -> None:
    ended, suspended = Log(js, "ended"), Log(js, "suspended")
    for n in range(5):
        await ended.append(*lines(f"{n}", "x"))
        await suspended.append(*lines(f"{n}"))
    await ended.append(completed())
    async with running_store(tmp_path / "store", broker.url, purge_delay_s=0) as store:
        async with asyncio.timeout(20):
            while (await js.stream_info("SESSIONS")).state.messages > 2:
                await asyncio.sleep(0.02)
        assert (await js.stream_info("SESSIONS")).state.messages == 2
        assert as_records(await store.whole_log("suspended")) == suspended.appended
        assert as_records(await store.whole_log("ended")) == ended.appended
        with pytest.raises(LostRace):
            await Log(js, "ended").append(*lines("a second beginning"))
        await ended.append(*lines("it goes on"))
        assert len((await store.read("ended", cursor=ended.head)).events) == 0
        assert as_records(await store.whole_log("ended")) == ended.appended
    # A store that begins with a purged broker has nothing to ask it for.
    async with running_store(tmp_path / "store", broker.url) as store:
        assert as_records(await store.whole_log("ended")) == ended.appended
