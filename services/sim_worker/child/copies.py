"""Copies of a running simulation, made by fork: some sleep until they are needed, some write a state file.

The running simulation stands still for the forks alone. A copy that sleeps becomes a child of the zygote, so it
lives on when the process it was made from does not; it leaves when the worker lets go of its stream. A copy
leaves only by `_exit`: ending the simulation as usual would write into files that are not its own.
"""

import os
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from milepost.child.v1.child_pb2 import FromChild, Refused, SnapshotPlace, SnapshotTaken, StateWritten, Wake
from sim_worker.child.confine import die_with, flush_c_streams
from sim_worker.child.engine import Engine, EngineFailed
from sim_worker.child.private_files import ForeignFile, OpenFile, make_private, open_files
from sim_worker.child.worker_link import WorkerGone, WorkerLink

_EXIT_DONE: Final = 0
_EXIT_FAILED: Final = 1
_PID_BYTES: Final = 32


class CopyRefused(Exception):
    """There can be no copy of this process now."""


@dataclass(frozen=True, slots=True)
class _Writer:
    """A copy that writes a state file."""

    pid: int
    written: StateWritten


class Copies:
    """Makes them, and is woken in them."""

    def __init__(self, engine: Engine, link: WorkerLink, *, zygote_pid: int) -> None:
        self._engine = engine
        self._link = link
        self._zygote_pid = zygote_pid
        self._writers: list[_Writer] = []

    @property
    def writing(self) -> bool:
        """Whether a state file is being written."""
        return bool(self._writers)

    def sleep(self, snapshot_id: str, place: SnapshotPlace) -> Wake | None:
        """Make a copy that sleeps. None in the running simulation; in the copy, once it wakes, what it is told.

        Raises CopyRefused, and in a copy WorkerGone.
        """
        files = self._ready_to_fork()
        if not self._fork_sleeper(snapshot_id, place):
            return None
        while True:
            wake = self._await_wake()
            if not (wake.keep_as and self._fork_sleeper(wake.keep_as, place)):
                break
        die_with(self._zygote_pid)
        self._writers.clear()
        if wake.directory:
            directory_fd = self._link.receive_descriptor()
            os.fchdir(directory_fd)
            os.close(directory_fd)
        make_private(files)
        return wake

    def write_state(self, request_id: str, path: Path, place: SnapshotPlace) -> None:
        """Have a copy write a state file; `reap_writers` tells when it is complete. Raises CopyRefused."""
        began = time.monotonic()
        written = StateWritten(request_id=request_id, place=place)
        pid = 0
        if self._engine.can_be_copied:
            self._ready_to_fork()
            pid = _fork()
            if pid == 0:
                self._link.close()
                self._write_and_leave(path)
        else:
            try:
                _write(self._engine, path)
            except (OSError, EngineFailed) as error:
                raise CopyRefused(f"no state file could be written: {error}") from error
        written.pause_s = time.monotonic() - began
        if pid:
            self._writers.append(_Writer(pid, written))
        else:
            self._link.send(FromChild(state_written=written))

    def reap_writers(self, *, wait: bool) -> None:
        """Tell of the state files that are complete, or of all of them."""
        for writer in list(self._writers):
            pid, status = os.waitpid(writer.pid, 0 if wait else os.WNOHANG)
            if not pid:
                continue
            self._writers.remove(writer)
            written = writer.written
            if os.waitstatus_to_exitcode(status) == _EXIT_DONE:
                self._link.send(FromChild(state_written=written))
            else:
                refused = Refused(
                    command_id=written.request_id,
                    message="the copy that was to write the state file failed",
                    step=written.place.step,
                    sim_time_s=written.place.sim_time_s,
                )
                self._link.send(FromChild(refused=refused))

    def _ready_to_fork(self) -> list[OpenFile]:
        """Everything flushed, and what is open for writing. Raises CopyRefused."""
        if not self._engine.can_be_copied:
            raise CopyRefused("this engine runs SUMO in another process")
        if (threads := sum(1 for _ in Path("/proc/self/task").iterdir())) != 1:
            raise CopyRefused(f"{threads} threads run: a fork would copy only one")
        sys.stdout.flush()
        sys.stderr.flush()
        flush_c_streams()
        try:
            return open_files()
        except ForeignFile as error:
            raise CopyRefused(f"a file outside the session's directory is open for writing: {error}") from error

    def _fork_sleeper(self, snapshot_id: str, place: SnapshotPlace) -> bool:
        """True in the copy, which speaks to the worker through sockets of its own. Raises CopyRefused, WorkerGone."""
        began = time.monotonic()
        stream, workers_stream = socket.socketpair()
        packets, workers_packets = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            pid = _fork_for_zygote()
            if pid == 0:
                self._link.move_to(stream, packets)
                return True
            stream.close()
            packets.close()
            pause_s = time.monotonic() - began
            taken = SnapshotTaken(snapshot_id=snapshot_id, pid=pid, place=place, pause_s=pause_s)
            self._link.hand_over(taken, (workers_stream, workers_packets))
            return False
        finally:
            workers_stream.close()
            workers_packets.close()

    def _await_wake(self) -> Wake:
        while True:
            try:
                messages = self._link.receive(wait_s=None)
            except WorkerGone:
                os._exit(_EXIT_DONE)
            for message in messages:
                if message.WhichOneof("message") == "wake":
                    return message.wake

    def _write_and_leave(self, path: Path) -> NoReturn:
        code = _EXIT_FAILED
        try:
            die_with(os.getppid())
            _write(self._engine, path)
            code = _EXIT_DONE
        finally:
            os._exit(code)


def _write(engine: Engine, path: Path) -> None:
    """A file is there whole or not at all. Raises OSError, EngineFailed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix says whether SUMO compresses.
    unfinished = path.with_name(f".unfinished-{path.name}")
    engine.save_state(str(unfinished))
    unfinished.replace(path)


def _fork() -> int:
    try:
        return os.fork()
    except OSError as error:
        raise CopyRefused(f"no process could be forked: {error.strerror}") from error


def _fork_for_zygote() -> int:
    """Fork a process whose parent is the zygote; its pid, 0 in it. Raises CopyRefused.

    The one between them leaves at once; its orphan falls to the nearest reaper above, which is the zygote.
    """
    read_fd, write_fd = os.pipe()
    between = _fork()
    if between == 0:
        try:
            pid = os.fork()
        except OSError:
            os._exit(_EXIT_FAILED)
        if pid:
            os.write(write_fd, str(pid).encode())
            os._exit(_EXIT_DONE)
        os.close(read_fd)
        os.close(write_fd)
        return 0
    os.close(write_fd)
    told = os.read(read_fd, _PID_BYTES)
    os.close(read_fd)
    os.waitpid(between, 0)
    if not told:
        raise CopyRefused("no process could be forked")
    return int(told)
