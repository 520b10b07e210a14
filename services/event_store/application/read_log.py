"""Read a page of a log, from either end.

Kinds, runs and phases are left out unread. Where an event stands in simulated time is looked at row by row: a page
that such a filter empties is answered all the same, with the cursor to go on from, so that no call looks through a
whole log. Whoever asks for nothing special gets whole batches as they are stored.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from event_store.application.find_log import FindLog, require_kept
from event_store.application.phases import Phases
from event_store.application.read_run import Window
from event_store.gateways.event_bytes import framed, read_response
from event_store.gateways.event_rows import EventRow, EventRows, Head, Page
from milepost.event.v1.event_service_pb2 import ReadEventsRequest, ReadEventsResponse, ReadOrder

DEFAULT_PAGE_EVENTS = 500
# Largest page, bytes of payload.
PAGE_BYTES = 512 * 1024

_Stretch = tuple[int, int]
"""Consecutive events of a log: after < seq <= upto."""


@dataclass(frozen=True, slots=True)
class ReadLog:
    """Serves ReadEvents."""

    find: FindLog
    rows: EventRows
    phases: Phases

    async def __call__(self, tenant: str, request: ReadEventsRequest) -> bytes:
        """A serialised ReadEventsResponse. Raises CallRefused, those of FindLog and of Phases."""
        descending = request.order == ReadOrder.READ_ORDER_DESCENDING
        head = await self.find(tenant, request.session_id, cursor=request.cursor)
        if not descending and not request.kept_only:
            require_kept(head, request.cursor)
        window = Window.of(request)
        rest = ReadEventsResponse(head_seq=head.head_seq, oldest_seq=head.oldest_seq)
        if not (descending or request.page_size or request.run or request.phases or window.bounded):
            found = await self.rows.read_frames(
                head.log_key,
                after=request.cursor,
                upto=head.head_seq,
                limit=DEFAULT_PAGE_EVENTS,
                limit_bytes=PAGE_BYTES,
                kinds=request.kinds,
            )
            rest.next_cursor = 0 if found.complete else found.last_seq
            return read_response(found.frames, rest)
        page = await self._page(head, request, await self._stretches(head, request))
        rest.next_cursor = 0 if page.complete else page.rows[-1].seq
        held = (row.encoded for row in page.rows if not window.bounded or window.holds(row.sim_time_s))
        return read_response(b"".join(map(framed, held)), rest)

    async def _stretches(self, head: Head, request: ReadEventsRequest) -> list[_Stretch]:
        """Where to look, in the order of the page."""
        descending = request.order == ReadOrder.READ_ORDER_DESCENDING
        after = 0 if descending else request.cursor
        upto = request.cursor - 1 if descending and request.cursor else head.head_seq
        if not request.phases:
            return [(after, upto)]
        await self.phases.require_known(head, request.phases)
        windows = await self.phases.windows(head, request.phases)
        found = [(max(after, one.first_seq - 1), min(upto, one.last_seq or upto)) for one in windows]
        return [stretch for stretch in (reversed(found) if descending else found) if stretch[0] < stretch[1]]

    async def _page(self, head: Head, request: ReadEventsRequest, stretches: Sequence[_Stretch]) -> Page:
        limit, limit_bytes = request.page_size or DEFAULT_PAGE_EVENTS, PAGE_BYTES
        rows: list[EventRow] = []
        for after, upto in stretches:
            if len(rows) >= limit or limit_bytes <= 0:
                return Page(rows, complete=False)
            page = await self.rows.read(
                head.log_key,
                after=after,
                upto=upto,
                limit=limit - len(rows),
                limit_bytes=limit_bytes,
                kinds=request.kinds,
                run=request.run,
                descending=request.order == ReadOrder.READ_ORDER_DESCENDING,
            )
            rows += page.rows
            limit_bytes -= sum(len(row.encoded) for row in page.rows)
            if not page.complete:
                return Page(rows, complete=False)
        return Page(rows, complete=True)
