"""The process that runs SUMO for one session, as its worker sees it."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from google.protobuf.message import Message

from milepost.child.v1.child_pb2 import (
    Check,
    Checked,
    ChildCommand,
    Describe,
    Durable,
    FrameRate,
    FromChild,
    SnapshotTaken,
    StateWritten,
    Stop,
    TakeSnapshot,
    ToChild,
    WriteState,
)
from milepost.intervention.v1.intervention_pb2 import Intervention
from milepost.state.v1.state_pb2 import SimulationState
from sim_worker.child.framing import HEADER, LINGERING, UNASKED, body_length, framed
from sim_worker.gateways.child_answers import Answers, ChildGone, ChildRefused
from sim_worker.gateways.process_memory import cpu_s, exceeds, proportional_bytes
from sim_worker.gateways.supervised_process import ChildExit, ExitCause, SupervisedProcess

if TYPE_CHECKING:
    from sim_worker.gateways.snapshot import Snapshot
    from sim_worker.gateways.zygote_process import ZygoteProcess

__all__ = ["Child", "ChildExit", "ChildGone", "ChildLimits", "ChildRefused", "ExitCause", "open_streams"]

# What is read ahead of `messages()`; beyond it the child waits.
_READ_AHEAD_BYTES: Final = 256 * 1024
# SnapshotTaken is far smaller.
_PACKET_BYTES: Final = 64 * 1024
# Streams and packet socket of a copy.
_DESCRIPTORS: Final = 2


@dataclass(frozen=True, slots=True)
class ChildLimits:
    """What a child may take before it is killed."""

    init_timeout_s: float = 120.0
    """From launch to Started."""
    stall_timeout_s: float = 300.0
    """From one message to the next: a step that takes longer."""
    memory_limit_bytes: int = 4 * 1024**3
    """Of the child, what it started and its sleeping snapshots, shared pages in proportion."""
    stop_grace_s: float = 2.0
    """From Stop to the kill."""


class Child:
    """One process from its fork to its reaping. Made by Zygote.launch and Snapshot.wake.

    Answers to `take_snapshot`, `describe`, `check` and `write_state` come while somebody reads `messages()`.
    """

    def __init__(
        self,
        *,
        process: SupervisedProcess,
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        packets: socket.socket,
        home: "ZygoteProcess",
        limits: ChildLimits,
        snapshots: list["Snapshot"],
    ) -> None:
        """`snapshots` are the copies that sleep, oldest first; it is shared with them."""
        self.scheduled: asyncio.Queue[Snapshot] = asyncio.Queue()
        """Copies it has made unasked, by `Plan.copy_every_steps`, oldest first."""
        self.kept: asyncio.Task[Snapshot] | None = None
        """The copy that `Snapshot.wake` leaves behind, when there is to be one. Raises ChildRefused, ChildGone."""
        self.lingering: asyncio.Future[Snapshot] = asyncio.get_running_loop().create_future()
        """The copy it leaves at its last step, when its plan wants one."""
        self._replaced: tuple[str, list[Snapshot]] = ("", [])
        self._process = process
        self._reader, self._writer = streams
        self._packets = packets
        self._home = home
        self._limits = limits
        self._snapshots = snapshots
        self._answers = Answers()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(packets, self._take_packet)
        process.on_exit(self._let_go)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    async def messages(self) -> AsyncGenerator[FromChild, None]:
        """Everything it says but answers, until it is gone; kills it when it is silent for too long meanwhile."""
        patience_s, cause = self._limits.init_timeout_s, ExitCause.INIT_TIMEOUT
        try:
            while True:
                async with asyncio.timeout(patience_s):
                    header = await self._reader.readexactly(HEADER.size)
                    body = await self._reader.readexactly(body_length(header))
                message = FromChild.FromString(body)
                if message.WhichOneof("message") in ("started", "woken"):
                    patience_s, cause = self._limits.stall_timeout_s, ExitCause.STALLED
                if not self._answers.take(message):
                    yield message
        except TimeoutError:
            self.kill(cause)
        except (asyncio.IncompleteReadError, OSError):
            return
        finally:
            # The child waits for this before it leaves.
            self.close()

    async def durable(self, step: int) -> None:
        """Tell up to which step intervals are in the log."""
        await self.send(ToChild(durable=Durable(step=step)))

    async def frame_rate(self, max_hz: float) -> None:
        """Ask for frames, at most so many a second of wall time; 0 ends them."""
        await self.send(ToChild(frame_rate=FrameRate(max_hz=max_hz)))

    async def command(self, command: ChildCommand) -> None:
        """Have it carried out at the next boundary; Applied or Refused comes through `messages()`."""
        await self.send(ToChild(command=command))

    async def take_snapshot(self, snapshot_id: str) -> "Snapshot":
        """A sleeping copy of it as it is at the next boundary. Raises ChildRefused, ChildGone."""
        return await self.handed_over(snapshot_id, ToChild(take_snapshot=TakeSnapshot(snapshot_id=snapshot_id)))

    async def handed_over(self, snapshot_id: str, because: ToChild) -> "Snapshot":
        """The copy that it makes because of a message. Raises ChildRefused, ChildGone."""
        with self._answers.expecting(snapshot_id) as answer:
            await self.send(because)
            snapshot: Snapshot = await answer
        return snapshot

    def leave_another(self, snapshot_id: str, wake: ToChild, siblings: "list[Snapshot]") -> None:
        """Wake it, and let the copy that it leaves behind join those it slept with: see `kept`."""
        self._replaced = snapshot_id, siblings
        self.kept = asyncio.create_task(self.handed_over(snapshot_id, wake), name=f"keep {snapshot_id}")

    async def describe(self) -> SimulationState:
        """The whole state at the next boundary. Raises ChildGone."""
        request_id = self._answers.new_id()
        with self._answers.expecting(request_id) as answer:
            await self.send(ToChild(describe=Describe(request_id=request_id)))
            state: SimulationState = await answer
        return state

    async def check(self, intervention: Intervention) -> Checked:
        """Whether it would be refused at the next boundary. Raises ChildGone."""
        request_id = self._answers.new_id()
        with self._answers.expecting(request_id) as answer:
            await self.send(ToChild(check=Check(request_id=request_id, intervention=intervention)))
            checked: Checked = await answer
        return checked

    async def write_state(self, path: str) -> StateWritten:
        """A state file, complete; `path` is in the session's directory. Raises ChildRefused, ChildGone."""
        request_id = self._answers.new_id()
        with self._answers.expecting(request_id) as answer:
            await self.send(ToChild(write_state=WriteState(request_id=request_id, path=path)))
            written: StateWritten = await answer
        return written

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
        """End it at once, whatever it is doing, and with it what it started. Its snapshots stay."""
        self._process.kill(cause)

    def close(self) -> None:
        """Let go of its stream. What it said and nobody has read is lost, so not before its messages were taken."""
        self._writer.close()
        self._answers.fail()

    def memory_bytes(self) -> int:
        """What it, what it started and its snapshots take, shared pages in proportion. Walks every page."""
        return proportional_bytes(self._family())

    def cpu_s(self) -> float:
        """Processor time it has used, seconds; 0 when it is gone."""
        return cpu_s(self.pid)

    def keep_within_memory(self) -> None:
        """Where it takes more than it may, let the oldest snapshot go; with none left, kill it."""
        if not exceeds(self._family(), self._limits.memory_limit_bytes):
            return
        if self._snapshots:
            self._snapshots[0].close()
        else:
            self.kill(ExitCause.MEMORY_LIMIT)

    async def exited(self) -> ChildExit:
        """How it ended, once it is gone."""
        return await self._process.exited()

    async def send(self, message: Message) -> None:
        """Send one message; a child that is gone is reported by `exited`, not here."""
        with contextlib.suppress(OSError):
            self._writer.write(framed(message))
            await self._writer.drain()

    def _family(self) -> list[int]:
        return [self.pid, *(snapshot.pid for snapshot in self._snapshots)]

    def _take_packet(self) -> None:
        """A copy was handed over, or there will be none any more."""
        try:
            packet, descriptors, _, _ = socket.recv_fds(self._packets, _PACKET_BYTES, _DESCRIPTORS)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        if not packet:
            self._loop.remove_reader(self._packets)
            return
        taken = SnapshotTaken.FromString(packet)
        replaced, siblings = self._replaced
        snapshot = self._home.adopt(taken, descriptors, siblings if taken.snapshot_id == replaced else self._snapshots)
        if taken.snapshot_id.startswith(UNASKED):
            self.scheduled.put_nowait(snapshot)
        elif taken.snapshot_id == LINGERING and not self.lingering.done():
            self.lingering.set_result(snapshot)
        elif not self._answers.resolve(taken.snapshot_id, snapshot):
            snapshot.close()

    def _let_go(self) -> None:
        self._answers.fail()
        self._loop.remove_reader(self._packets)
        self._packets.close()


async def open_streams(ours: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Streams over the worker's end of a socket pair, which they own from then on."""
    return await asyncio.open_connection(sock=ours, limit=_READ_AHEAD_BYTES)
