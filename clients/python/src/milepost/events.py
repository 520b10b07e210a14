"""Events: read a session's log, follow it, follow all of them. Broken connections are mended in here.

A watch is one iterator over any number of connections: after a break it asks again from the last event it
gave out, so its reader sees every event once and in order, however often the server went away. Questions to many logs
at once are in event_queries.py.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing

import grpc

from milepost.event.v1.event_pb2 import Event, EventKind
from milepost.event.v1.event_service_pb2 import (
    GetHeadRequest,
    GetHeadResponse,
    PhaseSelector,
    Position,
    ReadEventsRequest,
    ReadOrder,
    SlowWatcherPolicy,
    Terminal,
    WatchAllEventsRequest,
    WatchAllEventsResponse,
    WatchEventsRequest,
    WatchEventsResponse,
)
from milepost.event.v1.frame_pb2 import FrameOptions
from milepost.event_queries import EventQueries
from milepost.following import following
from milepost.watch_cursor import WatchCursor, WatchItem


class Events(EventQueries):
    """The verbs of EventService. Every failure is a MilepostError; the proto names the reasons of each call."""

    async def read(
        self,
        session_id: str,
        *,
        cursor: int = 0,
        kinds: Sequence[EventKind.ValueType] = (),
        descending: bool = False,
        page_size: int = 0,
        run: int = 0,
        begin_time_s: float | None = None,
        end_time_s: float | None = None,
        phases: Sequence[str | int] = (),
    ) -> AsyncIterator[Event]:
        """The stored events after `cursor` (descending: before it, 0 meaning from the head), read page by page.

        Only those of `run` (0: any), and only those after `begin_time_s` and up to `end_time_s` of simulated time;
        with `phases`, by name or index in the plan, only what stands in one of these.
        """
        order = ReadOrder.READ_ORDER_DESCENDING if descending else ReadOrder.READ_ORDER_ASCENDING
        request = ReadEventsRequest(
            session_id=session_id,
            cursor=cursor,
            kinds=kinds,
            page_size=page_size,
            order=order,
            run=run,
            begin_time_s=begin_time_s,
            end_time_s=end_time_s,
            phases=_selectors(phases),
        )
        while True:
            response = await self._connection.call(lambda timeout_s: self._stub.ReadEvents(request, timeout=timeout_s))
            for event in response.events:
                yield event
            if not response.next_cursor:
                return
            request.cursor = response.next_cursor

    async def head(self, session_id: str) -> GetHeadResponse:
        """Where the stored log of a session ends."""
        request = GetHeadRequest(session_id=session_id)
        return await self._connection.call(lambda timeout_s: self._stub.GetHead(request, timeout=timeout_s))

    async def watch(
        self,
        session_id: str,
        *,
        after_seq: int = 0,
        kinds: Sequence[EventKind.ValueType] = (),
        phases: Sequence[str | int] = (),
        frames: FrameOptions | None = None,
        slow_policy: SlowWatcherPolicy.ValueType = SlowWatcherPolicy.SLOW_WATCHER_POLICY_MOVE_TO_HISTORY,
    ) -> AsyncGenerator[WatchItem, None]:
        """Follow a session's log from the event after `after_seq`: history, then live, until it ends.

        Gives out each event once and in order, and between them the marks of the stream and, when `frames` asks
        for them, vehicle positions. `kinds`, and `phases` of the plan by name or index, leave out what is of none
        of them; empty: nothing. The last item is Terminal. CaughtUp may come again after a broken connection.
        Raises LogGapError when the server leaves an event out, and the MilepostError of a refusal or of a server
        that stayed away.
        """
        cursor = WatchCursor(session_id, after_seq, filtered=bool(kinds or phases))
        selectors = _selectors(phases)

        def connect() -> grpc.aio.UnaryStreamCall[WatchEventsRequest, WatchEventsResponse]:
            return self._stub.WatchEvents(
                WatchEventsRequest(
                    session_id=session_id,
                    after_seq=cursor.seq,
                    kinds=kinds,
                    slow_policy=slow_policy,
                    frames=frames,
                    phases=selectors,
                )
            )

        async with aclosing(following(self._connection, connect)) as messages:
            async for message in messages:
                for item in cursor.items(message):
                    yield item
                    if isinstance(item, Terminal):
                        return

    async def watch_all(
        self,
        *,
        after: Position | None = None,
        kinds: Sequence[EventKind.ValueType] = (),
        session_ids: Sequence[str] = (),
        labels: Mapping[str, str] | None = None,
        all_tenants: bool = False,
    ) -> AsyncGenerator[WatchAllEventsResponse, None]:
        """Follow the logs of all sessions, or of these, or of those with all of these labels, in stored order.

        Begins after a position; never ends by itself. `all_tenants` is for administrators: Denied without the role.
        """
        request = WatchAllEventsRequest(
            after_position=after, kinds=kinds, session_ids=session_ids, labels=labels, all_tenants=all_tenants
        )
        async with aclosing(following(self._connection, lambda: self._stub.WatchAllEvents(request))) as messages:
            async for message in messages:
                yield message
                request.after_position.CopyFrom(message.position)


def _selectors(phases: Sequence[str | int]) -> list[PhaseSelector]:
    """Phases by name or index, as requests name them."""
    return [PhaseSelector(name=it) if isinstance(it, str) else PhaseSelector(index=it) for it in phases]
