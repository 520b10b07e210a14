"""What a watcher leaves out is its own choice: by phase, by session, by label; the place goes on all the same."""

import asyncio

import grpc
import pytest
from nats.js import JetStreamContext
from running_store import PATIENCE_S, Log, Store, completed, interval, lines, refusal

from milepost.event.v1 import event_service_pb2 as pb
from milepost.event.v1.event_pb2 import (
    EventKind,
    Label,
    PhaseEnded,
    PhaseStarted,
    RunOpened,
    SessionCreated,
    SessionUpdated,
)
from milepost.event.v1.record_pb2 import Record
from milepost.scenario.v1.scenario_pb2 import Scene
from milepost.session.v1.session_pb2 import ForkOrigin, PlannedPhase, SessionSpec
from session_log.codec import record

pytestmark = pytest.mark.any_database

INTERVALS = EventKind.EVENT_KIND_INTERVAL_CLOSED
SPEC = SessionSpec(plan=[PlannedPhase(name=name, duration_s=10) for name in ("warm", "measure", "cool")])
WARM, MEASURE, COOL = pb.PhaseSelector(name="warm"), pb.PhaseSelector(index=1), pb.PhaseSelector(name="cool")


def planned(**fields: object) -> Record:
    return record(SessionCreated(spec=SPEC, **fields))


def started(phase: int, step: int) -> Record:
    return record(PhaseStarted(phase=phase), step=step)


def ended(phase: int, step: int) -> Record:
    return record(PhaseEnded(phase=phase), step=step)


def opened(run: int, base_run: int, step: int) -> Record:
    return record(RunOpened(run=run, base_run=base_run, step=step, spec=SPEC), step=step)


async def seqs_of(
    store: Store, session_id: str, *phases: pb.PhaseSelector, after: int = 0, **fields: object
) -> list[int]:
    """Of a log that has ended."""
    async with store.watching(session_id, after, phases=phases, **fields) as watch:
        await watch.to_the_end()
    assert watch.messages[-1].HasField("terminal")
    return watch.seqs


async def test_only_the_phases_asked_for_come_in_history_and_live(js: JetStreamContext, store: Store) -> None:
    log = Log(js, "s")
    await log.append(planned(), *lines("2"))
    async with (
        store.watching("s", phases=[MEASURE]) as one,
        store.watching("s", phases=[WARM, COOL]) as two,
        store.watching("s") as everything,
    ):
        for watch in (one, two, everything):
            await watch.until("caught_up")
        await log.append(started(0, 0), interval(10))
        await log.append(interval(20), ended(0, 20), started(1, 20))
        await everything.until_seq(log.head)
        # 3 to 6 are warm, from 7 on it is measured.
        for n in range(30, 60, 10):
            await log.append(interval(n))
            await one.until_seq(log.head)
        await log.append(ended(1, 60), started(2, 60), interval(70), ended(2, 70), completed(70))
        for watch in (one, two, everything):
            await watch.to_the_end()
    assert (one.seqs, two.seqs) == ([*range(7, 12)], [*range(3, 7), *range(12, 15)])
    assert everything.seqs == list(range(1, 16))
    assert await seqs_of(store, "s", MEASURE) == one.seqs
    assert await seqs_of(store, "s", WARM, COOL) == two.seqs
    assert await seqs_of(store, "s", MEASURE, after=8) == [9, 10, 11]
    assert await seqs_of(store, "s", MEASURE, kinds=[INTERVALS]) == [8, 9, 10]
    assert await seqs_of(store, "s", COOL, after=14) == []


async def test_a_run_that_goes_on_in_the_middle_of_a_phase_is_in_it(js: JetStreamContext, store: Store) -> None:
    log = Log(js, "s")
    await log.append(planned(), started(0, 0), interval(10), ended(0, 10), started(1, 10), interval(20))
    # 7: back into the warm-up; 10: to the very step at which measuring began in the first run; 13: from the origin.
    await log.append(opened(2, 1, 5), interval(10), *lines("9"))
    await log.append(opened(3, 1, 10), interval(20), *lines("12"))
    await log.append(opened(4, 0, 0), *lines("14"), started(0, 0), interval(10), completed(10))
    await store.stored(log)
    async with store.watching("s", phases=[WARM]) as watch:
        await watch.to_the_end()
    assert watch.seqs == [2, 3, 4, 7, 8, 9, 15, 16, 17]
    assert await seqs_of(store, "s", MEASURE) == [5, 6, 10, 11, 12]


@pytest.mark.parametrize("page_size", [1, 2, 100])
@pytest.mark.parametrize("order", [pb.READ_ORDER_ASCENDING, pb.READ_ORDER_DESCENDING])
async def test_pages_hold_only_the_phases_asked_for(
    js: JetStreamContext, store: Store, order: pb.ReadOrder.ValueType, page_size: int
) -> None:
    log = Log(js, "s")
    await log.append(planned(), started(0, 0), interval(10), ended(0, 10), started(1, 10), interval(20))
    second = [opened(2, 1, 5), interval(10), *lines("9"), ended(0, 10), started(1, 10), interval(20), completed(20)]
    await log.writer.append(second, run=2, attempt=2)
    log.appended += second
    await store.stored(log)

    async def read(*phases: pb.PhaseSelector, **fields: object) -> list[int]:
        found: list[int] = []
        cursor = 0
        while True:
            asked = {"phases": phases, "page_size": page_size, "order": order, **fields}
            page = await store.read("s", cursor=cursor, **asked)
            assert len(page.events) <= page_size
            found += [event.seq for event in page.events]
            if not (cursor := page.next_cursor):
                return found if order == pb.READ_ORDER_ASCENDING else found[::-1]

    assert await read(WARM) == [2, 3, 4, 7, 8, 9, 10]
    assert await read(MEASURE) == [5, 6, 11, 12, 13]
    assert await read(MEASURE, run=2) == [11, 12, 13]
    assert await read(WARM, MEASURE, kinds=[INTERVALS]) == [3, 6, 8, 12]
    assert await read(COOL) == []
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await read(pb.PhaseSelector(name="other"))
    assert refusal(raised.value)[1] == "FIELD_INVALID"


async def test_a_fork_begins_in_the_phase_of_its_parent(js: JetStreamContext, store: Store) -> None:
    log = Log(js, "s")
    origin = ForkOrigin(session_id="parent", run=1, step=15, sim_time_s=115)
    await log.append(planned(forked_from=origin, scene=Scene(begin_time_s=100)), interval(20), ended(1, 20))
    await log.append(started(2, 20), completed(30))
    await store.stored(log)
    assert await seqs_of(store, "s", MEASURE) == [1, 2, 3]
    assert await seqs_of(store, "s", COOL) == [4, 5]
    assert await seqs_of(store, "s", WARM) == []


@pytest.mark.parametrize("unknown", [pb.PhaseSelector(name="other"), pb.PhaseSelector(index=3), pb.PhaseSelector()])
async def test_a_phase_that_is_not_in_the_plan_is_refused(
    js: JetStreamContext, store: Store, unknown: pb.PhaseSelector
) -> None:
    log = Log(js, "s")
    await log.append(planned(), completed())
    await store.stored(log)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await seqs_of(store, "s", WARM, unknown)
    assert refusal(raised.value)[:2] == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")


Seen = list[tuple[str, int]]


async def seen_of_all(store: Store, after: pb.Position | None = None, **fields: object) -> tuple[Seen, pb.Position]:
    """Session and seq of all that is stored after a place and wanted, and the place it has come to."""
    call = store.events.WatchAllEvents(pb.WatchAllEventsRequest(after_position=after, **fields))
    seen: Seen = []
    async with asyncio.timeout(PATIENCE_S):
        async for response in call:
            seen += [(stored.event.session_id, stored.event.seq) for stored in response.events]
            if response.caught_up:
                break
    call.cancel()
    return seen, response.position


def labelled(**labels: str) -> list[Label]:
    return [Label(key=key, value=value) for key, value in sorted(labels.items())]


async def labelled_logs(js: JetStreamContext, store: Store) -> None:
    """`a` is red, then blue, then red; `b` is blue; `c` has no label. Messages of the broker 1 to 9."""
    a, b, c = (Log(js, name) for name in "abc")
    await a.append(record(SessionCreated(labels=labelled(colour="red", size="1"))), interval(1))
    await b.append(record(SessionCreated(labels=labelled(colour="blue"))), interval(1))
    await c.append(record(SessionCreated()), interval(1))
    await a.append(interval(2))
    await a.append(record(SessionUpdated(labels=labelled(colour="blue"))), interval(3))
    await b.append(interval(2))
    await c.append(interval(2))
    await a.append(interval(4))
    await a.append(interval(5), record(SessionUpdated(labels=labelled(colour="red"))), interval(6))
    for log in (a, b, c):
        await store.stored(log)


async def test_a_follower_of_all_gets_the_sessions_it_names(js: JetStreamContext, store: Store) -> None:
    await labelled_logs(js, store)
    found, position = await seen_of_all(store, session_ids=["b", "later"])
    assert found == [("b", 1), ("b", 2), ("b", 3)]
    assert position.stream_seq == 9
    later = Log(js, "later")
    await later.append(*lines("first"))
    await store.stored(later)
    assert (await seen_of_all(store, position, session_ids=["b", "later"]))[0] == [("later", 1)]


async def test_a_follower_of_all_gets_what_bears_its_labels_as_they_stand(js: JetStreamContext, store: Store) -> None:
    await labelled_logs(js, store)
    blue: Seen = [("b", 1), ("b", 2), ("a", 4), ("a", 5), ("b", 3), ("a", 6), ("a", 7)]
    assert (await seen_of_all(store, labels={"colour": "blue"}))[0] == blue
    assert (await seen_of_all(store, labels={"colour": "red", "size": "1"}))[0] == [("a", 1), ("a", 2), ("a", 3)]
    assert (await seen_of_all(store, labels={"colour": "green"}))[0] == []
    intervals = [it for it in blue if it not in [("b", 1), ("a", 4)]]
    assert (await seen_of_all(store, labels={"colour": "blue"}, kinds=[INTERVALS]))[0] == intervals


async def test_wherever_a_follower_resumes_it_gets_what_it_would_have_got(js: JetStreamContext, store: Store) -> None:
    await labelled_logs(js, store)
    at = {("a", 1): 1, ("a", 3): 4, ("a", 4): 5, ("a", 6): 8, ("a", 7): 9, ("b", 1): 2, ("b", 3): 6}
    at |= {("a", 2): 1, ("a", 5): 5, ("b", 2): 2, ("a", 8): 9, ("a", 9): 9}
    for colour in ("red", "blue"):
        everything, position = await seen_of_all(store, labels={"colour": colour})
        for stream_seq in range(10):
            after = pb.Position(epoch=position.epoch, stream_seq=stream_seq)
            rest, _ = await seen_of_all(store, after, labels={"colour": colour})
            assert rest == [it for it in everything if at[it] > stream_seq]
