"""The zygote and its children, as their worker sees them.

A worker has one Zygote for its whole life; the process behind it may die and is replaced at the next launch.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from milepost.child.v1.child_pb2 import FromZygote, Launch, Plan, ToChild, ZygoteReady
from sim_worker.gateways.child_process import Child, ChildLimits, open_streams

log = structlog.get_logger()

# Importing libsumo from a cold disk.
START_TIMEOUT_S: Final = 60.0
# A fork takes milliseconds; a machine that swaps takes longer.
LAUNCH_TIMEOUT_S: Final = 30.0
# How long the process may take to leave, and to take its children with it.
CLOSE_TIMEOUT_S: Final = 10.0
# Between two looks at the memory of all children.
MEMORY_PERIOD_S: Final = 0.5
_SEND_RETRY_S: Final = 0.01
_PACKET_BYTES: Final = 64 * 1024

# One code path of libm on every processor (sumo.md, "libm"); one thread, or a fork would copy a part of a process.
_ENVIRONMENT: Final = {
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "LC_ALL": "C.UTF-8",
    "PYTHONDONTWRITEBYTECODE": "1",
}
# Passed on; nothing else is, least of all a credential.
# MILEPOST_MARK is for operators who want to find all processes of one installation.
_PASSED_ON: Final = (
    *("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "SUMO_HOME"),
    *("MILEPOST_SUMO_BINARY", "MILEPOST_MARK"),
)


@dataclass(eq=False)
class ZygoteFailed(Exception):
    """The process that forks sessions did not start, or died while it should have forked one."""

    message: str

    def __str__(self) -> str:
        return self.message


class Zygote:
    """Launches children. Make it with `start`, before any gRPC channel exists."""

    def __init__(self, process: "_ZygoteProcess") -> None:
        self._process = process
        self._replacing = asyncio.Lock()

    @classmethod
    async def start(cls) -> "Zygote":
        """Returns when it can fork. Raises ZygoteFailed."""
        return cls(await _ZygoteProcess.start())

    @property
    def ready(self) -> ZygoteReady:
        """What it has found on this machine."""
        return self._process.ready

    @property
    def pid(self) -> int:
        """Process id of the present process."""
        return self._process.pid

    async def launch(self, plan: Plan, directory: Path, limits: ChildLimits) -> Child:
        """Fork a child that runs `plan` in `directory`. Raises ZygoteFailed."""
        async with self._replacing:
            if self._process.lost:
                log.warning("zygote lost, starting another", pid=self._process.pid)
                await self._process.close()
                self._process = await _ZygoteProcess.start()
        child = await self._process.launch(directory, limits)
        await child.send(ToChild(plan=plan))
        return child

    async def close(self) -> None:
        """End it and every child."""
        await self._process.close()


@dataclass(slots=True)
class _Launched:
    """A process that was asked for: its descriptor and pid when forked, its code when gone."""

    forked: asyncio.Future[tuple[int, int | None]]
    exit_code: asyncio.Future[int]
    child: Child | None = None


class _ZygoteProcess:
    """One process, from exec to exit."""

    def __init__(self, process: asyncio.subprocess.Process, ours: socket.socket, ready: ZygoteReady) -> None:
        self.ready = ready
        self.pid = process.pid
        self.lost = False
        self._process = process
        self._socket = ours
        self._launches = 0
        self._launched: dict[int, _Launched] = {}
        self._tasks = [
            asyncio.create_task(self._listen(), name="zygote"),
            asyncio.create_task(self._watch_memory(), name="memory of children"),
        ]

    @classmethod
    async def start(cls) -> "_ZygoteProcess":
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(0.0)
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "sim_worker.child.zygote", str(theirs.fileno())),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env=_ENVIRONMENT | {name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            )
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                packet = await asyncio.get_running_loop().sock_recv(ours, _PACKET_BYTES)
        except TimeoutError:
            packet = b""
        if not packet:
            ours.close()
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            raise ZygoteFailed(f"the zygote did not start and left with {await process.wait()}")
        return cls(process, ours, FromZygote.FromString(packet).ready)

    async def launch(self, directory: Path, limits: ChildLimits) -> Child:
        loop = asyncio.get_running_loop()
        self._launches += 1
        launch_id = self._launches
        launched = self._launched[launch_id] = _Launched(loop.create_future(), loop.create_future())
        ours, theirs = socket.socketpair()
        directory_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        process_fd: int | None = None
        try:
            async with asyncio.timeout(LAUNCH_TIMEOUT_S):
                await self._send(Launch(launch_id=launch_id), [directory_fd, theirs.fileno()])
                pid, process_fd = await launched.forked
            streams = await open_streams(ours)
        except BaseException as error:
            # A child that was forked all the same finds nobody at its stream, and leaves.
            ours.close()
            if process_fd is not None:
                os.close(process_fd)
            if isinstance(error, (TimeoutError, OSError)):
                raise ZygoteFailed(f"no process was forked: {error!r}") from error
            raise
        finally:
            theirs.close()
            os.close(directory_fd)
        launched.child = Child(
            pid=pid, process_fd=process_fd, streams=streams, exit_code=launched.exit_code, limits=limits
        )
        return launched.child

    async def close(self) -> None:
        self._socket.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._lose_children()

    async def _send(self, message: Launch, descriptors: list[int]) -> None:
        while True:
            try:
                socket.send_fds(self._socket, [message.SerializeToString()], descriptors)
                return
            except BlockingIOError:
                await asyncio.sleep(_SEND_RETRY_S)

    async def _listen(self) -> None:
        """Take its messages until it is gone."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while packet := await loop.sock_recv(self._socket, _PACKET_BYTES):
                self._hear(FromZygote.FromString(packet))
        self.lost = True
        await self._lose_children()

    def _hear(self, message: FromZygote) -> None:
        match message.WhichOneof("message"):
            case "forked":
                launched = self._launched[message.forked.launch_id]
                if not launched.forked.done():
                    pid = message.forked.pid
                    launched.forked.set_result((pid, _open_process(pid)))
            case "exited":
                launched = self._launched.pop(message.exited.launch_id)
                launched.exit_code.set_result(message.exited.exit_code)

    async def _lose_children(self) -> None:
        """The kernel kills the children of a zygote that is gone."""
        launched, self._launched = self._launched, {}
        for one in launched.values():
            if not one.forked.done():
                one.forked.set_exception(ZygoteFailed("the zygote died"))
            if one.child is not None:
                one.child.lost_with_zygote()
            one.exit_code.set_result(-signal.SIGKILL)

    async def _watch_memory(self) -> None:
        while True:
            await asyncio.sleep(MEMORY_PERIOD_S)
            for launched in list(self._launched.values()):
                if launched.child is not None:
                    launched.child.kill_if_too_large()


def _open_process(pid: int) -> int | None:
    """A descriptor of the process; None when it is gone already."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None
