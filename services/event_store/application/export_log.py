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

from event_store.application.read_run import Told, Window, pages, record_of
from event_store.application.select_logs import SelectedLog, SelectLogs
from event_store.gateways.event_rows import EventRows
from milepost.errors.v1 import errors_pb2
from milepost.event.v1.event_pb2 import Event, EventKind
from milepost.event.v1.export_pb2 import ExportContent, ExportEventsRequest, ExportEventsResponse
from milepost.kpi.v1.kpi_pb2 import Kpis
from runtime.errors import CallRefused, FieldViolation

if TYPE_CHECKING:
    from event_store.gateways.table_files import TableFile

# A row group: so many rows, or so many bytes of events as stored.
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
                group.add(some)
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

    async def _event_rows(self, log: SelectedLog, request: ExportEventsRequest) -> AsyncIterator[list[Told]]:
        window = Window.of(request)
        async for page in pages(self.rows, log, frozenset(request.kinds)):
            yield [told for told in page if request.run in (0, told.event.run) and window.holds(told.event.sim_time_s)]

    async def _metric_rows(self, log: SelectedLog, request: ExportEventsRequest) -> AsyncIterator[list[Told]]:
        record = await record_of(self.rows, log, request.run)
        if record is None:
            return
        window = Window.of(request)
        async for page in pages(self.rows, log, (EventKind.EVENT_KIND_INTERVAL_CLOSED,)):
            yield [
                told
                for told in page
                if record.holds_interval(told.event.run, told.event.step) and window.holds(told.event.sim_time_s)
            ]


@dataclass(slots=True)
class _Group:
    """Events that become a row group."""

    rows: list[Told] = field(default_factory=list)
    size_bytes: int = 0

    @property
    def full(self) -> bool:
        """Whether it is large enough."""
        return len(self.rows) >= GROUP_ROWS or self.size_bytes >= GROUP_BYTES

    def add(self, rows: list[Told]) -> None:
        """A page of a log."""
        self.rows += rows
        self.size_bytes += sum(told.event.ByteSize() for told in rows)


def _open(request: ExportEventsRequest) -> "TableFile":
    # Not imported with the service: most stores never export, and it is large.
    module = import_module("event_store.gateways.table_files")
    table: TableFile = module.TableFile(request.format, request.content)
    return table


def _event_columns(group: _Group) -> Columns:
    found = [told.event for told in group.rows]
    kinds: list[str] = [event.WhichOneof("payload") or "" for event in found]
    return {
        "session_id": [event.session_id for event in found],
        "seq": [event.seq for event in found],
        "run": [event.run for event in found],
        "attempt": [event.attempt for event in found],
        "kind": [*kinds],
        "step": [event.step for event in found],
        "sim_time_s": [event.sim_time_s for event in found],
        "record_time": [event.record_time.ToMicroseconds() for event in found],
        "stored_time": [told.stored_us for told in group.rows],
        "payload": [_json(event, kind) for event, kind in zip(found, kinds, strict=True)],
    }


def _metric_columns(group: _Group) -> Columns:
    found = [told.event for told in group.rows]
    closed = [event.interval_closed for event in found]
    all_kpis = [one.kpis for one in closed]
    return {
        "session_id": [event.session_id for event in found],
        "run": [event.run for event in found],
        "seq": [event.seq for event in found],
        "step": [event.step for event in found],
        "sim_time_s": [event.sim_time_s for event in found],
        **{name: [getattr(kpis, name) for kpis in all_kpis] for name in _KPIS},
        "state_digest": [one.state_digest.hex() for one in closed],
    }


def _json(event: Event, kind: str) -> str:
    # Of a kind that a later release brought nothing is known.
    if not kind:
        return "{}"
    return MessageToJson(getattr(event, kind), preserving_proto_field_name=True, indent=None, ensure_ascii=False)


def _pieces(content: bytes) -> Iterator[ExportEventsResponse]:
    for start in range(0, len(content), PIECE_BYTES):
        yield ExportEventsResponse(content=content[start : start + PIECE_BYTES])
