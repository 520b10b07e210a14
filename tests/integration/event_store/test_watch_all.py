"""WatchAllEvents: everything once, in the order in which it was stored (log.md R17)."""

import asyncio
from typing import Any

import grpc
import pytest
from nats.js import JetStreamContext
from running_store import PATIENCE_S, Log, Store, completed, interval, lines, refusal

from milepost.event.v1 import event_service_pb2 as pb
from milepost.event.v1.event_pb2 import EventKind

LINES = EventKind.EVENT_KIND_LOG_LINE
Place = tuple[int, str, int]


async def all_after(store: Store, position: pb.Position | None, **fields: Any) -> list[pb.WatchAllEventsResponse]:
    """Responses up to the first that has caught up."""
    call = store.events.WatchAllEvents(pb.WatchAllEventsRequest(after_position=position, **fields))
    responses = []
    async with asyncio.timeout(PATIENCE_S):
        async for response in call:
            responses.append(response)
            if response.caught_up:
                break
    call.cancel()
    return responses


def places(responses: list[pb.WatchAllEventsResponse]) -> list[Place]:
    return [
        (stored.stream_seq, stored.event.session_id, stored.event.seq)
        for response in responses
        for stored in response.events
    ]


async def interleaved(js: JetStreamContext, store: Store) -> list[Place]:
    """Three logs, messages of one to three events; where each event is stored."""
    logs = [Log(js, f"s{n}") for n in range(3)]
    expected: list[Place] = []
    for n in range(30):
        log = logs[n % 3]
        first = log.head + 1
        await log.append(*[interval(n), *lines("a", "b")][: n % 3 + 1])
        expected += [(n + 1, log.session_id, seq) for seq in range(first, log.head + 1)]
    for log in logs:
        await store.stored(log)
    return expected


async def test_everything_comes_once_in_stored_order_from_wherever_it_is_resumed(
    js: JetStreamContext, store: Store
) -> None:
    expected = await interleaved(js, store)
    responses = await all_after(store, None)
    assert places(responses) == expected
    reached = responses[-1].position
    assert reached.stream_seq == 30
    for stream_seq in range(31):
        rest = await all_after(store, pb.Position(epoch=reached.epoch, stream_seq=stream_seq))
        assert places(rest) == [place for place in expected if place[0] > stream_seq]


async def test_only_the_kinds_asked_for_and_the_position_goes_on_all_the_same(
    js: JetStreamContext, store: Store
) -> None:
    expected = await interleaved(js, store)
    responses = await all_after(store, None, kinds=[LINES])
    found = places(responses)
    assert 0 < len(found) < len(expected)
    assert [place for place in expected if place in found] == found
    assert responses[-1].position.stream_seq == 30


async def test_it_follows_what_is_stored_later(js: JetStreamContext, store: Store) -> None:
    call = store.events.WatchAllEvents(pb.WatchAllEventsRequest())
    log = Log(js, "s")
    found: list[Place] = []
    for n in range(20):
        await log.append(*lines(f"{n}"))
        async with asyncio.timeout(PATIENCE_S):
            while len(found) < log.head:
                found += places([await call.read()])
    assert found == [(n, "s", n) for n in range(1, 21)]
    call.cancel()


async def test_responses_hold_whole_messages_of_bounded_size(js: JetStreamContext, store: Store) -> None:
    log = Log(js, "s")
    for _ in range(3):
        await log.append(*lines(*["x"] * 700))
    for _ in range(8):
        await log.append(*lines("x" * 100_000, "y" * 100_000))
    await log.append(completed())
    await store.stored(log)
    responses = await all_after(store, None)
    assert [seq for _, _, seq in places(responses)] == list(range(1, log.head + 1))
    assert len(responses) > 3
    assert max(response.ByteSize() for response in responses) < 1024 * 1024
    ends = [response.events[-1].stream_seq for response in responses if response.events]
    begins = [response.events[0].stream_seq for response in responses if response.events]
    assert all(end < begin for end, begin in zip(ends, begins[1:], strict=False))
    assert [response.position.stream_seq for response in responses if response.events] == ends
    assert [response.caught_up for response in responses] == [False] * (len(responses) - 1) + [True]


async def test_while_nothing_happens_there_are_signs_of_life(store: Store) -> None:
    call = store.events.WatchAllEvents(pb.WatchAllEventsRequest())
    async with asyncio.timeout(10):
        for _ in range(2):
            assert list((await call.read()).events) == []
    call.cancel()


async def test_a_position_that_was_never_stored_here_is_refused(js: JetStreamContext, store: Store) -> None:
    log = Log(js, "s")
    await log.append(*lines("a"))
    await store.stored(log)
    epoch = (await all_after(store, None))[-1].position.epoch
    for wrong in (
        pb.Position(epoch="another", stream_seq=1),
        pb.Position(epoch=epoch, stream_seq=2),
        pb.Position(epoch=epoch, stream_seq=2**64 - 1),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await all_after(store, wrong)
        code, reason, metadata = refusal(raised.value)
        assert (code, reason) == (grpc.StatusCode.OUT_OF_RANGE, "CURSOR_BEYOND_HEAD")
        assert metadata == {"epoch": epoch, "stream_seq": "1"}
