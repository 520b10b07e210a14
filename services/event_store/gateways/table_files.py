"""Tables as files of other programs, written piece by piece: Arrow IPC stream, Parquet, CSV.

This module alone imports pyarrow, which costs 0.3 s and 60 MB: it is imported with the first export.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from google.protobuf.descriptor import FieldDescriptor

from milepost.event.v1.export_pb2 import ExportContent, ExportFormat
from milepost.kpi.v1.kpi_pb2 import Kpis

_TYPES = {
    FieldDescriptor.TYPE_INT64: pa.int64(),
    FieldDescriptor.TYPE_DOUBLE: pa.float64(),
    FieldDescriptor.TYPE_BOOL: pa.bool_(),
}
_TIME = pa.timestamp("us", tz="UTC")

_EVENT_FIELDS: "list[pa.Field[Any]]" = [
    pa.field("session_id", pa.string(), nullable=False),
    pa.field("seq", pa.int64(), nullable=False),
    pa.field("run", pa.int32(), nullable=False),
    pa.field("attempt", pa.int32(), nullable=False),
    pa.field("kind", pa.string(), nullable=False),
    pa.field("step", pa.int64(), nullable=False),
    pa.field("sim_time_s", pa.float64(), nullable=False),
    pa.field("record_time", _TIME, nullable=False),
    pa.field("stored_time", _TIME, nullable=False),
    pa.field("payload", pa.string(), nullable=False),
]
_METRIC_FIELDS: "list[pa.Field[Any]]" = [
    pa.field("session_id", pa.string(), nullable=False),
    pa.field("run", pa.int32(), nullable=False),
    pa.field("seq", pa.int64(), nullable=False),
    pa.field("step", pa.int64(), nullable=False),
    pa.field("sim_time_s", pa.float64(), nullable=False),
    *(pa.field(kpi.name, _TYPES[kpi.type], nullable=False) for kpi in Kpis.DESCRIPTOR.fields),
    pa.field("state_digest", pa.string(), nullable=False),
]
EVENT_COLUMNS = pa.schema(_EVENT_FIELDS)
METRIC_COLUMNS = pa.schema(_METRIC_FIELDS)


class _Sink(io.RawIOBase):
    """Keeps what is written until it is taken."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []
        self._written = 0

    def writable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Bytes written so far; a Parquet file notes where its parts are."""
        return self._written

    def write(self, content: Any) -> int:
        """Keep a piece."""
        piece = bytes(content)
        self._parts.append(piece)
        self._written += len(piece)
        return len(piece)

    def take(self) -> bytes:
        """What was written since the last time."""
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken


class TableFile:
    """A table as it is written; each call returns the bytes that became final with it."""

    def __init__(self, form: "ExportFormat.ValueType", content: "ExportContent.ValueType") -> None:
        self._schema = METRIC_COLUMNS if content == ExportContent.EXPORT_CONTENT_METRICS else EVENT_COLUMNS
        self._sink = _Sink()
        # The stubs want a file that can be read, too.
        sink: Any = self._sink
        self._writer: Any
        match form:
            case ExportFormat.EXPORT_FORMAT_PARQUET:
                self._writer = pq.ParquetWriter(sink, self._schema, compression="zstd")
            case ExportFormat.EXPORT_FORMAT_CSV:
                self._writer = pa_csv.CSVWriter(sink, self._schema)
            case _:
                self._writer = pa.ipc.new_stream(sink, self._schema)

    def write(self, columns: Mapping[str, Sequence[object]]) -> bytes:
        """Some more rows; a row group of their own."""
        arrays = [pa.array(columns[one.name], type=one.type) for one in self._schema]
        self._writer.write_batch(pa.record_batch(arrays, schema=self._schema))
        return self._sink.take()

    def end(self) -> bytes:
        """No more rows."""
        self._writer.close()
        return self._sink.take()
