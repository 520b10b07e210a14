"""Read a log in pages, whole or as the record of one of its runs."""

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass

from event_store.application.select_logs import SelectedLog
from event_store.gateways.event_rows import EventRows
from milepost.event.v1.event_pb2 import Event
from milepost.event.v1.event_service_pb2 import ReadEventsRequest
from milepost.event.v1.export_pb2 import ExportEventsRequest
from milepost.event.v1.metrics_pb2 import QueryMetricsRequest
from session_log.run_record import HEADER_KINDS, RunRecord, run_record

# One page: rows are folded or encoded between two waits, and nobody else is served meanwhile.
PAGE_ROWS = 500
PAGE_BYTES = 1024 * 1024


Windowed = ReadEventsRequest | QueryMetricsRequest | ExportEventsRequest


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of simulated time, after begin_s up to and including end_s; None: without that bound."""

    begin_s: float | None
    end_s: float | None

    @classmethod
    def of(cls, request: Windowed) -> "Window":
        """What a request asks for."""
        return cls(
            request.begin_time_s if request.HasField("begin_time_s") else None,
            request.end_time_s if request.HasField("end_time_s") else None,
        )

    @property
    def bounded(self) -> bool:
        """Whether it leaves anything out."""
        return self.begin_s is not None or self.end_s is not None

    def before(self, sim_time_s: float) -> bool:
        """Whether an instant lies before the window."""
        return self.begin_s is not None and sim_time_s <= self.begin_s

    def after(self, sim_time_s: float) -> bool:
        """Whether an instant lies behind the window."""
        return self.end_s is not None and sim_time_s > self.end_s

    def holds(self, sim_time_s: float) -> bool:
        """Whether an instant lies in the window."""
        return not self.before(sim_time_s) and not self.after(sim_time_s)


@dataclass(frozen=True, slots=True)
class Told:
    """An event, and when it was stored, microseconds since 1970."""

    event: Event
    stored_us: int


async def pages(rows: EventRows, log: SelectedLog, kinds: Collection[int] = ()) -> AsyncIterator[list[Told]]:
    """The events of a log up to where it ended when it was found, in order."""
    after, complete = 0, False
    while not complete:
        page = await rows.read(
            log.head.log_key,
            after=after,
            upto=log.head.head_seq,
            limit=PAGE_ROWS,
            limit_bytes=PAGE_BYTES,
            kinds=kinds,
        )
        if page.rows:
            yield [Told(row.event, stored_us=row.stored_us) for row in page.rows]
            after = page.rows[-1].seq
        complete = page.complete


async def record_of(rows: EventRows, log: SelectedLog, run: int) -> RunRecord | None:
    """What belongs to a run of a log (0: the latest); None when it has no such run."""
    headers = [told.event async for page in pages(rows, log, HEADER_KINDS) for told in page]
    return run_record(headers, run)
