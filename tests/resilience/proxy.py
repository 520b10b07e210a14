"""A TCP proxy that stands between watchers and a store, and misbehaves on demand.

    watcher ──► Proxy ──► store            stall: bytes stay where they are, connections stay open
                                           freeze: so for ever, and new connections flow
                                           mute: what the store says is lost
                                           drop: every connection is closed; reset: torn down
                                           slow: so many bytes a second

It goes to wherever `target` points: a store that is started again may serve somewhere else.
"""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator

_PIECE_BYTES = 16 * 1024
# Of a slow connection: what passes at a time, bytes.
_SLOW_PIECE_BYTES = 256


class Proxy:
    """One listening address. `address` stays the same."""

    def __init__(self) -> None:
        self.address = ""
        self.target = ""
        self._bytes_per_s: float | None = None
        self._muted = False
        # Of the connections of now, and of those that were frozen.
        self._flowing = _open_gate()
        self._frozen: list[asyncio.Event] = []
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()

    def stall(self) -> None:
        """From now on nothing passes, either way; new connections are taken and lead nowhere."""
        self._flowing.clear()

    def freeze(self) -> None:
        """From now on nothing passes over the connections that are there, though they stay open; new ones are fine."""
        self._flowing.clear()
        self._frozen.append(self._flowing)
        self._flowing = _open_gate()

    def slow(self, bytes_per_s: float) -> None:
        """From now on so much passes, of each connection, each way."""
        self._bytes_per_s = bytes_per_s

    def mute(self) -> None:
        """From now on what comes from the target is lost; what goes there passes."""
        self._muted = True

    def heal(self) -> None:
        """What was held goes on."""
        self._muted = False
        self._bytes_per_s = None
        self._flowing.set()

    def drop(self) -> None:
        """Close every connection as if its end had."""
        for writer in self._writers:
            writer.close()

    def reset(self) -> None:
        """Tear every connection down: what was on its way is lost."""
        for writer in self._writers:
            # Closed already, perhaps.
            with contextlib.suppress(OSError):
                lingering = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, lingering)
            writer.transport.abort()

    @contextlib.asynccontextmanager
    async def listening(self, encrypting: ssl.SSLContext | None = None) -> AsyncIterator["Proxy"]:
        """Serve while the body runs; over TLS when told how, and on to the target without."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=_PIECE_BYTES, ssl=encrypting)
        self.address = "{}:{}".format(*server.sockets[0].getsockname())
        try:
            yield self
        finally:
            server.close()
            self.heal()
            for gate in self._frozen:
                gate.set()
            self.reset()
            await asyncio.gather(*self._serving, return_exceptions=True)
            await server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = {writer}
        gate = self._flowing
        self._writers.add(writer)
        try:
            host, _, port = self.target.rpartition(":")
            with contextlib.suppress(OSError):
                there_reader, there_writer = await asyncio.open_connection(host, int(port), limit=_PIECE_BYTES)
                ends.add(there_writer)
                self._writers.add(there_writer)
                pumps = [self._pump(reader, there_writer, gate), self._pump(there_reader, writer, gate, answers=True)]
                tasks = [asyncio.create_task(pump) for pump in pumps]
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            for end in ends:
                self._writers.discard(end)
                end.close()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gate: asyncio.Event, *, answers: bool = False
    ) -> None:
        """Until one end is gone."""
        with contextlib.suppress(OSError):
            while piece := await reader.read(_SLOW_PIECE_BYTES if self._bytes_per_s else _PIECE_BYTES):
                await gate.wait()
                if answers and self._muted:
                    continue
                if self._bytes_per_s:
                    await asyncio.sleep(len(piece) / self._bytes_per_s)
                writer.write(piece)
                await writer.drain()


def _open_gate() -> asyncio.Event:
    gate = asyncio.Event()
    gate.set()
    return gate
