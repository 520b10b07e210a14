"""What a child gives up before it looks at a scenario: network, privileges, descriptors, most resources.

Each is a call of the kernel that Python does not offer, or an order of calls that matters.
"""

import ctypes
import fcntl
import os
import resource
import signal
import socket
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_PR_SET_NO_NEW_PRIVS: Final = 38
_SIOCGIFFLAGS: Final = 0x8913
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 0x1
# struct ifreq with flags: name, flags, padding.
_IFREQ: Final = struct.Struct("16sh14x")

# User ids that systemd sets aside for services that are made on the fly: no person or file has them. A session
# has its own, so that it can neither signal nor trace another.
_FIRST_UID: Final = 61184
_UIDS: Final = 65519 - 61184 + 1
# Files SUMO may have open: every declared output is one.
_MAX_OPEN_FILES: Final = 4096
# Processes of the session's user: the child, its copies, a `sumo` binary, with room for its threads; and those of
# forks that go on with one of its copies.
_MAX_PROCESSES: Final = 256

_libc = ctypes.CDLL(None, use_errno=True)


def leave_network() -> bool:
    """Move into an empty network namespace; False where the kernel does not permit it. One thread only."""
    if os.geteuid() == 0:
        return bool(_libc.unshare(_CLONE_NEWNET) == 0)
    uid, gid = os.getuid(), os.getgid()
    if _libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
        return False
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    return True


def own_loopback() -> bool:
    """Move into a network namespace with nothing but a loopback of its own; False where that is not permitted."""
    if _libc.unshare(_CLONE_NEWNET) != 0:
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = _IFREQ.pack(b"lo", 0)
        _, flags = _IFREQ.unpack(fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request))
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, _IFREQ.pack(b"lo", flags | _IFF_UP))
    return True


def enter_directory(directory_fd: int) -> None:
    """Work in the directory and write standard output and error to `sumo.log` in it; standard input is empty."""
    os.fchdir(directory_fd)
    log_fd = os.open("sumo.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    null_fd = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null_fd, 0), (log_fd, 1), (log_fd, 2)):
        os.dup2(source, target)


def close_all_but(kept: Iterable[int]) -> None:
    """Close every descriptor above standard error that is not kept."""
    first = 3
    for fd in sorted(kept):
        os.closerange(first, fd)
        first = fd + 1
    os.closerange(first, resource.getrlimit(resource.RLIMIT_NOFILE)[1])


def limit_resources(*, file_size_bytes: int, niceness: int) -> None:
    """From here on: no core files, no larger files, few descriptors, lower priority."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if file_size_bytes > 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size_bytes, file_size_bytes))
        # Python ignores it; a process that is killed by it says why it ended.
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    files = min(_MAX_OPEN_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    os.nice(niceness)


def drop_privileges(session_number: int) -> None:
    """Become a user of the session's own who owns its directory, where this process is root and may."""
    user = _FIRST_UID + session_number % _UIDS
    if os.geteuid() == 0 and _gave_directory(user):
        resource.setrlimit(resource.RLIMIT_NPROC, (_MAX_PROCESSES, _MAX_PROCESSES))
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _gave_directory(user: int) -> bool:
    """False, and nothing was changed, in a container that knows one user only or whose root may not do this."""
    try:
        give_directory(Path(), user)
    except OSError:
        return False
    return True


def give_directory(directory: Path, user: int) -> None:
    """Make a user and the group of that number own a directory and all in it. Raises OSError."""
    os.chown(directory, user, user)
    for _, folders, files, folder_fd in os.fwalk(directory, follow_symlinks=False):
        for name in (*folders, *files):
            os.chown(name, user, user, dir_fd=folder_fd, follow_symlinks=False)


def become_reaper() -> None:
    """Be the parent of everything that is orphaned below this process."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with(parent_pid: int) -> None:
    """Be killed when the parent is gone. After `drop_privileges`: a change of user clears it."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), signal.SIGKILL)


def flush_c_streams() -> None:
    """Write out what C and C++ have buffered: `_exit` would lose it."""
    _libc.fflush(None)
