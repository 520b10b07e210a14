"""Read a page of a log, from either end.

Which run an event is of and where it stands in simulated time is looked at row by row: a page that such a filter
empties is answered all the same, with the cursor to go on from, so that no call looks through a whole log.
"""

from dataclasses import dataclass

from event_store.application.find_log import FindLog, require_kept
from event_store.application.read_run import Window
from event_store.gateways.event_rows import EventRows
from milepost.event.v1.event_service_pb2 import ReadEventsRequest, ReadEventsResponse, ReadOrder

DEFAULT_PAGE_EVENTS = 500
# Largest page, bytes of payload.
PAGE_BYTES = 512 * 1024


@dataclass(frozen=True, slots=True)
class ReadLog:
    """Serves ReadEvents."""

    find: FindLog
    rows: EventRows

    async def __call__(self, tenant: str, request: ReadEventsRequest) -> ReadEventsResponse:
        """Raises CallRefused, those of FindLog."""
        descending = request.order == ReadOrder.READ_ORDER_DESCENDING
        head = await self.find(tenant, request.session_id, cursor=request.cursor)
        if not descending and not request.kept_only:
            require_kept(head, request.cursor)
        page = await self.rows.read(
            head.log_key,
            after=0 if descending else request.cursor,
            upto=request.cursor - 1 if descending and request.cursor else head.head_seq,
            limit=request.page_size or DEFAULT_PAGE_EVENTS,
            limit_bytes=PAGE_BYTES,
            kinds=request.kinds,
            descending=descending,
        )
        window = Window.of(request)
        found = (row.event for row in page.rows)
        return ReadEventsResponse(
            events=[event for event in found if request.run in (0, event.run) and window.holds(event.sim_time_s)],
            next_cursor=0 if page.complete else page.rows[-1].seq,
            head_seq=head.head_seq,
            oldest_seq=head.oldest_seq,
        )
