"""Copies of a running simulation, made by fork: some sleep until they are needed, some write a state file.

The running simulation stands still for the forks alone. A copy that sleeps becomes a child of the zygote, so it
lives on when the process it was made from does not; it leaves when the worker lets go of its stream. A copy
leaves only by `_exit`: ending the simulation as usual would write into files that are not its own.
"""

import contextlib
import os
import select
import socket
import struct
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
# How long the simulation stood still, seconds, as the process between it and its copy is told.
_PAUSE: Final = struct.Struct("d")
# Between two looks whether a process is an orphan yet, seconds.
_ORPHAN_LOOK_S: Final = 0.0005


class CopyRefused(Exception):
    """There can be no copy of this process now."""


@dataclass(frozen=True, slots=True)
class _Helper:
    """A process that does something for the simulation and leaves: what is told when it has done it, or failed."""

    pid: int
    failed: FromChild
    done: FromChild | None = None
    copy_id: str = ""
    """The copy it leaves behind."""
    line: socket.socket | None = None
    """To the copy it leaves behind, which says one byte when the worker has been told of it."""


class Copies:
    """Makes them, and is woken in them."""

    def __init__(self, engine: Engine, link: WorkerLink, *, zygote_pid: int) -> None:
        self._engine = engine
        self._link = link
        self._zygote_pid = zygote_pid
        self._helpers: list[_Helper] = []

    @property
    def helped(self) -> bool:
        """Whether a process is on its way to become a copy, or writes a state file."""
        return bool(self._helpers)

    def sleep(self, snapshot_id: str, place: SnapshotPlace) -> Wake | None:
        """Make a copy that sleeps. None in the running simulation; in the copy, once it wakes, what it is told.

        Raises CopyRefused, and in a copy WorkerGone.
        """
        files = self._ready_to_fork()
        if not self._fork_sleeper(snapshot_id, place):
            return None
        while True:
            wake = self._await_wake()
            if not (wake.keep_as and self._leave_another(wake.keep_as, place)):
                break
        die_with(self._zygote_pid)
        if wake.directory:
            # Another session from now on, for the kernel's scheduler too: it shares processors among such groups.
            os.setsid()
            directory_fd = self._link.receive_descriptor()
            os.fchdir(directory_fd)
            os.close(directory_fd)
        make_private(files)
        return wake

    def write_state(self, request_id: str, path: Path, place: SnapshotPlace) -> None:
        """Have a copy write a state file; `reap` tells when it is complete. Raises CopyRefused."""
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
        done = FromChild(state_written=written)
        if pid:
            refused = Refused(
                command_id=request_id,
                message="the copy that was to write the state file failed",
                step=place.step,
                sim_time_s=place.sim_time_s,
            )
            self._helpers.append(_Helper(pid, failed=FromChild(refused=refused), done=done))
        else:
            self._link.send(done)

    def reap(self, *, wait: bool) -> set[str]:
        """Tell of the state files that are complete, and of copies that failed; `wait`: of all of them.

        The copies that sleep now.
        """
        return {helper.copy_id for helper in list(self._helpers) if self._settle(helper, wait=wait)}

    def _settle(self, helper: _Helper, *, wait: bool) -> bool:
        """Whether it has done what it was there for."""
        if helper.line is not None:
            if not select.select([helper.line], [], [], None if wait else 0)[0]:
                return False
            succeeded = bool(helper.line.recv(1))
            helper.line.close()
            os.waitpid(helper.pid, 0)
        else:
            pid, status = os.waitpid(helper.pid, 0 if wait else os.WNOHANG)
            if not pid:
                return False
            succeeded = os.waitstatus_to_exitcode(status) == _EXIT_DONE
        self._helpers.remove(helper)
        said = helper.done if succeeded else helper.failed
        if said is not None:
            self._link.send(said)
        return succeeded

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
        """True in the copy, which speaks to the worker through sockets of its own. Raises CopyRefused.

        The copy's parent is to be the zygote. So a process between them forks it and leaves; its orphan falls to the
        nearest reaper above, and tells the worker then. The simulation waits for neither, but for the copy before:
        the worker hears of them in order.
        """
        for helper in [one for one in self._helpers if one.line is not None]:
            self._settle(helper, wait=True)
        began = time.monotonic()
        line, copys_line = socket.socketpair()
        between = _fork()
        if between:
            copys_line.close()
            line.send(_PAUSE.pack(time.monotonic() - began))
            refused = Refused(command_id=snapshot_id, message="no process could be forked", step=place.step)
            self._helpers.append(_Helper(between, FromChild(refused=refused), copy_id=snapshot_id, line=line))
            return False
        line.close()
        before = _fork_and_leave()
        for helper in self._helpers:
            if helper.line is not None:
                helper.line.close()
        self._helpers.clear()
        self._introduce(SnapshotTaken(snapshot_id=snapshot_id, pid=os.getpid(), place=place), copys_line)
        while os.getppid() == before:
            time.sleep(_ORPHAN_LOOK_S)
        return True

    def _leave_another(self, snapshot_id: str, place: SnapshotPlace) -> bool:
        """As `_fork_sleeper`; a copy that can leave none behind goes on without."""
        try:
            return self._fork_sleeper(snapshot_id, place)
        except CopyRefused as refused:
            self._link.send(FromChild(refused=Refused(command_id=snapshot_id, message=str(refused), step=place.step)))
            return False

    def _introduce(self, taken: SnapshotTaken, line: socket.socket) -> None:
        """Give the worker sockets to this copy. `line` is to the simulation, which tells how long it stood still."""
        with line:
            # Nothing when it is gone already.
            told = line.recv(_PAUSE.size)
            taken.pause_s = _PAUSE.unpack(told)[0] if told else 0.0
            stream, workers_stream = socket.socketpair()
            packets, workers_packets = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with workers_stream, workers_packets:
                try:
                    self._link.hand_over(taken, (workers_stream, workers_packets))
                except WorkerGone:
                    os._exit(_EXIT_DONE)
            self._link.move_to(stream, packets)
            with contextlib.suppress(OSError):
                line.send(b".")

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


def _fork_and_leave() -> int:
    """Go on in a new process, which falls to the nearest reaper once its parent, whose id this is, is gone."""
    before = os.getpid()
    try:
        if os.fork():
            os._exit(_EXIT_DONE)
    except OSError:
        os._exit(_EXIT_FAILED)
    return before
