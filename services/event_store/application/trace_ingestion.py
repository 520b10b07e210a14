"""What a trace tells of ingestion: that a part of a session's log was stored, below the span it was written in."""

from collections.abc import Sequence
from dataclasses import replace

from event_store.gateways.event_appends import Committed
from event_store.gateways.log_stream import StreamMessage
from milepost.event.v1.event_pb2 import EventKind
from runtime import traces

_Writing = tuple[str, str, str]


def trace_ingestion(
    messages: Sequence[StreamMessage], grown: Sequence[Committed], *, since_ns: int
) -> Sequence[Committed]:
    """One span per log and writer of a transaction; `grown`, naming those whose intervals are in it.

    A watcher's own part hangs below that span. `since_ns`: when the transaction began (`time.time_ns`).
    """
    if not traces.enabled():
        return grown
    events: dict[_Writing, int] = {}
    intervals: dict[_Writing, int] = {}
    for item in messages:
        if item.message is not None and item.message.headers.trace:
            writing = item.tenant, item.session_id, item.message.headers.trace
            records = item.message.batch.records
            events[writing] = events.get(writing, 0) + len(records)
            closed = sum(one.kind == EventKind.EVENT_KIND_INTERVAL_CLOSED for one in records)
            intervals[writing] = intervals.get(writing, 0) + closed
    told: dict[tuple[str, str], str] = {}
    for writing, count in events.items():
        tenant, session_id, parent = writing
        span = traces.happened(
            "store.events",
            parent=parent,
            since_ns=since_ns,
            session_id=session_id,
            events=count,
            intervals=intervals[writing],
        )
        if intervals[writing]:
            told[tenant, session_id] = span
    return [replace(item, trace=told.get((item.tenant, item.session_id), "")) for item in grown]
