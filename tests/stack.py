"""A running Milepost for tests: `milepost up` in a folder of the test's own, with a connected client.

    async with running_stack(tmp_path / "stack", workers=2) as stack:
        session = await stack.client.sessions.create_demo(seed=1)

Ends with the proof that it left nothing: no process, no session directory, no ready file.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest

from milepost.client import Milepost

# Three services import their libraries at once, on two cores that other tests use, too.
START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 60.0
RESTART_TIMEOUT_S = 60.0
# In the environment of every process of a stack.
_MARK = "MILEPOST_MARK"
_LOG_LINES = 20


class RunningStack:
    """A stack that serves. `client` is connected to it; `mark` is in the environment of all its processes."""

    def __init__(self, folder: Path, process: asyncio.subprocess.Process, mark: str) -> None:
        self.folder = folder
        self.process = process
        self.ready_file = folder / "ready.json"
        self.client: Milepost
        self._mark = f"{_MARK}={mark}".encode()
        self._death = asyncio.create_task(process.wait())

    @property
    def ready(self) -> dict:
        """What the ready file says now."""
        return json.loads(self.ready_file.read_text())

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by name: `nats`, `event_store`, `session_api`, `worker-1` …"""
        return self.ready["pids"]

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Kill a child by its name; the pid it had, for `restarted`."""
        pid = self.pids[name]
        os.kill(pid, number)
        return pid

    async def restarted(self, name: str, old_pid: int) -> int:
        """Wait until a child serves again with another pid; that pid."""
        await self.until(lambda: self.pids[name] != old_pid, RESTART_TIMEOUT_S)
        return self.pids[name]

    async def until(self, condition: Callable[[], bool], timeout_s: float) -> None:
        """Wait until a condition holds. Fails when it does not in time, or when the stack dies meanwhile."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                await asyncio.wait({self._death}, timeout=0.02)
                assert not self._death.done() or condition(), f"milepost up died:\n{self.logs()}"

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End `milepost up` with a signal; its exit code."""
        if not self._death.done():
            self.process.send_signal(number)
        return await asyncio.wait_for(asyncio.shield(self._death), STOP_TIMEOUT_S)

    def processes(self) -> dict[int, str]:
        """All living processes of this stack, grandchildren included, with their command lines."""
        found = {}
        for entry in Path("/proc").iterdir():
            # A process may go while it is looked at; one that is dead and not yet collected has no environment.
            with contextlib.suppress(OSError):
                if entry.name.isdecimal() and self._mark in (entry / "environ").read_bytes().split(b"\0"):
                    found[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
        return found

    async def gone(self) -> None:
        """Wait until no process is left."""
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                for pid in self.processes():
                    with contextlib.suppress(ProcessLookupError):
                        await _death_of(pid)
        except TimeoutError:
            pass
        assert not self.processes(), f"left behind: {self.processes()}"

    def session_directories(self) -> list[Path]:
        """What is left of sessions on the workers' disks."""
        return sorted((self.folder / "data" / "workers").glob("*/sessions/*"))

    def logs(self) -> str:
        """The last lines of every process."""
        lines = [(self.folder / "up.log").read_text()]
        for log in sorted((self.folder / "data" / "logs").glob("*.log")):
            tail = log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
            lines.append("\n".join([f"--- {log.name}", *tail]))
        return "\n".join(lines)


@contextlib.asynccontextmanager
async def running_stack(
    folder: Path,
    *,
    workers: int = 1,
    slots: int | None = None,
    port: int = 0,
    gateway: bool = False,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[RunningStack]:
    """A stack that keeps its data in `folder`; one after another may use the same folder."""
    folder.mkdir(parents=True, exist_ok=True)
    # What a killed life left says nothing about this one.
    (folder / "ready.json").unlink(missing_ok=True)
    mark = uuid.uuid4().hex
    command = [sys.executable, "-m", "milepost", "up", "--data-dir", str(folder / "data")]
    command += ["--ready-file", str(folder / "ready.json"), "--workers", str(workers), "--port", str(port)]
    # A process that few tests have a use for.
    command += ["--gateway" if gateway else "--no-gateway"]
    command += [] if slots is None else ["--slots", str(slots)]
    with (folder / "up.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **(environment or {}), _MARK: mark},
        )
    stack = RunningStack(folder, process, mark)
    try:
        await stack.until(stack.ready_file.exists, START_TIMEOUT_S)
        async with Milepost.connect(stack.ready["session_api"], stack.ready["event_store"]) as client:
            stack.client = client
            yield stack
        exit_code = await stack.stop()
        await stack.gone()
        if exit_code >= 0:
            assert exit_code == 0, stack.logs()
            assert not stack.ready_file.exists()
            assert stack.session_directories() == []
    finally:
        if process.returncode is None:
            # The test failed: whatever runs dies with `milepost up`.
            process.kill()
            await process.wait()


async def start_milepost(*arguments: str | Path, environment: dict[str, str]) -> asyncio.subprocess.Process:
    """The command line as a process."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "milepost",
        *map(str, arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[RunningStack]:
    """A stack with one worker, for one test."""
    async with running_stack(tmp_path / "stack") as running:
        yield running


async def _death_of(pid: int) -> None:
    """Wait until a process that is no child of ours has died."""
    descriptor = os.pidfd_open(pid)
    died = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, died.set)
    try:
        await died.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
