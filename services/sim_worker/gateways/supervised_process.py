"""A process that a zygote forked, or adopted, and that a worker can end for certain."""

import asyncio
import contextlib
import enum
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass


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


class SupervisedProcess:
    """One process up to its reaping, which `exit_code` tells."""

    def __init__(self, *, pid: int, process_fd: int | None, exit_code: asyncio.Future[int]) -> None:
        self.pid = pid
        self._process_fd = process_fd
        self._exit_code = exit_code
        self._cause: ExitCause | None = None
        exit_code.add_done_callback(self._release)

    @property
    def gone(self) -> bool:
        """Whether it is reaped."""
        return self._exit_code.done()

    def on_exit(self, act: Callable[[], None]) -> None:
        """Have it done once the process is reaped."""
        self._exit_code.add_done_callback(lambda _: act())

    def kill(self, cause: ExitCause) -> None:
        """End it at once, whatever it is doing, and with it what it started. The first cause counts."""
        if self._exit_code.done() or self._process_fd is None:
            return
        self._cause = self._cause or cause
        # The descriptor names this very process: its number may be another's by now.
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._process_fd, signal.SIGKILL)

    async def exited(self) -> ChildExit:
        """How it ended, once it is gone."""
        return ChildExit(await asyncio.shield(self._exit_code), self._cause)

    def _release(self, _: asyncio.Future[int]) -> None:
        if self._process_fd is not None:
            os.close(self._process_fd)
            self._process_fd = None


def open_process(pid: int) -> int | None:
    """A descriptor of the process; None when it is gone already."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None
