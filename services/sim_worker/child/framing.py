"""Messages on a stream socket: their length (4 bytes, little endian), then their bytes."""

import struct
from typing import Final

from google.protobuf.message import Message

# Begins the name of a copy that was made on schedule; its step follows.
UNASKED: Final = "every-"
# The name of the copy that stays after the end.
LINGERING: Final = "lingering"
HEADER: Final = struct.Struct("<I")
# A frame of the most vehicles that are sent takes 1 MiB; the plan of a scenario of 2,000 files less.
MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024


def framed(message: Message) -> bytes:
    """The bytes of a message with its length in front."""
    body = message.SerializeToString()
    return HEADER.pack(len(body)) + body


def body_length(header: bytes) -> int:
    """The length that `HEADER.size` bytes announce. Raises ValueError when it is beyond the limit."""
    (length,) = HEADER.unpack(header)
    if length > MAX_MESSAGE_BYTES:
        raise ValueError(f"a message of {length} bytes was announced")
    return int(length)
