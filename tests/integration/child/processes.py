"""Looks at real processes, through /proc."""

import asyncio
from collections.abc import Iterable
from pathlib import Path

# What the kernel kills is gone at once; a machine under load takes longer.
GONE_WITHIN_S = 30.0


def alive(pid: int) -> bool:
    """Whether a process runs; one that is dead and only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def until_gone(pids: Iterable[int]) -> None:
    """Wait until none of them runs; TimeoutError when one still does."""
    pids = list(pids)
    async with asyncio.timeout(GONE_WITHIN_S):
        while any(map(alive, pids)):
            await asyncio.sleep(0.01)


def started_by(pid: int) -> list[int]:
    """Processes that this one started and that are still there."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def family(pid: int) -> list[int]:
    """A process with everything below it."""
    return [pid, *(below for child in started_by(pid) for below in family(child))]


def status(pid: int) -> dict[str, str]:
    """/proc/<pid>/status by its names."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
