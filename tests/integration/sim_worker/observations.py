"""What tests look at: the events of a session's log, and the processes that simulate it."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

from milepost.event.v1.event_pb2 import Event
from session_log.codec import SIMULATION_KINDS, event_kind, payload_of


def simulating(session_id: str) -> list[int]:
    """Pids of processes that work in a directory of the session, snapshots included, oldest first."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                inside = f".{session_id}." in str((entry / "cwd").readlink())
                # Pids begin again from the start once they have run out.
                began = int((entry / "stat").read_text().rpartition(")")[2].split()[19])
            except OSError:
                continue
            if inside:
                found.append((began, int(entry.name)))
    return [pid for _, pid in sorted(found)]


async def at_rest(session_id: str) -> None:
    """Wait until nothing simulates a session any more: a killed process takes its time to give its memory back."""
    async with asyncio.timeout(10):
        while simulating(session_id):
            await asyncio.sleep(0.02)


def kill(pid: int) -> None:
    """As a crash would."""
    os.kill(pid, signal.SIGKILL)


def simulated(log: list[Event]) -> list[tuple[int, int, float, bytes]]:
    """What is judged of a log."""
    return [
        (event_kind(event), event.step, event.sim_time_s, payload_of(event))
        for event in log
        if event_kind(event) in SIMULATION_KINDS
    ]


def intervals(log: list[Event]) -> list[int]:
    """Steps of the intervals."""
    return [event.step for event in log if event.HasField("interval_closed")]


def has(kind: str) -> Callable[[list[Event]], bool]:
    """Whether an event of a kind is there."""
    return lambda log: any(event.WhichOneof("payload") == kind for event in log)


def ended(log: list[Event]) -> bool:
    """Whether the log ends with a terminal event."""
    return log[-1].WhichOneof("payload") in ("session_completed", "session_failed", "session_cancelled")


def beyond(step: int) -> Callable[[list[Event]], bool]:
    """Whether an interval after a step is there."""
    return lambda log: any(taken > step for taken in intervals(log))
