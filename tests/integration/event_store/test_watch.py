"""The watch contract (contracts.md): every event once and in order, however a client watches."""

import asyncio
import time
from pathlib import Path

import grpc
import pytest
from nats.js import JetStreamContext
from running_store import (
    Log,
    Store,
    Watch,
    as_records,
    completed,
    ingestion_held_up,
    interval,
    lines,
    metric,
    refusal,
    reopened,
    running_store,
)

from broker import Broker
from milepost.event.v1 import event_service_pb2 as pb
from milepost.event.v1.event_pb2 import EventKind

pytestmark = pytest.mark.any_database

MIB = 1024 * 1024
INTERVALS = EventKind.EVENT_KIND_INTERVAL_CLOSED
DISCONNECT = pb.SLOW_WATCHER_POLICY_DISCONNECT
# More than what lies between a server and a client that does not read.
LARGE = "x" * 4000
# More than a live watcher may be behind.
MANY = 1500


async def fill(log: Log, events: int, text: str = "") -> None:
    """Large messages, as a worker sends them."""
    for start in range(0, events, 50):
        await log.append(*lines(*([text] * min(50, events - start))))


async def test_early_late_and_broken_off_watchers_see_every_event_once_and_in_order(
    js: JetStreamContext, store: Store
) -> None:
    log = Log(js, "s")
    await log.append(*lines("first"))
    finished: list[list[int]] = []

    async def to_the_end(after: int) -> Watch:
        async with store.watching("s", after) as watch:
            await watch.to_the_end()
        return watch

    async def breaking_off(after_each: int) -> None:
        seqs: list[int] = []
        while not seqs or seqs[-1] < 601:
            async with store.watching("s", seqs[-1] if seqs else 0) as watch:
                while len(watch.seqs) < after_each and await watch.next() is not None:
                    pass
                seqs += watch.seqs
        finished.append(seqs)

    async with asyncio.TaskGroup() as tasks:
        early = [tasks.create_task(to_the_end(0)) for _ in range(10)]
        broken = [tasks.create_task(breaking_off(n)) for n in (1, 7, 40, 200)]
        for n in range(199):
            await log.append(*lines(f"{n}"), interval(n), *lines(""))
        middle = [tasks.create_task(to_the_end(n * 50)) for n in range(10)]
        await log.append(*lines("almost"), *lines("last"), completed())
    late = [await to_the_end(after) for after in (0, 599)]
    for watch in [task.result() for task in early] + late[:1]:
        assert as_records(watch.events) == log.appended
        assert watch.seqs == list(range(1, 602))
        assert watch.messages[-1].terminal == pb.Terminal(seq=601, kind=EventKind.EVENT_KIND_SESSION_COMPLETED)
    for n, task in enumerate(middle):
        assert task.result().seqs == list(range(n * 50 + 1, 602))
    assert late[1].seqs == [600, 601]
    assert finished == [list(range(1, 602))] * len(broken)


async def test_the_messages_of_a_watch_come_in_their_order(js: JetStreamContext, store: Store) -> None:
    log = Log(js, "s")
    await log.append(*lines("a", "b"))
    await store.stored(log)
    async with store.watching("s", 1) as watch:
        await watch.until("caught_up")
        await log.append(*lines("c"))
        await watch.until_seq(3)
        await log.append(completed())
        await watch.to_the_end()
    assert watch.kinds() == ["hello", "events", "caught_up", "events", "terminal"]
    assert watch.messages[0].hello == pb.Hello(
        session_id="s",
        from_seq=2,
        head_seq=2,
        oldest_seq=1,
        slow_policy=pb.SLOW_WATCHER_POLICY_MOVE_TO_HISTORY,
    )
    assert [message.caught_up.seq for message in watch.messages if message.HasField("caught_up")] == [2]


async def test_a_watch_that_resumes_at_the_terminal_event_ends_at_once(js: JetStreamContext, store: Store) -> None:
    log = Log(js, "s")
    await log.append(*lines("a"), completed())
    await store.stored(log)
    async with store.watching("s", 2) as watch:
        await watch.to_the_end()
    assert watch.kinds() == ["hello", "terminal"]


async def test_what_is_noted_after_the_end_is_sent_and_leaves_it_ended(js: JetStreamContext, store: Store) -> None:
    log = Log(js, "s")
    await log.append(*lines("a"), completed())
    await log.append(*lines("a fork was made"))
    await store.stored(log)
    async with store.watching("s", 0) as watch:
        await watch.to_the_end()
    assert watch.seqs == [1, 2, 3]
    assert watch.messages[-1].terminal == pb.Terminal(seq=3, kind=EventKind.EVENT_KIND_SESSION_COMPLETED)


async def test_an_end_after_which_a_new_run_was_opened_is_history(js: JetStreamContext, store: Store) -> None:
    log = Log(js, "s")
    await log.append(*lines("a"), completed(), reopened())
    await store.stored(log)
    for after in (0, 2):
        async with store.watching("s", after) as watch:
            await watch.until("caught_up")
            assert watch.kinds() == ["hello", "events", "caught_up"]
    await log.append(completed())
    async with store.watching("s", 3) as watch:
        await watch.to_the_end()
    assert watch.messages[-1].terminal.seq == 4


async def test_only_the_kinds_asked_for_come_and_the_end_comes_all_the_same(js: JetStreamContext, store: Store) -> None:
    log = Log(js, "s")
    await log.append(*lines("a"))
    async with store.watching("s", kinds=[INTERVALS]) as watch, asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(watch.to_the_end())
        for n in range(50):
            await log.append(*lines("x", "y"), interval(n))
        await log.append(*lines("z"), completed())
        await reading
    expected = [n for n, item in enumerate(log.appended, start=1) if item.kind == INTERVALS]
    assert watch.seqs == expected
    assert watch.messages[-1].terminal.seq == log.head


async def test_a_slow_watcher_delays_nobody_and_loses_nothing_or_is_disconnected_as_it_chose(
    js: JetStreamContext, store: Store
) -> None:
    log = Log(js, "s")
    await log.append(*lines("a"))
    async with (
        store.watching("s") as fast,
        store.watching("s") as slow,
        store.watching("s", slow_policy=DISCONNECT) as leaving,
    ):
        for watch in (fast, slow, leaving):
            await watch.until("caught_up")
        assert leaving.messages[0].hello.slow_policy == DISCONNECT
        stopped = time.monotonic()
        while time.monotonic() - stopped < 2.5:
            await fill(log, MANY, LARGE)
            # The fast one keeps up while the slow ones take nothing.
            await fast.until_seq(log.head)

        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await leaving.to_the_end()
        assert refusal(raised.value) == (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "WATCHER_TOO_SLOW",
            {"sent_seq": str(leaving.seqs[-1])},
        )
        assert leaving.seqs == list(range(1, leaving.seqs[-1] + 1))

        await slow.until("fell_behind")
        assert slow.messages[-1].fell_behind.seq == slow.seqs[-1]
        await slow.until("caught_up")
        await log.append(completed())
        await slow.to_the_end()
        await fast.to_the_end()
    for watch in (slow, fast):
        assert watch.seqs == list(range(1, log.head + 1))
    assert fast.kinds() == ["hello", "events", "caught_up", "events", "terminal"]
    assert slow.kinds()[-5:] == ["fell_behind", "events", "caught_up", "events", "terminal"]
    assert slow.kinds().count("fell_behind") == 1


async def test_a_burst_is_no_fault_of_a_watcher_that_reads(js: JetStreamContext, store: Store, tmp_path: Path) -> None:
    log = Log(js, "s")
    await log.append(*lines("a"))
    async with store.watching("s", slow_policy=DISCONNECT) as watch:
        await watch.until("caught_up")
        async with ingestion_held_up(tmp_path / "store"):
            await fill(log, 2 * MANY)
            await log.append(completed())
        await watch.to_the_end()
    assert watch.seqs == list(range(1, log.head + 1))
    assert "fell_behind" not in watch.kinds()


async def test_no_message_is_larger_than_a_mebibyte(js: JetStreamContext, store: Store) -> None:
    log = Log(js, "s" * 63)
    for _ in range(12):
        await log.append(*lines("x" * 200_000))
    await fill(log, 6000)
    await log.append(*lines("x" * 1_040_000))
    await log.append(completed())
    async with store.watching(log.session_id) as watch:
        await watch.to_the_end()
    assert as_records(watch.events) == log.appended
    assert max(message.ByteSize() for message in watch.messages) < MIB
    batches = [len(message.events.events) for message in watch.messages if message.HasField("events")]
    assert len(batches) < 20, "many events travel in one message"


async def test_a_watcher_that_comes_just_as_a_log_grows_takes_nothing_from_the_others(
    js: JetStreamContext, store: Store
) -> None:
    """Whoever comes reads the head; those who wait for it must hear of it as well, and not two seconds later."""
    log = Log(js, "s")
    await log.append(*lines("a"))
    await store.stored(log)
    rounds = 30
    async with store.watching("s") as waiting:
        await waiting.until("caught_up")
        async with asyncio.timeout(rounds / 3):
            for _ in range(rounds):
                await log.append(*lines("b"))
                comers = [store.events.WatchEvents(pb.WatchEventsRequest(session_id="s")) for _ in range(5)]
                await waiting.until_seq(log.head)
                for comer in comers:
                    comer.cancel()


async def test_what_is_sent_to_many_is_encoded_once(js: JetStreamContext, store: Store) -> None:
    log = Log(js, "s")
    await log.append(*lines("a"))
    await store.stored(log)
    watchers, rounds = 20, 15
    made, shared = metric("milepost_watch_chunks_made_total"), metric("milepost_watch_chunks_shared_total")
    watches = [Watch(store.events.WatchEvents(pb.WatchEventsRequest(session_id="s"))) for _ in range(watchers)]
    for _ in range(rounds):
        await asyncio.gather(*(watch.until_seq(log.head) for watch in watches))
        await log.append(*lines("b"))
    await asyncio.gather(*(watch.until_seq(log.head) for watch in watches))
    made = metric("milepost_watch_chunks_made_total") - made
    shared = metric("milepost_watch_chunks_shared_total") - shared
    assert made <= rounds + 3
    assert shared >= (watchers - 1) * rounds
    for watch in watches:
        watch.call.cancel()


async def test_a_store_that_stops_says_where_to_go_on_and_the_next_one_does(
    js: JetStreamContext, broker: Broker, tmp_path: Path
) -> None:
    log = Log(js, "s")
    await log.append(*lines("a", "b", "c"))
    async with running_store(tmp_path / "store", broker.url) as store:
        all_logs = store.events.WatchAllEvents(pb.WatchAllEventsRequest())
        async with store.watching("s", 1) as watch:
            await watch.until("caught_up")
            assert (await all_logs.read()) is not grpc.aio.EOF
            store.stop.set()
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await watch.to_the_end()
            with pytest.raises(grpc.aio.AioRpcError) as raised_all:
                while await all_logs.read() is not grpc.aio.EOF:
                    pass
    assert refusal(raised.value)[:2] == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
    assert refusal(raised_all.value)[:2] == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
    resume = int(dict(raised.value.trailing_metadata() or ())["milepost-resume-seq"])
    await log.append(*lines("d"), completed())
    async with running_store(tmp_path / "store", broker.url) as store, store.watching("s", resume) as rest:
        await rest.to_the_end()
    assert watch.seqs + rest.seqs == [2, 3, 4, 5]
