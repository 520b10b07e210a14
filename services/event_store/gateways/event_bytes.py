"""Events as they are stored: serialised as watchers get them, so that history is sent without looking into it.

    batch   = zstd(frame, frame, …)             a serialised EventList
    frame   = tag of EventList.events, length, event
    event   = payload's field, seq, step, sim_time_s, then what all events of a message share

A payload stays the bytes its writer made. It stands first in its event, where its kind is found at once; protobuf
gives the order of fields no meaning.
"""

import functools
import struct
from array import array
from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

import zstandard

from milepost.event.v1.event_pb2 import Event
from milepost.event.v1.event_service_pb2 import EventList, ReadEventsResponse, WatchEventsResponse
from session_log.codec import LogMessage

_LENGTH_DELIMITED = 2
_EVENTS_TAG = bytes([(EventList.DESCRIPTOR.fields_by_name["events"].number << 3) | _LENGTH_DELIMITED])
_LIST_TAG = bytes([(WatchEventsResponse.DESCRIPTOR.fields_by_name["events"].number << 3) | _LENGTH_DELIMITED])
_FIELDS = Event.DESCRIPTOR.fields_by_name
_SEQ_TAG, _STEP_TAG = (bytes([_FIELDS[name].number << 3]) for name in ("seq", "step"))
_TIME = struct.Struct("<Bd")
_SIM_TIME_TAG = (_FIELDS["sim_time_s"].number << 3) | 1

# The highest kind with a bit of its own; bit 0 stands for all others. A signed 64-bit column has 63 bits.
_HIGHEST_BIT = 62
# Fastest level: a fifth of the time of the default one, for some ten percent more bytes.
_LEVEL = 1
_compressor = zstandard.ZstdCompressor(level=_LEVEL)
_decompressor = zstandard.ZstdDecompressor()


class EncodedEvent(Protocol):
    """What holds a serialised event."""

    @property
    def encoded(self) -> bytes:
        """A serialised `Event`."""


def frames_of(session_id: str, message: LogMessage) -> bytes:
    """A message's records as frames."""
    headers = message.headers
    shared_fields = Event(session_id=session_id, run=headers.run, attempt=headers.attempt)
    shared_fields.record_time.FromDatetime(headers.record_time)
    shared, pack, varint, tag_of = shared_fields.SerializeToString(), _TIME.pack, _varint, _payload_tag
    parts: list[bytes] = []
    for seq, record in enumerate(message.batch.records, start=headers.first_seq):
        payload, step = record.payload, record.step
        # Once for each event there is: the plainest way is the fastest.
        event = b"%b%b%b%b%b%b%b%b%b" % (
            tag_of(record.kind),
            varint(len(payload)),
            payload,
            _SEQ_TAG,
            varint(seq),
            _STEP_TAG,
            varint(step),
            pack(_SIM_TIME_TAG, record.sim_time_s),
            shared,
        )
        parts += (_EVENTS_TAG, varint(len(event)), event)
    return b"".join(parts)


def split(frames: bytes) -> Iterator[bytes]:
    """The serialised events of frames."""
    at, end = 0, len(frames)
    while at < end:
        length, at = _read_varint(frames, at + 1)
        yield frames[at : at + length]
        at += length


def framed(encoded: bytes) -> bytes:
    """A serialised event as a frame."""
    return _EVENTS_TAG + _varint(len(encoded)) + encoded


def kind_and_payload(encoded: bytes) -> tuple[int, bytes]:
    """What stands first in a stored event."""
    tag, at = _read_varint(encoded, 0)
    length, at = _read_varint(encoded, at)
    return tag >> 3, encoded[at : at + length]


def seq_of(encoded: bytes) -> int:
    """The seq of a stored event, which follows the payload."""
    _, at = _read_varint(encoded, 0)
    length, at = _read_varint(encoded, at)
    return _read_varint(encoded, at + length + 1)[0]


def event_bytes(session_id: str, row: EncodedEvent) -> bytes:
    """A row as a serialised `Event`."""
    return row.encoded


def watch_response_bytes(session_id: str, rows: Sequence[EncodedEvent]) -> bytes:
    """Rows as a serialised `WatchEventsResponse{events}`."""
    return watch_response(b"".join(framed(row.encoded) for row in rows))


def watch_response(frames: bytes) -> bytes:
    """Frames as a serialised `WatchEventsResponse{events}`."""
    return _LIST_TAG + _varint(len(frames)) + frames


def read_response(frames: bytes, rest: ReadEventsResponse) -> bytes:
    """Frames as a serialised `ReadEventsResponse`, whose events have their tag; `rest` is what it says beside them."""
    return frames + rest.SerializeToString()


def kinds_mask(kinds: Collection[int]) -> int:
    """A bit for each kind; those without one share bit 0, so a mask may promise too much and never too little."""
    mask = 0
    for kind in kinds:
        mask |= 1 << kind if 0 < kind <= _HIGHEST_BIT else 1
    return mask


def packed_messages(messages: Sequence[tuple[int, int]]) -> bytes:
    """(stream_seq, number of events) of each message, little-endian; nothing for a single one."""
    return b"" if len(messages) == 1 else array("q", [number for pair in messages for number in pair]).tobytes()


def unpacked_messages(packed: bytes, *, stream_seq: int, events: int) -> list[tuple[int, int]]:
    """What `packed_messages` was made of."""
    if not packed:
        return [(stream_seq, events)]
    numbers = array("q", packed)
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def compress(frames: bytes) -> bytes:
    """Frames as they are stored."""
    return _compressor.compress(frames)


def decompress(stored: bytes) -> bytes:
    """Frames from what is stored."""
    return _decompressor.decompress(stored)


@functools.cache
def _payload_tag(kind: int) -> bytes:
    return _varint((kind << 3) | _LENGTH_DELIMITED)


def _varint(value: int) -> bytes:
    if value < len(_SHORT):
        return _SHORT[value]
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _read_varint(source: bytes, at: int) -> tuple[int, int]:
    """The number at a place, and the place after it."""
    byte = source[at]
    value, shift = byte & 0x7F, 7
    while byte > 0x7F:
        at += 1
        byte = source[at]
        value |= (byte & 0x7F) << shift
        shift += 7
    return value, at + 1


_SHORT: list[bytes] = []
_SHORT += [bytes([value]) for value in range(0x80)]
_SHORT += [bytes([value & 0x7F | 0x80, value >> 7]) for value in range(0x80, 0x4000)]
