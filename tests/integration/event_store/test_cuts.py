"""Earlier runs of ended sessions are cut: `oldest_seq` moves, and what says what the session is stays."""

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from nats.js import JetStreamContext
from running_store import Log, Store, completed, created, interval, lines, refusal, running_store
from test_garbage import clean_up

from broker import Broker
from milepost.event.v1 import event_service_pb2 as pb
from milepost.event.v1.event_pb2 import CommandApplied, CommandRequested, EventKind, Label, RunOpened, SessionCreated
from milepost.event.v1.metrics_pb2 import QueryMetricsRequest
from milepost.event.v1.record_pb2 import Record
from milepost.event.v1.session_set_pb2 import SessionSet
from session_log.codec import record

# Messages of run 1, and what is left of them.
FIRST_RUN = [[created(), *lines("a")], [interval(10), interval(20)], [interval(30), *lines("b"), completed(30)]]
LEFT = [1, 7]
OPENING = [record(CommandRequested(command_id="c")), record(RunOpened(run=2)), record(CommandApplied(command_id="c"))]


@pytest.fixture
async def store(broker: Broker, js: JetStreamContext, tmp_path: Path) -> AsyncIterator[Store]:
    async with running_store(tmp_path / "store", broker.url, cut_runs_after_s=1e-6) as running:
        yield running


async def two_runs(js: JetStreamContext, store: Store, name: str, *more: Record) -> Log:
    """A stored log: run 1 is events 1 to 7, run 2 is opened by event 9."""
    log = Log(js, name)
    for records in (*FIRST_RUN, OPENING, list(more)):
        await log.append(*records)
    await store.stored(log)
    return log


async def test_of_a_run_that_was_cut_no_interval_is_left(js: JetStreamContext, store: Store) -> None:
    log = await two_runs(js, store, "s", interval(10), interval(20), completed(20))
    whole = await store.whole_log("s")
    said = await clean_up(store, dry_run=True)
    assert (said.cut_sessions, said.cut_events) == (1, 5)
    assert await store.whole_log("s") == whole
    cleaned = await clean_up(store)
    assert (cleaned.cut_sessions, cleaned.cut_events) == (1, 5)
    page = await store.read("s", kept_only=True)
    assert [event.seq for event in page.events] == [*LEFT, *range(8, log.head + 1)]
    assert list(page.events) == [event for event in whole if event.seq in LEFT or event.seq > 7]
    assert (page.oldest_seq, page.head_seq) == (9, log.head)
    backwards = await store.read("s", order=pb.ReadOrder.READ_ORDER_DESCENDING)
    assert list(backwards.events) == list(page.events)[::-1]
    found = await store.read("s", kept_only=True, kinds=[EventKind.EVENT_KIND_INTERVAL_CLOSED])
    assert [event.step for event in found.events] == [10, 20]
    assert (await clean_up(store)).cut_sessions == 0


async def test_whoever_would_begin_before_the_cut_is_told_where_to_begin(js: JetStreamContext, store: Store) -> None:
    log = await two_runs(js, store, "s", interval(10), completed(10))
    await clean_up(store)
    for begin in (0, 7):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await store.read("s", cursor=begin)
        assert refusal(raised.value)[1:] == ("CURSOR_TOO_OLD", {"oldest_seq": "9"})
        async with store.watching("s", after=begin) as watch:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await watch.to_the_end()
            assert refusal(raised.value)[1:] == ("CURSOR_TOO_OLD", {"oldest_seq": "9"})
    async with store.watching("s", after=8) as watch:
        await watch.to_the_end()
    assert watch.seqs == list(range(9, log.head + 1))


async def test_who_follows_everything_gets_what_is_left_in_order(js: JetStreamContext, store: Store) -> None:
    log = await two_runs(js, store, "s", interval(10), completed(10))
    other = await two_runs(js, store, "other", interval(10))
    await clean_up(store)
    call = store.events.WatchAllEvents(pb.WatchAllEventsRequest())
    seqs: dict[str, list[int]] = {"s": [], "other": []}
    async for response in call:
        for stored in response.events:
            seqs[stored.event.session_id].append(stored.event.seq)
        if response.caught_up:
            break
    call.cancel()
    assert seqs == {"s": [*LEFT, *range(8, log.head + 1)], "other": list(range(1, other.head + 1))}


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("has not ended", [interval(10)]),
        ("has simulated nothing", [completed()]),
        ("goes on from the first", [record(RunOpened(run=3, base_run=1)), interval(40), completed(40)]),
    ],
)
async def test_what_somebody_stands_on_is_not_cut(
    js: JetStreamContext, store: Store, name: str, more: list[Record]
) -> None:
    await two_runs(js, store, name.replace(" ", "-"), *more)
    assert (await clean_up(store)).cut_sessions == 0


async def test_a_log_that_was_cut_is_found_by_its_labels(js: JetStreamContext, store: Store) -> None:
    labels = [Label(key="colour", value="blue")]
    for name, marks in (("s", labels), ("other", [])):
        log = Log(js, name)
        await log.append(record(SessionCreated(labels=marks)), *lines("a"))
        for records in (*FIRST_RUN[1:], OPENING, [interval(10), completed(10)]):
            await log.append(*records)
        await store.stored(log)
    assert (await clean_up(store)).cut_sessions == 2
    by_label = SessionSet(labels={"colour": "blue"})
    metrics = await store.events.QueryMetrics(QueryMetricsRequest(sessions=by_label, metrics=["arrived"]))
    assert {series.session_id for series in metrics.series} == {"s"}
    # From the beginning, and from behind what set the labels.
    for behind in (0, 3):
        after = pb.Position(stream_seq=behind)
        call = store.events.WatchAllEvents(pb.WatchAllEventsRequest(after_position=after, labels={"colour": "blue"}))
        found = set()
        async for response in call:
            found |= {stored.event.session_id for stored in response.events}
            if response.caught_up:
                break
        call.cancel()
        assert found == {"s"}
