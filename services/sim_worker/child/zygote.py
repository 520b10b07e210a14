"""The zygote: imports what children need once, then forks one per session. Started by exec, before any thread.

    python -m sim_worker.child.zygote DESCRIPTOR      (the worker's packet socket)

It simulates nothing, holds no session and leaves when the worker does; its children leave with it.
"""

import array
import gc
import os
import select
import signal
import socket
import sys
from pathlib import Path
from typing import Final

from milepost.child.v1.child_pb2 import ChildExited, ChildForked, FromZygote, ToZygote, ZygoteReady
from sim_worker.child.confine import become_reaper, die_with, leave_network
from sim_worker.child.installation import installed_version
from sim_worker.child.libm import libm_fingerprint
from sim_worker.child.libsumo_engine import IMPORT_FAILURE
from sim_worker.child.session_main import run_child

# Launch and ChildExited are far smaller.
_PACKET_BYTES: Final = 64 * 1024
# Directory, stream, packet socket.
_DESCRIPTORS: Final = 3
# Ends of copies that nobody has asked for yet.
_MAX_EARLY: Final = 1000

# What `import libsumo` misses on a machine without a desktop, and what installs it (Debian, Ubuntu).
_PACKAGES: Final = {
    "libX11.so": "libx11-6",
    "libXext.so": "libxext6",
    "libXrender.so": "libxrender1",
    "libXrandr.so": "libxrandr2",
    "libXcursor.so": "libxcursor1",
    "libXfixes.so": "libxfixes3",
    "libXft.so": "libxft2",
    "libXi.so": "libxi6",
    "libSM.so": "libsm6",
    "libICE.so": "libice6",
    "libGLU.so": "libglu1-mesa",
    "libGL.so": "libgl1",
    "libEGL.so": "libegl1",
    "libatomic.so": "libatomic1",
    "libgomp.so": "libgomp1",
    "libfontconfig.so": "libfontconfig1",
    "libfreetype.so": "libfreetype6",
}


class Zygote:
    """One process, one thread, one loop."""

    def __init__(self, worker: socket.socket) -> None:
        self._worker = worker
        self._poll = select.poll()
        self._poll.register(worker, select.POLLIN)
        # A signal says that a process ended, also one that is not known here yet.
        self._ended, ended = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(ended, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._poll.register(self._ended, select.POLLIN)
        # Descriptor of a process: its pid and launch.
        self._children: dict[int, tuple[int, int]] = {}
        # Copies that ended before they were adopted: pid, exit code.
        self._early: dict[int, int] = {}

    def serve(self) -> None:
        """Fork, adopt and reap until the worker is gone."""
        while True:
            for fd, _ in self._poll.poll():
                if fd == self._worker.fileno():
                    if not self._obey():
                        return
                elif fd == self._ended:
                    os.read(fd, _PACKET_BYTES)
                else:
                    self._reap(fd)
            self._reap_unknown()

    def _obey(self) -> bool:
        """False when the worker is gone."""
        packet, descriptors = _receive(self._worker)
        if not packet:
            return False
        message = ToZygote.FromString(packet)
        match message.WhichOneof("message"):
            case "launch":
                return self._launch(message.launch.launch_id, descriptors)
            case "adopt":
                return self._adopt(message.adopt.launch_id, message.adopt.pid)
        return True

    def _launch(self, launch_id: int, descriptors: list[int]) -> bool:
        directory_fd, stream_fd, packets_fd = descriptors
        zygote_pid = os.getpid()
        pid = os.fork()
        if pid == 0:
            run_child(
                launch_id=launch_id,
                directory_fd=directory_fd,
                stream_fd=stream_fd,
                packets_fd=packets_fd,
                zygote_pid=zygote_pid,
            )
        for descriptor in descriptors:
            os.close(descriptor)
        self._watch(pid, launch_id)
        return self._say(FromZygote(forked=ChildForked(launch_id=launch_id, pid=pid)))

    def _adopt(self, launch_id: int, pid: int) -> bool:
        if pid in self._early:
            return self._say_exited(launch_id, self._early.pop(pid))
        self._watch(pid, launch_id)
        return True

    def _watch(self, pid: int, launch_id: int) -> None:
        pid_fd = os.pidfd_open(pid)
        self._children[pid_fd] = pid, launch_id
        self._poll.register(pid_fd, select.POLLIN)

    def _reap(self, pid_fd: int) -> None:
        pid, launch_id = self._children.pop(pid_fd)
        self._poll.unregister(pid_fd)
        os.close(pid_fd)
        _, status = os.waitpid(pid, 0)
        self._say_exited(launch_id, os.waitstatus_to_exitcode(status))

    def _reap_unknown(self) -> None:
        """Those that became this process's own and were not adopted, or not yet: nothing of them must stay."""
        known = {pid for pid, _ in self._children.values()}
        for pid in set(_own_children()) - known:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                self._early[pid] = os.waitstatus_to_exitcode(status)
        while len(self._early) > _MAX_EARLY:
            del self._early[next(iter(self._early))]

    def _say_exited(self, launch_id: int, exit_code: int) -> bool:
        return self._say(FromZygote(exited=ChildExited(launch_id=launch_id, exit_code=exit_code)))

    def _say(self, message: FromZygote) -> bool:
        try:
            self._worker.send(message.SerializeToString())
        except BrokenPipeError:
            return False
        return True


def _receive(worker: socket.socket) -> tuple[bytes, list[int]]:
    """A packet and its descriptors, which no program that a child starts inherits; empty when the worker is gone."""
    descriptors = array.array("i")
    space = socket.CMSG_SPACE(_DESCRIPTORS * descriptors.itemsize)
    try:
        packet, ancillary, _, _ = worker.recvmsg(_PACKET_BYTES, space, socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:
        # It left without having read all that this end had sent.
        return b"", []
    for _, _, content in ancillary:
        descriptors.frombytes(content)
    return packet, list(descriptors)


def _own_children() -> list[int]:
    pid = os.getpid()
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def missing_packages(failure: str) -> str:
    """The words of a failed import, with the package that has the missing library."""
    packages = [package for library, package in _PACKAGES.items() if library in failure]
    return f"{failure} (install {packages[0]})" if packages else failure


def _ready() -> ZygoteReady:
    """Raises RuntimeError when something has started a thread: a fork would copy only one."""
    threads = sum(1 for _ in Path("/proc/self/task").iterdir())
    if threads != 1:
        raise RuntimeError(f"{threads} threads, one expected")
    return ZygoteReady(
        sumo_version=installed_version(),
        libm_fingerprint=libm_fingerprint(),
        libsumo_missing=missing_packages(IMPORT_FAILURE),
        network_isolated=leave_network(),
        allocator=_allocator(),
    )


def _allocator() -> str:
    """The library that was loaded first, if it was; the dynamic linker goes on without one that it cannot load."""
    name = os.environ.get("LD_PRELOAD", "")
    loaded = {Path(line.rsplit(" ", 1)[-1]).name for line in Path("/proc/self/maps").read_text().splitlines()}
    return name if name and any(one.startswith(Path(name).name) for one in loaded) else ""


def main() -> None:
    """Serve the worker at the other end of the descriptor."""
    die_with(os.getppid())
    # A terminal's Ctrl-C is for the worker, who ends its sessions in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    become_reaper()
    worker = socket.socket(fileno=int(sys.argv[1]))
    worker.send(FromZygote(ready=_ready()).SerializeToString())
    # What is here now stays in pages shared with every child: the collector must not touch it.
    gc.collect()
    gc.freeze()
    Zygote(worker).serve()


if __name__ == "__main__":
    main()
