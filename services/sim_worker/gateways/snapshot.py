"""A sleeping copy of a child, which can be woken once and go on in its place."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from milepost.child.v1.child_pb2 import Plan, SnapshotPlace, SnapshotTaken, ToChild, Wake
from sim_worker.child.confine import give_directory
from sim_worker.gateways.child_answers import ChildGone
from sim_worker.gateways.child_process import Child, ChildLimits, open_streams
from sim_worker.gateways.process_memory import proportional_bytes
from sim_worker.gateways.supervised_process import SupervisedProcess

if TYPE_CHECKING:
    from sim_worker.gateways.zygote_process import ZygoteProcess


class Snapshot:
    """Made by Child.take_snapshot and Snapshot.wake. It sleeps until it is woken or closed, or its zygote dies."""

    def __init__(
        self,
        *,
        taken: SnapshotTaken,
        process: SupervisedProcess,
        stream: socket.socket,
        packets: socket.socket,
        home: "ZygoteProcess",
        supervise: Callable[[Child], None],
        siblings: list["Snapshot"],
    ) -> None:
        """`siblings` are the sleeping copies of the session, oldest first; this one joins them."""
        self.snapshot_id = taken.snapshot_id
        self.place: SnapshotPlace = taken.place
        self.pause_s = taken.pause_s
        self.pid = process.pid
        self._process = process
        self._stream: socket.socket | None = stream
        self._packets = packets
        self._home = home
        self._supervise = supervise
        self._siblings = siblings
        siblings.append(self)
        process.on_exit(self.close)

    @property
    def alive(self) -> bool:
        """Whether it can still be woken."""
        return self._stream is not None and not self._process.gone

    def memory_bytes(self) -> int:
        """What it takes, shared pages in proportion. Walks every page."""
        return proportional_bytes([self.pid])

    async def wake(self, plan: Plan, *, keep_as: str = "", directory: Path | None = None, limits: ChildLimits) -> Child:
        """Have it go on with `plan`, in another directory when one is given. Raises ChildGone.

        The child's messages begin with Woken. With `keep_as` it leaves another copy in its place first, but goes on
        before that one has introduced itself: `Child.kept`.
        Without a directory it takes over the files of the process it was copied from, which must be gone by then.
        """
        if self._stream is None or self._process.gone:
            raise ChildGone
        stream, self._stream = self._stream, None
        self._siblings.remove(self)
        if directory is not None:
            self._hand_directory(directory)
        child = Child(
            process=self._process,
            streams=await open_streams(stream),
            packets=self._packets,
            home=self._home,
            limits=limits,
            # In a directory of its own it is another session's.
            snapshots=self._siblings if directory is None else [],
        )
        self._supervise(child)
        wake = Wake(plan=plan, keep_as=keep_as, directory=str(directory or ""))
        if keep_as:
            child.leave_another(keep_as, ToChild(wake=wake), self._siblings)
            return child
        try:
            await child.send(ToChild(wake=wake))
        except BaseException:
            child.kill()
            child.close()
            raise
        return child

    def close(self) -> None:
        """Let it leave."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
            self._packets.close()
            self._siblings.remove(self)

    async def left(self) -> None:
        """Returns when its process is gone."""
        await self._process.exited()

    def _hand_directory(self, directory: Path) -> None:
        """Its user may not reach the directory by its path, and does not own it yet."""
        user = Path(f"/proc/{self.pid}").stat().st_uid
        if os.geteuid() == 0 and user != 0:
            give_directory(directory, user)
        directory_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            socket.send_fds(self._packets, [b"directory"], [directory_fd])
        finally:
            os.close(directory_fd)
