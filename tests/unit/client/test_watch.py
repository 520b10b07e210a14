"""Watching: one iterator over any number of broken connections."""

import asyncio
from collections.abc import AsyncIterator, Callable

import grpc
import pytest

from milepost.client import Milepost
from milepost.event.v1.event_pb2 import Event, EventKind, IntervalClosed
from milepost.event.v1.event_service_pb2 import (
    CaughtUp,
    EventList,
    Heartbeat,
    Hello,
    Position,
    Terminal,
    WatchAllEventsRequest,
    WatchAllEventsResponse,
    WatchEventsRequest,
    WatchEventsResponse,
)
from milepost.event.v1.event_service_pb2_grpc import EventServiceServicer, add_EventServiceServicer_to_server
from milepost.exceptions import LogGapError, NotFound, Unavailable

COMPLETED = EventKind.EVENT_KIND_SESSION_COMPLETED
# One connection: what it sends, then how it ends.
Script = Callable[[grpc.aio.ServicerContext], AsyncIterator[WatchEventsResponse]]


class ScriptedEvents(EventServiceServicer):
    """One script per connection; keeps what each connection asked."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = list(scripts)
        self.asked: list[WatchEventsRequest | WatchAllEventsRequest] = []

    async def WatchEvents(self, request: WatchEventsRequest, context):  # noqa: N802
        self.asked.append(request)
        async for message in self.scripts.pop(0)(context):
            yield message

    async def WatchAllEvents(self, request: WatchAllEventsRequest, context):  # noqa: N802
        self.asked.append(request)
        async for message in self.scripts.pop(0)(context):
            yield message


def events(*seqs: int) -> WatchEventsResponse:
    return WatchEventsResponse(
        events=EventList(events=[Event(session_id="s", seq=seq, interval_closed=IntervalClosed()) for seq in seqs])
    )


def terminal(seq: int) -> WatchEventsResponse:
    return WatchEventsResponse(terminal=Terminal(seq=seq, kind=COMPLETED))


def sends(*messages: WatchEventsResponse | WatchAllEventsResponse) -> Script:
    """A connection that sends these and ends with OK."""

    async def script(_context):
        for message in messages:
            yield message

    return script


def breaks(code: grpc.StatusCode, *messages: WatchEventsResponse | WatchAllEventsResponse) -> Script:
    """A connection that sends these and ends with a status."""

    async def script(context):
        for message in messages:
            yield message
        await context.abort(code, "scripted")

    return script


def falls_silent(*messages: WatchEventsResponse) -> Script:
    """A connection that sends these and then nothing, for ever."""

    async def script(_context):
        for message in messages:
            yield message
        await asyncio.Event().wait()

    return script


async def client_of(connect, servicer: ScriptedEvents, **options: float) -> Milepost:
    return await connect(lambda server: add_EventServiceServicer_to_server(servicer, server), **options)


async def seen(client: Milepost, **options) -> list[int]:
    return [item.seq async for item in client.events.watch("s", **options) if isinstance(item, Event)]


@pytest.mark.parametrize(
    "end", [breaks(grpc.StatusCode.UNAVAILABLE, events(1, 2, 3)), sends(events(1, 2, 3)), falls_silent(events(1, 2, 3))]
)
async def test_after_a_break_the_watch_goes_on_behind_the_last_event(connect, end):
    servicer = ScriptedEvents(end, sends(events(4, 5), terminal(5)))
    client = await client_of(connect, servicer, silence_s=0.3)

    assert await seen(client) == [1, 2, 3, 4, 5]
    assert [request.after_seq for request in servicer.asked] == [0, 3]


async def test_what_comes_twice_is_given_once(connect):
    servicer = ScriptedEvents(
        breaks(grpc.StatusCode.UNAVAILABLE, events(1, 2, 3)), sends(events(2, 3, 4), events(4, 5), terminal(5))
    )
    client = await client_of(connect, servicer)

    assert await seen(client) == [1, 2, 3, 4, 5]


async def test_a_hole_is_an_error_and_nothing_after_it_is_given(connect):
    client = await client_of(connect, ScriptedEvents(sends(events(1, 2), events(4), terminal(4))))
    watch = client.events.watch("s")
    assert [(await anext(watch)).seq, (await anext(watch)).seq] == [1, 2]

    with pytest.raises(LogGapError) as caught:
        await anext(watch)

    assert (caught.value.expected_seq, caught.value.actual_seq) == (3, 4)


async def test_an_end_whose_event_never_came_is_a_hole(connect):
    client = await client_of(connect, ScriptedEvents(sends(events(1, 2), terminal(3))))

    with pytest.raises(LogGapError):
        await seen(client)


async def test_with_a_filter_holes_are_fine_and_heartbeats_move_the_cursor(connect):
    servicer = ScriptedEvents(
        breaks(
            grpc.StatusCode.UNAVAILABLE,
            events(3, 7),
            WatchEventsResponse(heartbeat=Heartbeat(sent_seq=20, stored_head_seq=20)),
        ),
        sends(events(31), terminal(31)),
    )
    client = await client_of(connect, servicer)

    assert await seen(client, kinds=[EventKind.EVENT_KIND_INTERVAL_CLOSED]) == [3, 7, 31]
    assert [request.after_seq for request in servicer.asked] == [0, 20]


async def test_marks_are_given_in_their_place(connect):
    servicer = ScriptedEvents(
        sends(
            WatchEventsResponse(hello=Hello(session_id="s", from_seq=6)),
            events(6),
            WatchEventsResponse(caught_up=CaughtUp(seq=6)),
            events(7),
            terminal(7),
        )
    )
    client = await client_of(connect, servicer)

    items = [item async for item in client.events.watch("s", after_seq=5)]

    assert [type(item) for item in items] == [Event, CaughtUp, Event, Terminal]


async def test_a_refusal_ends_the_watch_at_once(connect):
    servicer = ScriptedEvents(breaks(grpc.StatusCode.NOT_FOUND))
    client = await client_of(connect, servicer)

    with pytest.raises(NotFound):
        await seen(client)
    assert len(servicer.asked) == 1


async def test_a_server_that_stays_away_ends_the_watch_after_a_while(connect):
    servicer = ScriptedEvents(*[breaks(grpc.StatusCode.UNAVAILABLE)] * 100)
    client = await client_of(connect, servicer, retry_for_s=0.5)

    with pytest.raises(Unavailable):
        await seen(client)
    assert 2 <= len(servicer.asked) < 10


async def test_leaving_a_watch_ends_the_call(connect):
    left = asyncio.Event()

    async def script(_context):
        try:
            yield events(1)
            await asyncio.Event().wait()
        finally:
            left.set()

    client = await client_of(connect, ScriptedEvents(script))
    watch = client.events.watch("s")

    assert (await anext(watch)).seq == 1
    await watch.aclose()

    await asyncio.wait_for(left.wait(), 5)


async def test_watching_everything_resumes_behind_the_last_position(connect):
    def step(stream_seq: int) -> WatchAllEventsResponse:
        return WatchAllEventsResponse(position=Position(epoch="e", stream_seq=stream_seq))

    servicer = ScriptedEvents(breaks(grpc.StatusCode.UNAVAILABLE, step(4), step(9)), sends(step(12)))
    client = await client_of(connect, servicer)
    positions: list[int] = []

    async for message in client.events.watch_all():
        positions.append(message.position.stream_seq)
        if len(positions) == 3:
            break

    assert positions == [4, 9, 12]
    assert not servicer.asked[0].HasField("after_position")
    assert servicer.asked[1].after_position == Position(epoch="e", stream_seq=9)
