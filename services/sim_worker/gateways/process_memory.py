"""How much memory a session's processes take, from /proc."""

import os
from pathlib import Path
from typing import Final

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_KIB: Final = 1024


def exceeds(pid: int, limit_bytes: int) -> bool:
    """Whether a process and those it started take more than `limit_bytes`, shared pages counted in proportion.

    The resident size counts shared pages fully and costs microseconds; the exact sum walks every page, so it is
    made only when the cheap one is beyond the limit. A process that is gone takes nothing.
    """
    family = [pid, *_started_by(pid)]
    if sum(map(_resident_bytes, family)) <= limit_bytes:
        return False
    return sum(map(_proportional_bytes, family)) > limit_bytes


def _started_by(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


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
