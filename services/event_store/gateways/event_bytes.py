"""Stored rows as serialised events.

A payload is stored as the bytes its writer made. Here the header is put before it, so that history is served
without parsing any payload.
"""

from collections.abc import Sequence

from event_store.gateways.event_rows import EventRow
from milepost.event.v1.event_pb2 import Event
from milepost.event.v1.event_service_pb2 import EventList, WatchEventsResponse

_LENGTH_DELIMITED = 2
_EVENTS_TAG = (EventList.DESCRIPTOR.fields_by_name["events"].number << 3) | _LENGTH_DELIMITED
_LIST_TAG = (WatchEventsResponse.DESCRIPTOR.fields_by_name["events"].number << 3) | _LENGTH_DELIMITED


def event_bytes(session_id: str, row: EventRow) -> bytes:
    """A row as a serialised `Event`: the header's fields, then the payload as the field its kind names."""
    header = Event(
        session_id=session_id,
        seq=row.seq,
        run=row.run,
        attempt=row.attempt,
        step=row.step,
        sim_time_s=row.sim_time_s,
    )
    header.record_time.FromMicroseconds(row.record_us)
    return header.SerializeToString() + _field((row.kind << 3) | _LENGTH_DELIMITED, row.payload)


def watch_response_bytes(session_id: str, rows: Sequence[EventRow]) -> bytes:
    """Rows as a serialised `WatchEventsResponse{events}`."""
    listed = b"".join(_field(_EVENTS_TAG, event_bytes(session_id, row)) for row in rows)
    return _field(_LIST_TAG, listed)


def _field(tag: int, content: bytes) -> bytes:
    return _varint(tag) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
