"""How much memory and processor time a session's processes take, from /proc."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_KIB: Final = 1024
# Fields of /proc/<pid>/stat behind the name: user and system time, own and of children that ended.
_TIMES: Final = slice(11, 15)


def exceeds(pids: Iterable[int], limit_bytes: int) -> bool:
    """Whether processes and those they started take more than `limit_bytes`, shared pages counted in proportion.

    The resident size counts shared pages fully and costs microseconds; the exact sum walks every page, so it is
    made only when the cheap one is beyond the limit. A process that is gone takes nothing.
    """
    family = _families(pids)
    if sum(map(_resident_bytes, family)) <= limit_bytes:
        return False
    return sum(map(_proportional_bytes, family)) > limit_bytes


def proportional_bytes(pids: Iterable[int]) -> int:
    """What processes and those they started take, shared pages counted in proportion. Walks every page."""
    return sum(map(_proportional_bytes, _families(pids)))


def cpu_s(pid: int) -> float:
    """Processor time of a process and those it started, seconds; 0 when it is gone."""
    return sum(map(_cpu_s, _families([pid])))


def _families(pids: Iterable[int]) -> list[int]:
    return [member for pid in pids for member in (pid, *_started_by(pid))]


def _started_by(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _cpu_s(pid: int) -> float:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    return sum(map(int, stat.rpartition(")")[2].split()[_TIMES])) / _TICKS_PER_S


def _resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
    except OSError:
        return 0


def _proportional_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return _resident_bytes(pid)
    return next((int(line.split()[1]) * _KIB for line in lines if line.startswith("Pss:")), 0)
