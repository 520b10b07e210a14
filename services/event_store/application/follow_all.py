"""Follow all logs of a tenant, or of all tenants, in the order in which they were stored."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from event_store.application.heads import Heads
from event_store.application.wanted_events import WantedEvents
from event_store.gateways.event_bytes import event_bytes
from event_store.gateways.event_rows import EventRows, Place, StoredRow, Stretch
from milepost.errors.v1 import errors_pb2
from milepost.event.v1.event_pb2 import Event
from milepost.event.v1.event_service_pb2 import (
    Position,
    StoredEvent,
    WatchAllEventsRequest,
    WatchAllEventsResponse,
)
from runtime.errors import CallRefused

# Rows of one look; whole messages of the broker only, so a little more.
PAGE_EVENTS = 1000
# Largest message, bytes of payload.
PAGE_BYTES = 512 * 1024
# What a database can be asked for; no stream gets there.
GREATEST_SEQ = 2**63 - 1
# A sign of life at least this often, seconds.
ALIVE_S = 4.0
# The least time from one look to the next, seconds: followers of everything are projections. What comes after a
# quiet moment waits for nothing.
LOOK_PERIOD_S = 0.05


@dataclass(frozen=True, slots=True)
class FollowAll:
    """Serves one call of WatchAllEvents."""

    rows: EventRows
    heads: Heads
    drain: asyncio.Event
    monotonic: Callable[[], float] = time.monotonic

    async def __call__(
        self, tenant: str | None, request: WatchAllEventsRequest
    ) -> AsyncIterator[WatchAllEventsResponse]:
        """Runs until cancelled; `tenant` None: all of them.

        Raises CallRefused: DRAINING, and CURSOR_BEYOND_HEAD for a position never stored.
        """
        after, kick = min(request.after_position.stream_seq, GREATEST_SEQ), asyncio.Event()
        wanted = WantedEvents.of(self.rows, kinds=request.kinds, session_ids=request.session_ids, labels=request.labels)
        with self.heads.following_all(kick):
            while True:
                looked = self.monotonic()
                if self.drain.is_set():
                    raise CallRefused(errors_pb2.ERROR_REASON_DRAINING, "this server stops", retry_after_s=0.1)
                stretch = await self.rows.read_all(
                    after_stream_seq=after,
                    limit=PAGE_EVENTS,
                    limit_bytes=PAGE_BYTES,
                    kinds=wanted.read_kinds,
                    tenant=tenant,
                )
                if stretch is None:
                    yield WatchAllEventsResponse(caught_up=True)
                else:
                    _require_stored(after, request.after_position.epoch, stretch.place)
                    yield _response(stretch, await wanted.among(stretch.rows))
                    after = stretch.place.stream_seq
                if stretch is None or stretch.complete:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(ALIVE_S):
                            await kick.wait()
                    await asyncio.sleep(max(0.0, LOOK_PERIOD_S - (self.monotonic() - looked)))
                    kick.clear()


def _require_stored(after: int, epoch: str, place: Place) -> None:
    """A position of another stream, or of one that was stored further once, must not be taken for ours."""
    if epoch not in ("", place.epoch) or after > place.stream_seq:
        raise CallRefused(
            errors_pb2.ERROR_REASON_CURSOR_BEYOND_HEAD,
            f"what is stored ends at {place.stream_seq} of stream {place.epoch!r}",
            metadata={"epoch": place.epoch, "stream_seq": str(place.stream_seq)},
        )


def _response(stretch: Stretch, rows: Sequence[StoredRow]) -> WatchAllEventsResponse:
    return WatchAllEventsResponse(
        events=[
            StoredEvent(
                event=Event.FromString(event_bytes(stored.key[1], stored.row)),
                stream_seq=stored.row.stream_seq,
                tenant=stored.key[0],
            )
            for stored in rows
        ],
        position=Position(epoch=stretch.place.epoch, stream_seq=stretch.place.stream_seq),
        caught_up=stretch.complete,
    )
