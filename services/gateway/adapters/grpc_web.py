r"""gRPC-Web on the wire (PROTOCOL-WEB.md of grpc/grpc): gRPC's frames in the body, the trailers as its last frame.

    request   0 length message                      one, or for an upload any number
    response  0 length message …  0x80 length "grpc-status: 0\r\n…"

`length` is four bytes, big-endian. An upload is the one thing browsers' clients have no word for: the frames of a whole
client stream are one request body, which a page may have the browser read from disk as it is sent.
"""

import base64
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any
from urllib.parse import quote

from runtime.grpc_server import MAX_MESSAGE_BYTES

CONTENT_TYPE = "application/grpc-web+proto"
CONTENT_TYPES = frozenset({CONTENT_TYPE, "application/grpc-web"})
Receive = Callable[[], Awaitable[Mapping[str, Any]]]

_HEAD = struct.Struct(">BI")
_TRAILERS = 0x80
_COMPRESSED = 0x01
# What a percent-encoded grpc-message may hold as it is: printable ASCII but for the percent sign.
_PRINTABLE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")
_UNITS_S = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_TIMEOUT_DIGITS = 8
# As good as none, and no clock overflows, seconds.
_LONGEST_S = 365 * 86400.0


class BadFrame(Exception):
    """The body of a request is not what it should be; the message says how. `too_large`: a message above the limit."""

    def __init__(self, message: str, *, too_large: bool = False) -> None:
        super().__init__(message)
        self.too_large = too_large


class ClientGone(Exception):
    """Whoever asked has closed the connection."""


class Body:
    """The body of a request."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._more = True

    async def messages(self) -> AsyncIterator[bytes]:
        """Its messages, as they come. Raises BadFrame, ClientGone."""
        buffer = bytearray()
        while self._more:
            buffer += await self._part()
            while len(buffer) >= _HEAD.size:
                flags, length = _HEAD.unpack_from(buffer)
                if flags & (_COMPRESSED | _TRAILERS):
                    raise BadFrame("compressed messages are not taken")
                if length > MAX_MESSAGE_BYTES:
                    raise BadFrame(f"a message of {length} bytes: the limit is {MAX_MESSAGE_BYTES}", too_large=True)
                if len(buffer) < _HEAD.size + length:
                    break
                yield bytes(buffer[_HEAD.size : _HEAD.size + length])
                del buffer[: _HEAD.size + length]
        if buffer:
            raise BadFrame("the body ends in the middle of a message")

    async def drain(self) -> None:
        """Take the rest off the wire: a browser that is still sending hears no answer. Raises ClientGone."""
        while self._more:
            await self._part()

    async def gone(self) -> None:
        """Wait until the browser has closed the connection; only after the whole body."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _part(self) -> bytes:
        part = await self._receive()
        if part["type"] == "http.disconnect":
            raise ClientGone
        self._more = part.get("more_body", False)
        content: bytes = part.get("body", b"")
        return content


def frame(message: bytes) -> bytes:
    """A message of a response."""
    return _HEAD.pack(0, len(message)) + message


def trailers(code: int, message: str, metadata: Iterable[tuple[str, str | bytes]] = ()) -> bytes:
    """The end of a response: its gRPC status, and what the service sent with it."""
    lines = [f"grpc-status: {code}"]
    if message:
        lines.append(f"grpc-message: {quote(message, safe=_PRINTABLE)}")
    for key, value in metadata:
        text = value if isinstance(value, str) else base64.b64encode(value).decode().rstrip("=")
        lines.append(f"{key.lower()}: {text}")
    block = "".join(f"{line}\r\n" for line in lines).encode()
    return _HEAD.pack(_TRAILERS, len(block)) + block


def timeout_s(header: str) -> float | None:
    """The deadline a `grpc-timeout` header asks for, seconds from now; None without one. Raises BadFrame."""
    if not header:
        return None
    digits, unit = header[:-1], header[-1]
    if unit not in _UNITS_S or not (digits.isascii() and digits.isdecimal()) or len(digits) > _TIMEOUT_DIGITS:
        raise BadFrame(f"no timeout: {header!r}")
    return min(int(digits) * _UNITS_S[unit], _LONGEST_S)
