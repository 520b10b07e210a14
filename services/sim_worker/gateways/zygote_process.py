"""One zygote process, from exec to exit, and everything it forked."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from milepost.child.v1.child_pb2 import Adopt, FromZygote, Launch, SnapshotTaken, ToZygote, ZygoteReady
from sim_worker.gateways.allocator import preload
from sim_worker.gateways.child_process import Child, ChildLimits, open_streams
from sim_worker.gateways.snapshot import Snapshot
from sim_worker.gateways.supervised_process import ExitCause, SupervisedProcess, open_process

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

# One code path of libm on every processor (sumo.md, "libm"), while what copies and compares memory may use all that
# the processor has; one thread, or a fork would copy a part of a process.
_ENVIRONMENT: Final = {
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-FMA,-FMA4",
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


@dataclass(slots=True)
class _Launched:
    """A process that was asked for: its pid when forked, its code when gone, its child while it is one."""

    forked: asyncio.Future[int]
    exit_code: asyncio.Future[int]
    process: SupervisedProcess | None = None
    child: Child | None = None

    def supervise(self, child: Child) -> None:
        """Watch the memory of a child that this process has become."""
        self.child = child


class ZygoteProcess:
    """One process, from exec to exit."""

    def __init__(self, process: asyncio.subprocess.Process, ours: socket.socket, ready: ZygoteReady) -> None:
        self.ready = ready
        self.pid = process.pid
        self.lost = False
        self._process = process
        self._socket = ours
        self._loop = asyncio.get_running_loop()
        self._launches = 0
        self._launched: dict[int, _Launched] = {}
        self._tasks = [
            asyncio.create_task(self._listen(), name="zygote"),
            asyncio.create_task(self._watch_memory(), name="memory of children"),
        ]

    @classmethod
    async def start(cls, allocator: str) -> "ZygoteProcess":
        """Returns when it can fork; `allocator` as in `allocator.preload`. Raises ZygoteFailed."""
        environment = {**_ENVIRONMENT, **await asyncio.to_thread(preload, allocator)}
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(0.0)
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "sim_worker.child.zygote", str(theirs.fileno())),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env=environment | {name: os.environ[name] for name in _PASSED_ON if name in os.environ},
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
        """Fork a child that waits for its plan. Raises ZygoteFailed."""
        launch_id, launched = self._new_launch()
        ours, theirs = socket.socketpair()
        packets, their_packets = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        directory_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        process: SupervisedProcess | None = None
        try:
            async with asyncio.timeout(LAUNCH_TIMEOUT_S):
                descriptors = [directory_fd, theirs.fileno(), their_packets.fileno()]
                await self._send(ToZygote(launch=Launch(launch_id=launch_id)), descriptors)
                await launched.forked
            process = launched.process
            assert process is not None
            streams = await open_streams(ours)
        except BaseException as error:
            # A child that was forked all the same finds nobody at its stream, and leaves.
            ours.close()
            packets.close()
            if isinstance(error, (TimeoutError, OSError)):
                raise ZygoteFailed(f"no process was forked: {error!r}") from error
            raise
        finally:
            theirs.close()
            their_packets.close()
            os.close(directory_fd)
        packets.setblocking(False)  # noqa: FBT003 the standard library's signature
        child = Child(process=process, streams=streams, packets=packets, home=self, limits=limits, snapshots=[])
        launched.supervise(child)
        return child

    def adopt(self, taken: SnapshotTaken, descriptors: list[int], siblings: list[Snapshot]) -> Snapshot:
        """Take charge of a copy that a child has handed over with its stream and packet socket."""
        launch_id, launched = self._new_launch()
        # Nobody reaps it before the zygote has been told to: the number is its own.
        self._hold(launched, taken.pid)
        stream, packets = (socket.socket(fileno=descriptor) for descriptor in descriptors)
        for end in (stream, packets):
            end.setblocking(False)  # noqa: FBT003 the standard library's signature
        assert launched.process is not None
        snapshot = Snapshot(
            taken=taken,
            process=launched.process,
            stream=stream,
            packets=packets,
            home=self,
            supervise=launched.supervise,
            siblings=siblings,
        )
        self._tell(ToZygote(adopt=Adopt(launch_id=launch_id, pid=taken.pid)))
        return snapshot

    async def close(self) -> None:
        """End it and everything it forked."""
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

    def _new_launch(self) -> tuple[int, _Launched]:
        self._launches += 1
        launched = _Launched(self._loop.create_future(), self._loop.create_future())
        self._launched[self._launches] = launched
        return self._launches, launched

    def _hold(self, launched: _Launched, pid: int) -> None:
        launched.process = SupervisedProcess(pid=pid, process_fd=open_process(pid), exit_code=launched.exit_code)
        launched.forked.set_result(pid)

    async def _send(self, message: ToZygote, descriptors: list[int]) -> None:
        while True:
            try:
                socket.send_fds(self._socket, [message.SerializeToString()], descriptors)
                return
            except BlockingIOError:
                await asyncio.sleep(_SEND_RETRY_S)

    def _tell(self, message: ToZygote) -> None:
        """Send without waiting; a zygote that is gone is noticed elsewhere."""
        try:
            self._socket.send(message.SerializeToString())
        except BlockingIOError:
            self._loop.call_later(_SEND_RETRY_S, self._tell, message)
        except OSError:
            return

    async def _listen(self) -> None:
        """Take its messages until it is gone."""
        with contextlib.suppress(OSError):
            while packet := await self._loop.sock_recv(self._socket, _PACKET_BYTES):
                self._hear(FromZygote.FromString(packet))
        self.lost = True
        await self._lose_children()

    def _hear(self, message: FromZygote) -> None:
        match message.WhichOneof("message"):
            case "forked":
                launched = self._launched[message.forked.launch_id]
                if not launched.forked.done():
                    self._hold(launched, message.forked.pid)
            case "exited":
                launched = self._launched.pop(message.exited.launch_id)
                launched.exit_code.set_result(message.exited.exit_code)

    async def _lose_children(self) -> None:
        """The kernel kills the children of a zygote that is gone."""
        launched, self._launched = self._launched, {}
        for one in launched.values():
            if not one.forked.done():
                one.forked.set_exception(ZygoteFailed("the zygote died"))
            if one.process is not None:
                one.process.kill(ExitCause.ZYGOTE_LOST)
            one.exit_code.set_result(-signal.SIGKILL)

    async def _watch_memory(self) -> None:
        while True:
            await asyncio.sleep(MEMORY_PERIOD_S)
            for launched in list(self._launched.values()):
                if launched.child is not None:
                    launched.child.keep_within_memory()
