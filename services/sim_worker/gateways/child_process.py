"""The process that runs SUMO for one session, as its worker sees it."""

import asyncio
import contextlib
import enum
import os
import signal
import socket
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import Message

from milepost.child.v1.child_pb2 import Durable, FrameRate, FromChild, Stop, ToChild
from sim_worker.child.framing import HEADER, body_length, framed
from sim_worker.gateways.process_memory import exceeds

# What is read ahead of `messages()`; beyond it the child waits.
_READ_AHEAD_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class ChildLimits:
    """What a child may take before it is killed."""

    init_timeout_s: float = 120.0
    """From launch to Started."""
    stall_timeout_s: float = 300.0
    """From one message to the next: a step that takes longer."""
    memory_limit_bytes: int = 4 * 1024**3
    """Of the child and what it started, shared pages in proportion."""
    stop_grace_s: float = 2.0
    """From Stop to the kill."""


class ExitCause(enum.Enum):
    """Why the worker ended a child; a child that ended by itself has none."""

    INIT_TIMEOUT = enum.auto()
    STALLED = enum.auto()
    MEMORY_LIMIT = enum.auto()
    KILLED = enum.auto()
    ZYGOTE_LOST = enum.auto()


@dataclass(frozen=True, slots=True)
class ChildExit:
    """How it ended; a negative code is the signal that ended it."""

    exit_code: int
    cause: ExitCause | None


class Child:
    """One process from its fork to its reaping. Made by Zygote.launch."""

    def __init__(
        self,
        *,
        pid: int,
        process_fd: int | None,
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        exit_code: asyncio.Future[int],
        limits: ChildLimits,
    ) -> None:
        self.pid = pid
        self._process_fd = process_fd
        self._reader, self._writer = streams
        self._exit_code = exit_code
        self._limits = limits
        self._cause: ExitCause | None = None
        exit_code.add_done_callback(self._release)

    async def messages(self) -> AsyncGenerator[FromChild, None]:
        """Everything it says, until it is gone; kills it when it is silent for too long while listened to."""
        patience_s, cause = self._limits.init_timeout_s, ExitCause.INIT_TIMEOUT
        try:
            while True:
                async with asyncio.timeout(patience_s):
                    header = await self._reader.readexactly(HEADER.size)
                    body = await self._reader.readexactly(body_length(header))
                message = FromChild.FromString(body)
                if message.HasField("started"):
                    patience_s, cause = self._limits.stall_timeout_s, ExitCause.STALLED
                yield message
        except TimeoutError:
            self.kill(cause)
        except (asyncio.IncompleteReadError, OSError):
            return
        finally:
            # The child waits for this before it leaves.
            self._writer.close()

    async def durable(self, intervals: int) -> None:
        """Tell how many intervals, from the first, are in the log."""
        await self.send(ToChild(durable=Durable(intervals=intervals)))

    async def frame_rate(self, max_hz: float) -> None:
        """Ask for frames, at most so many a second of wall time; 0 ends them."""
        await self.send(ToChild(frame_rate=FrameRate(max_hz=max_hz)))

    async def stop(self) -> None:
        """Ask it to end at the next step boundary; kill it when it does not. Somebody else reads its messages."""
        await self.send(ToChild(stop=Stop()))
        try:
            async with asyncio.timeout(self._limits.stop_grace_s):
                await self.exited()
        except TimeoutError:
            self.kill()
            await self.exited()

    def kill(self, cause: ExitCause = ExitCause.KILLED) -> None:
        """End it at once, whatever it is doing, and with it what it started. The first cause counts."""
        if self._exit_code.done() or self._process_fd is None:
            return
        self._cause = self._cause or cause
        # The descriptor names this very process: its number may be another's by now.
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._process_fd, signal.SIGKILL)

    def close(self) -> None:
        """Let go of its stream. What it said and nobody has read is lost, so not before its messages were taken."""
        self._writer.close()

    def kill_if_too_large(self) -> None:
        """Kill it when it takes more memory than it may."""
        if exceeds(self.pid, self._limits.memory_limit_bytes):
            self.kill(ExitCause.MEMORY_LIMIT)

    async def exited(self) -> ChildExit:
        """How it ended, once it is gone."""
        return ChildExit(await asyncio.shield(self._exit_code), self._cause)

    async def send(self, message: Message) -> None:
        """Send one message; a child that is gone is reported by `exited`, not here."""
        with contextlib.suppress(OSError):
            self._writer.write(framed(message))
            await self._writer.drain()

    def lost_with_zygote(self) -> None:
        """Its parent is gone: the kernel kills it, and nobody will tell its exit code."""
        self.kill(ExitCause.ZYGOTE_LOST)

    def _release(self, _: asyncio.Future[int]) -> None:
        if self._process_fd is not None:
            os.close(self._process_fd)
            self._process_fd = None


async def open_streams(ours: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Streams over the worker's end of a socket pair, which they own from then on."""
    return await asyncio.open_connection(sock=ours, limit=_READ_AHEAD_BYTES)
