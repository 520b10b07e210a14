"""What is left of the machine this worker runs on."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prometheus_client import Gauge

_memory_free = Gauge("milepost_worker_memory_free_bytes", "Memory left to this worker, of machine or container")
_disk_free = Gauge("milepost_worker_disk_free_bytes", "Room left on the disk of the sessions' directories")

_MEMINFO: Final = Path("/proc/meminfo")
# Limits and use of the control group: version 2, then version 1.
_GROUPS: Final = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)
_KIB: Final = 1024


@dataclass(frozen=True, slots=True)
class Machine:
    """Memory of the machine or of the container, whichever is scarcer, and the disk of the sessions."""

    folder: Path
    min_memory_bytes: int
    min_disk_bytes: int

    def pressure(self) -> str:
        """`memory`, `disk`, or nothing."""
        memory_bytes, disk_free_bytes = self.memory_free_bytes(), shutil.disk_usage(self.folder).free
        _memory_free.set(memory_bytes)
        _disk_free.set(disk_free_bytes)
        if memory_bytes < self.min_memory_bytes:
            return "memory"
        return "disk" if disk_free_bytes < self.min_disk_bytes else ""

    def memory_free_bytes(self) -> int:
        """Memory that is left, of the machine or the container."""
        return min(_memory_left())

    def cpu_load(self) -> float:
        """Share of all cores in the last minute, 0 to 1."""
        return min(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def disk_bytes(sessions_folder: Path, key: tuple[str, str]) -> int:
    """What a session has written."""
    folders = sessions_folder.glob(f"{key[0]}.{key[1]}.*")
    return sum(tree_bytes(folder) for folder in folders)


def tree_bytes(folder: Path) -> int:
    """Size of the files below a folder, links not followed."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _memory_left() -> Iterator[int]:
    for line in _MEMINFO.read_text().splitlines():
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * _KIB
    for limit, used in _GROUPS:
        try:
            words = limit.read_text().strip(), used.read_text().strip()
        except OSError:
            continue
        if words[0].isdigit():
            yield int(words[0]) - int(words[1])
