"""One child process that is kept alive: started, watched, started again, stopped.

    starting --probe answers--> serving --dies--> waiting (backoff) --> starting …
        any of these --stop()--> stopped

The kernel kills a child when this process is gone, however it went; SIGKILL included. That is bound to the
*thread* that starts the child, so children are kept from the main thread's event loop.
"""

import asyncio
import ctypes
import os
import shutil
import signal
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)

# How often a starting child is asked whether it serves, seconds.
_PROBE_INTERVAL_S = 0.02
# Waits before a child that died is started again, seconds; the first is short because clients are waiting.
_FIRST_BACKOFF_S = 0.1
_LONGEST_BACKOFF_S = 5.0
# A child that served this long starts over with the first backoff, seconds.
_STEADY_S = 10.0
# A child that dies this often before it has ever served never will.
_HOPELESS_STARTS = 3
# Size at which a log is set aside as `<name>.log.1` (replacing the last one), bytes.
_LOG_BYTES = 32 * 1024 * 1024
# Lines of its log that a child's failure quotes.
_LAST_LINES = 15


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """What to start. `serves` gets the child's pid and tells whether it serves."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path
    serves: Callable[[int], Awaitable[bool]]
    stop_timeout_s: float


class ChildHopeless(RuntimeError):
    """A child died again and again before it ever served; the message quotes its log."""

    def __init__(self, name: str, exit_code: int, last_lines: str) -> None:
        super().__init__(f"{name} does not start (exit code {exit_code}):\n{last_lines}")
        self.name = name
        self.exit_code = exit_code


class Child:
    """A child process and its successors. `pid` is that of the one that serves, None while none does."""

    def __init__(self, spec: ChildSpec, *, changed: Callable[[], None]) -> None:
        self.spec = spec
        self.pid: int | None = None
        self._changed = changed
        self._stopping = asyncio.Event()
        self._gone = asyncio.Event()

    async def keep_alive(self) -> None:
        """Run the child until `stop`, again whenever it dies. Raises ChildHopeless. Calls `changed` with `pid`."""
        loop = asyncio.get_running_loop()
        backoff_s, ever_served, failed_starts = _FIRST_BACKOFF_S, False, 0
        try:
            while not self._stopping.is_set():
                started = loop.time()
                exit_code = await self._run_once()
                ever_served = ever_served or self.pid is not None
                failed_starts = 0 if self.pid is not None else failed_starts + 1
                self.pid = None
                if self._stopping.is_set():
                    return
                if not ever_served and failed_starts >= _HOPELESS_STARTS:
                    raise ChildHopeless(self.spec.name, exit_code, _last_lines(self.spec.log))
                if loop.time() - started > _STEADY_S:
                    backoff_s = _FIRST_BACKOFF_S
                await self._pause(backoff_s)
                backoff_s = min(backoff_s * 2, _LONGEST_BACKOFF_S)
        finally:
            self._gone.set()

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL when the child takes longer than `stop_timeout_s`. Returns when it is gone."""
        self._stopping.set()
        await self._gone.wait()

    def restart(self) -> None:
        """Have the process that serves end, and so another begin. Nothing while none serves."""
        if self.pid is not None:
            # It is not reaped before `keep_alive` looks, so the number is still its own.
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    async def _pause(self, pause_s: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), pause_s)

    async def _run_once(self) -> int:
        """Start the child and wait until it has died; its exit code."""
        _set_aside(self.spec.log)
        with self.spec.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *self.spec.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(self.spec.environment),
                # A Ctrl-C at the terminal is for this process alone, which stops its children in order.
                start_new_session=True,
                preexec_fn=_die_with(os.getpid()),
            )
        death = asyncio.create_task(process.wait(), name=f"{self.spec.name} {process.pid}")
        stop = asyncio.create_task(self._stopping.wait(), name=f"stop of {self.spec.name}")
        try:
            while self.pid is None and not death.done() and not stop.done():
                if await self.spec.serves(process.pid):
                    self.pid = process.pid
                    self._changed()
                else:
                    await asyncio.wait({death, stop}, timeout=_PROBE_INTERVAL_S, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({death, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not death.done():
                _signal(process, signal.SIGTERM)
                await asyncio.wait({death}, timeout=self.spec.stop_timeout_s)
            if not death.done():
                _signal(process, signal.SIGKILL)
            return await death
        finally:
            stop.cancel()
            if not death.done():
                _signal(process, signal.SIGKILL)
                await death


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    # It may have died since anybody looked.
    with suppress(ProcessLookupError):
        process.send_signal(number)


def bound_log(spec: ChildSpec) -> None:
    """Keep a running child's log bounded. It appends, so a truncated file goes on from its new end."""
    if spec.log.exists() and spec.log.stat().st_size > _LOG_BYTES:
        shutil.copyfile(spec.log, spec.log.with_suffix(".log.1"))
        os.truncate(spec.log, 0)


def _set_aside(log: Path) -> None:
    if log.exists() and log.stat().st_size > _LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))


def _die_with(parent: int) -> Callable[[], None]:
    def ask_kernel() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        # The parent may have died before the kernel was asked.
        if os.getppid() != parent:
            os._exit(1)

    return ask_kernel


def _last_lines(log: Path) -> str:
    with log.open(errors="replace") as file:
        return "".join(deque(file, maxlen=_LAST_LINES)).rstrip()
