"""The child's end of the stream to its worker, and of the packet socket on which it hands over its copies."""

import select
import socket
import time
from collections.abc import Sequence
from typing import Final

from milepost.child.v1.child_pb2 import FromChild, SnapshotTaken, ToChild
from sim_worker.child.framing import HEADER, body_length, framed

# How long the worker may be silent before a child leaves that has said everything, seconds.
LEAVE_TIMEOUT_S: Final = 30.0
_READ_BYTES: Final = 64 * 1024


class WorkerGone(Exception):
    """Nobody is at the other end: there is nothing left to do."""


class WorkerLink:
    """Sends and blocks while the worker does not read; receives without blocking when asked to."""

    def __init__(self, stream: socket.socket, packets: socket.socket) -> None:
        self._open(stream, packets)

    def send(self, message: FromChild) -> None:
        """Returns when the kernel has it. Raises WorkerGone."""
        try:
            self._stream.sendall(framed(message))
        except OSError as error:
            raise WorkerGone from error

    def hand_over(self, taken: SnapshotTaken, ends: Sequence[socket.socket]) -> None:
        """Give the worker its ends of a copy's sockets. Raises WorkerGone."""
        try:
            socket.send_fds(self._packets, [taken.SerializeToString()], [end.fileno() for end in ends])
        except OSError as error:
            raise WorkerGone from error

    def receive_descriptor(self) -> int:
        """The descriptor that was sent before the message at hand. Raises WorkerGone."""
        try:
            _, descriptors, _, _ = socket.recv_fds(self._packets, _READ_BYTES, 1)
        except OSError as error:
            raise WorkerGone from error
        if not descriptors:
            raise WorkerGone
        return descriptors[0]

    def move_to(self, stream: socket.socket, packets: socket.socket) -> None:
        """Speak to the worker through other sockets from now on; what came through the present ones is forgotten."""
        self.close()
        self._open(stream, packets)

    def close(self) -> None:
        """Let go of the worker; a copy of this process may hold on to it."""
        self._stream.close()
        self._packets.close()

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

    def receive_first(self, *, wait_s: float) -> ToChild:
        """The first message of all, however many reads it takes; others that came with it stay. Raises WorkerGone."""
        until = time.monotonic() + wait_s
        while not (messages := self.receive(wait_s=max(0.0, until - time.monotonic()))):
            if time.monotonic() >= until:
                raise WorkerGone
        self._ahead = messages[1:]
        return messages[0]

    def receive(self, *, wait_s: float | None = 0.0) -> list[ToChild]:
        """What has arrived, waiting at most `wait_s` (None: for ever) for something to arrive. Raises WorkerGone."""
        if self._ahead:
            ahead, self._ahead = self._ahead, []
            return ahead
        if self._poll.poll(None if wait_s is None else wait_s * 1000):
            try:
                read = self._stream.recv(_READ_BYTES)
            except OSError as error:
                raise WorkerGone from error
            if not read:
                raise WorkerGone
            self._received += read
            return self._complete()
        return []

    def _open(self, stream: socket.socket, packets: socket.socket) -> None:
        self._stream, self._packets = stream, packets
        self._received = bytearray()
        self._ahead = []
        self._poll = select.poll()
        self._poll.register(stream, select.POLLIN)

    def _complete(self) -> list[ToChild]:
        messages = []
        while len(self._received) >= HEADER.size:
            end = HEADER.size + body_length(bytes(self._received[: HEADER.size]))
            if len(self._received) < end:
                break
            messages.append(ToChild.FromString(bytes(self._received[HEADER.size : end])))
            del self._received[:end]
        return messages
