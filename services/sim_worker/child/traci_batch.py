"""Many TraCI questions in one message. The traci package asks one by one, a round trip each.

question   length (u8, or 0 and i32) | domain's command (u8) | variable (u8) | id (i32 length, text)
answer     length (u8) | command | status (u8) | text, then length | response | variable | id | type (u8) | value
"""

import struct
from collections.abc import Sequence
from typing import Final

import traci.constants as tc
from traci.connection import Connection
from traci.exceptions import FatalTraCIError

_VALUES: Final = {tc.POSITION_2D: struct.Struct("!dd"), tc.TYPE_DOUBLE: struct.Struct("!d")}
_LENGTH: Final = struct.Struct("!i")
_SHORT_MAX: Final = 255


class BatchConnection(Connection):  # type: ignore[misc] # the package has no types
    """A Connection that can also ask for numbers of many objects at once."""

    def numbers(self, command: int, variables: Sequence[int], ids: Sequence[str]) -> list[float]:
        """The variables of each object, one object after the other. Raises FatalTraCIError."""
        if not ids:
            return []
        names = [name.encode() for name in ids]
        questions = b"".join(_question(command, variable, name) for name in names for variable in variables)
        self._socket.sendall(_LENGTH.pack(_LENGTH.size + len(questions)) + questions)
        answers = self._received(_LENGTH.unpack(self._received(_LENGTH.size))[0] - _LENGTH.size)
        numbers: list[float] = []
        offset = 0
        for name in names:
            for _ in variables:
                offset = _read(answers, offset, len(name), numbers)
        return numbers

    def _received(self, size: int) -> bytes:
        received = bytearray(size)
        rest = memoryview(received)
        while rest:
            count = self._socket.recv_into(rest)
            if not count:
                raise FatalTraCIError("Connection closed by SUMO.")
            rest = rest[count:]
        return bytes(received)


def _question(command: int, variable: int, name: bytes) -> bytes:
    length = 1 + 1 + 1 + _LENGTH.size + len(name)
    head = bytes((length, command)) if length <= _SHORT_MAX else b"\0" + _LENGTH.pack(length + 4) + bytes((command,))
    return head + bytes((variable,)) + _LENGTH.pack(len(name)) + name


def _read(answers: bytes, offset: int, name_length: int, numbers: list[float]) -> int:
    """Append the value of the answer at `offset`; the offset behind it."""
    if answers[offset + 2] != tc.RTYPE_OK:
        raise FatalTraCIError(f"SUMO refused a question: {answers[offset + 7 : offset + answers[offset]].decode()}")
    offset += answers[offset]
    # Length in its short or long form, response, variable, length of the id, id.
    offset += (1 if answers[offset] else 5) + 2 + _LENGTH.size + name_length
    value = _VALUES[answers[offset]]
    numbers += value.unpack_from(answers, offset + 1)
    return offset + 1 + value.size
