"""Files that a copy of a process shares with the one it was copied from, and how it gets its own.

After a fork both write through the same open files: one offset, two writers. So the places are noted before the
fork, a copy writes nothing while it sleeps, and one that wakes makes itself files of its own, each as it was at
the fork, before anything that was buffered at the fork is written by either.
"""

import fcntl
import os
import shutil
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_DESCRIPTORS: Final = "/proc/self/fd"
_COPY_BYTES: Final = 1024 * 1024


class ForeignFile(Exception):
    """A file outside the session's directory is open for writing."""


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A descriptor of a regular file that is open for writing."""

    descriptor: int
    path: Path
    """Relative to the working directory."""
    inode: tuple[int, int]
    flags: int
    offset: int
    """Where the next byte goes."""


def open_files() -> list[OpenFile]:
    """What this process may write to, by descriptor. Raises ForeignFile."""
    directory = Path.cwd()
    found = []
    for descriptor in sorted(int(entry.name) for entry in Path(_DESCRIPTORS).iterdir()):
        try:
            status, flags = os.fstat(descriptor), fcntl.fcntl(descriptor, fcntl.F_GETFL)
        except OSError:
            continue  # That of the listing itself.
        if not stat.S_ISREG(status.st_mode) or flags & os.O_ACCMODE == os.O_RDONLY or flags & os.O_PATH:
            continue
        path = Path(f"{_DESCRIPTORS}/{descriptor}").readlink()
        if not path.is_relative_to(directory):
            raise ForeignFile(str(path))
        offset = status.st_size if flags & os.O_APPEND else os.lseek(descriptor, 0, os.SEEK_CUR)
        relative = path.relative_to(directory)
        found.append(OpenFile(descriptor, relative, (status.st_dev, status.st_ino), flags, offset))
    return found


def make_private(files: Sequence[OpenFile]) -> None:
    """Put files of this process's own in their place, below the working directory, behind the same descriptors."""
    for inode in dict.fromkeys(file.inode for file in files):
        same = [file for file in files if file.inode == inode]
        first = same[0]
        first.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = first.path.with_name(f".{first.path.name}.{os.getpid()}")
        _copy(first.descriptor, unfinished, max(file.offset for file in same))
        unfinished.replace(first.path)
        for file in same:
            opened = os.open(first.path, file.flags & (os.O_ACCMODE | os.O_APPEND) | os.O_CLOEXEC)
            os.lseek(opened, file.offset, os.SEEK_SET)
            os.dup2(opened, file.descriptor, inheritable=os.get_inheritable(file.descriptor))
            os.close(opened)


def _copy(descriptor: int, target: Path, length: int) -> None:
    """The first bytes of what is open for writing only, be its path gone or another's by now."""
    with Path(f"{_DESCRIPTORS}/{descriptor}").open("rb") as source, target.open("wb") as copy:
        while length and (block := source.read(min(length, _COPY_BYTES))):
            copy.write(block)
            length -= len(block)
    shutil.copymode(f"{_DESCRIPTORS}/{descriptor}", target)
