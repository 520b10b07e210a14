"""ReadEvents from either end, in pages; GetHead."""

import grpc
import pytest
import pytest_asyncio
from nats.js import JetStreamContext
from running_store import Log, Store, as_records, completed, interval, lines, refusal, reopened

from milepost.event.v1 import event_service_pb2 as pb
from milepost.event.v1.event_pb2 import Event, EventKind

DESCENDING = pb.READ_ORDER_DESCENDING
INTERVALS = EventKind.EVENT_KIND_INTERVAL_CLOSED
PAYLOAD_BYTES = 200_000

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def js(one_store: tuple[JetStreamContext, Store]) -> JetStreamContext:
    return one_store[0]


@pytest.fixture
def store(one_store: tuple[JetStreamContext, Store]) -> Store:
    return one_store[1]


async def a_log(js: JetStreamContext, store: Store, session_id: str) -> Log:
    """25 events: a line, then an interval, and so on."""
    log = Log(js, session_id)
    for n in range(12):
        await log.append(*lines(f"{n}"), interval(n))
    await log.append(completed(12))
    await store.stored(log)
    return log


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def log(one_store: tuple[JetStreamContext, Store]) -> Log:
    """For all tests, none of which changes it."""
    return await a_log(*one_store, "s")


async def pages(store: Store, session_id: str = "s", **fields: object) -> list[list[Event]]:
    found: list[list[Event]] = []
    cursor = 0
    while True:
        page = await store.read(session_id, cursor=cursor, **fields)
        found.append(list(page.events))
        if not (cursor := page.next_cursor):
            return found


@pytest.mark.parametrize("page_size", [1, 5, 7, 25, 26])
@pytest.mark.parametrize("order", [pb.READ_ORDER_ASCENDING, DESCENDING])
async def test_pages_are_the_log_once_from_either_end(store: Store, log: Log, order: int, page_size: int) -> None:
    found = await pages(store, page_size=page_size, order=order)
    seqs = [event.seq for page in found for event in page]
    assert seqs == (list(range(25, 0, -1)) if order == DESCENDING else list(range(1, 26)))
    assert [len(page) for page in found[:-1]] == [page_size] * (len(found) - 1)
    assert found[-1]
    ordered = sorted((event for page in found for event in page), key=lambda event: event.seq)
    assert as_records(ordered) == log.appended


@pytest.mark.parametrize("order", [pb.READ_ORDER_UNSPECIFIED, DESCENDING])
async def test_only_the_kinds_asked_for(store: Store, log: Log, order: int) -> None:
    found = await pages(store, page_size=5, order=order, kinds=[INTERVALS])
    expected = list(range(2, 26, 2))
    assert [event.seq for page in found for event in page] == (expected[::-1] if order == DESCENDING else expected)
    assert [len(page) for page in found] == [5, 5, 2]


async def test_a_page_tells_where_the_log_begins_and_ends(store: Store, log: Log) -> None:
    for cursor, order in ((0, 0), (25, 0), (1, DESCENDING)):
        page = await store.read("s", cursor=cursor, order=order, page_size=1)
        assert (page.head_seq, page.oldest_seq) == (25, 1)
    head = await store.events.GetHead(pb.GetHeadRequest(session_id="s"))
    # Measured once a second: not yet, or none.
    head.ClearField("ingest_lag")
    assert head == pb.GetHeadResponse(
        head_seq=25,
        oldest_seq=1,
        stream_seq=log.writer.place.stream_seq,
        head_kind=EventKind.EVENT_KIND_SESSION_COMPLETED,
    )


async def test_beyond_either_end_there_is_an_empty_last_page(store: Store, log: Log) -> None:
    for cursor, order in ((25, pb.READ_ORDER_ASCENDING), (1, DESCENDING)):
        page = await store.read("s", cursor=cursor, order=order)
        assert (list(page.events), page.next_cursor) == ([], 0)


async def test_a_page_is_cut_before_a_mebibyte(js: JetStreamContext, store: Store) -> None:
    log = Log(js, "large")
    for _ in range(8):
        await log.append(*lines("x" * PAYLOAD_BYTES))
    await store.stored(log)
    for order in (pb.READ_ORDER_ASCENDING, DESCENDING):
        found = await pages(store, "large", order=order)
        assert [len(page) for page in found] == [2, 2, 2, 2]


@pytest.mark.parametrize(
    ("fields", "named"),
    [({"session_id": ""}, "session_id"), ({"cursor": -1}, "cursor"), ({"page_size": 5001}, "page_size")],
)
async def test_a_wrong_field_is_named(store: Store, fields: dict[str, object], named: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await store.events.ReadEvents(pb.ReadEventsRequest(**{"session_id": "s", **fields}))
    assert refusal(raised.value)[:2] == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
    assert named in (raised.value.details() or "")


async def test_only_the_run_and_the_times_asked_for(js: JetStreamContext, store: Store) -> None:
    log = await a_log(js, store, "again")
    again = [reopened(), interval(5), interval(6)]
    await log.writer.append(again, run=2, attempt=2)
    # A cursor ahead of what is stored waits for it.
    await store.read("again", cursor=28)
    for order in (pb.READ_ORDER_ASCENDING, DESCENDING):
        found = [event for page in await pages(store, "again", page_size=4, order=order, run=2) for event in page]
        assert sorted(event.seq for event in found) == [26, 27, 28]
        found = [
            event
            for page in await pages(store, "again", page_size=4, order=order, begin_time_s=0.4, end_time_s=0.6)
            for event in page
        ]
        assert sorted((event.run, event.step) for event in found) == [(1, 5), (1, 6), (2, 5), (2, 6)]
