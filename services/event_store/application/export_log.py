"""Export logs as one table, in pieces: memory does not grow with the table.

Rows of several short logs share a row group; a long log fills many. Rows are made and encoded in a thread, since a
row group of JSON takes a tenth of a second.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING

from google.protobuf.json_format import MessageToJson

from event_store.application.read_run import Window, pages, record_of
from event_store.application.select_logs import SelectedLog, SelectLogs
from event_store.gateways.event_rows import EventRow, EventRows
from milepost.errors.v1 import errors_pb2
from milepost.event.v1.event_pb2 import EventKind, IntervalClosed
from milepost.event.v1.export_pb2 import ExportContent, ExportEventsRequest, ExportEventsResponse
from milepost.kpi.v1.kpi_pb2 import Kpis
from runtime.errors import CallRefused, FieldViolation
from session_log.codec import record_payload

if TYPE_CHECKING:
    from event_store.gateways.table_files import TableFile

# A row group: so many rows, or so many bytes of payload as stored.
GROUP_ROWS = 10_000
GROUP_BYTES = 4 * 1024 * 1024
# Largest piece, bytes.
PIECE_BYTES = 1024 * 1024
# Exports that make rows at a time; others wait for their turn, row group by row group.
AT_ONCE = 2
_KPIS = tuple(kpi.name for kpi in Kpis.DESCRIPTOR.fields)

Columns = dict[str, list[object]]


@dataclass(frozen=True, slots=True)
class ExportLog:
    """Serves ExportEvents."""

    select: SelectLogs
    rows: EventRows
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    async def __call__(self, tenant: str, request: ExportEventsRequest) -> AsyncIterator[ExportEventsResponse]:
        """Raises CallRefused: FIELD_INVALID, and those of FindLog."""
        of_metrics = request.content == ExportContent.EXPORT_CONTENT_METRICS
        if of_metrics and request.kinds:
            raise CallRefused(
                errors_pb2.ERROR_REASON_FIELD_INVALID,
                "kinds: METRICS has none",
                violations=[FieldViolation("kinds", "METRICS has none")],
            )
        logs = await self.select(tenant, request.sessions)
        table = await asyncio.to_thread(_open, request)
        make = _metric_columns if of_metrics else _event_columns
        group = _Group()
        for log in logs:
            async for some in self._metric_rows(log, request) if of_metrics else self._event_rows(log, request):
                group.add(log.session_id, some)
                if group.full:
                    for piece in await self._write(table, make, group):
                        yield piece
                    group = _Group()
        for piece in await self._write(table, make, group):
            yield piece
        for piece in _pieces(await asyncio.to_thread(table.end)):
            yield piece

    async def _write(
        self, table: "TableFile", make: Callable[["_Group"], Columns], group: "_Group"
    ) -> Iterator[ExportEventsResponse]:
        if not group.rows:
            return iter(())
        async with self.turns:
            return _pieces(await asyncio.to_thread(lambda: table.write(make(group))))

    async def _event_rows(self, log: SelectedLog, request: ExportEventsRequest) -> AsyncIterator[list[EventRow]]:
        window = Window.of(request)
        async for page in pages(self.rows, log, frozenset(request.kinds)):
            yield [row for row in page if request.run in (0, row.run) and window.holds(row.sim_time_s)]

    async def _metric_rows(self, log: SelectedLog, request: ExportEventsRequest) -> AsyncIterator[list[EventRow]]:
        record = await record_of(self.rows, log, request.run)
        if record is None:
            return
        window = Window.of(request)
        async for page in pages(self.rows, log, (EventKind.EVENT_KIND_INTERVAL_CLOSED,)):
            yield [row for row in page if record.holds_interval(row.run, row.step) and window.holds(row.sim_time_s)]


@dataclass(slots=True)
class _Group:
    """Rows that become a row group, and whose they are."""

    rows: list[tuple[str, EventRow]] = field(default_factory=list)
    size_bytes: int = 0

    @property
    def full(self) -> bool:
        """Whether it is large enough."""
        return len(self.rows) >= GROUP_ROWS or self.size_bytes >= GROUP_BYTES

    def add(self, session_id: str, rows: list[EventRow]) -> None:
        """A page of a log's rows."""
        self.rows += [(session_id, row) for row in rows]
        self.size_bytes += sum(len(row.payload) for row in rows)


def _open(request: ExportEventsRequest) -> "TableFile":
    # Not imported with the service: most stores never export, and it is large.
    module = import_module("event_store.gateways.table_files")
    table: TableFile = module.TableFile(request.format, request.content)
    return table


def _event_columns(group: _Group) -> Columns:
    rows = [row for _, row in group.rows]
    return {
        "session_id": [session_id for session_id, _ in group.rows],
        "seq": [row.seq for row in rows],
        "run": [row.run for row in rows],
        "attempt": [row.attempt for row in rows],
        "kind": [EventKind.Name(row.kind).removeprefix("EVENT_KIND_").lower() for row in rows],
        "step": [row.step for row in rows],
        "sim_time_s": [row.sim_time_s for row in rows],
        "record_time": [row.record_us for row in rows],
        "stored_time": [row.stored_us for row in rows],
        "payload": [_json(row) for row in rows],
    }


def _metric_columns(group: _Group) -> Columns:
    rows = [row for _, row in group.rows]
    closed = [IntervalClosed.FromString(row.payload) for row in rows]
    all_kpis = [one.kpis for one in closed]
    return {
        "session_id": [session_id for session_id, _ in group.rows],
        "run": [row.run for row in rows],
        "seq": [row.seq for row in rows],
        "step": [row.step for row in rows],
        "sim_time_s": [row.sim_time_s for row in rows],
        **{name: [getattr(kpis, name) for kpis in all_kpis] for name in _KPIS},
        "state_digest": [one.state_digest.hex() for one in closed],
    }


def _json(row: EventRow) -> str:
    return MessageToJson(
        record_payload(row.kind, row.payload),
        preserving_proto_field_name=True,
        indent=None,
        ensure_ascii=False,
    )


def _pieces(content: bytes) -> Iterator[ExportEventsResponse]:
    for start in range(0, len(content), PIECE_BYTES):
        yield ExportEventsResponse(content=content[start : start + PIECE_BYTES])
