"""The child's end of the stream to its worker."""

import select
import socket
from typing import Final

from milepost.child.v1.child_pb2 import FromChild, ToChild
from sim_worker.child.framing import HEADER, body_length, framed

# How long the worker may be silent before a child leaves that has said everything, seconds.
LEAVE_TIMEOUT_S: Final = 30.0
_READ_BYTES: Final = 64 * 1024


class WorkerGone(Exception):
    """Nobody is at the other end: there is nothing left to do."""


class WorkerLink:
    """Sends and blocks while the worker does not read; receives without blocking when asked to."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._received = bytearray()
        self._poll = select.poll()
        self._poll.register(stream, select.POLLIN)

    def send(self, message: FromChild) -> None:
        """Returns when the kernel has it. Raises WorkerGone."""
        try:
            self._stream.sendall(framed(message))
        except OSError as error:
            raise WorkerGone from error

    def leave(self) -> None:
        """Say that nothing follows, and wait until the worker has read everything and closed its end.

        A process that just left would make the worker's next write fail, and with it the stream whose last
        messages it has not read yet.
        """
        try:
            self._stream.shutdown(socket.SHUT_WR)
            while self._poll.poll(LEAVE_TIMEOUT_S * 1000) and self._stream.recv(_READ_BYTES):
                pass
        except OSError:
            return

    def receive(self, *, wait_s: float = 0.0) -> list[ToChild]:
        """What has arrived, waiting at most `wait_s` for something to arrive. Raises WorkerGone."""
        if self._poll.poll(wait_s * 1000):
            try:
                read = self._stream.recv(_READ_BYTES)
            except OSError as error:
                raise WorkerGone from error
            if not read:
                raise WorkerGone
            self._received += read
            return self._complete()
        return []

    def _complete(self) -> list[ToChild]:
        messages = []
        while len(self._received) >= HEADER.size:
            end = HEADER.size + body_length(bytes(self._received[: HEADER.size]))
            if len(self._received) < end:
                break
            messages.append(ToChild.FromString(bytes(self._received[HEADER.size : end])))
            del self._received[:end]
        return messages
