"""Faults: what happens to the processes of a stack, and how it is undone. Processes are found by the stack's mark."""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum, auto
from pathlib import Path

from stack import RunningStack

_MIB = 1024**2
_ZYGOTE = "sim_worker.child.zygote"


class Victim(StrEnum):
    """Which process it happens to."""

    WORKER = auto()
    CHILD = auto()
    ZYGOTE = auto()
    STORE = auto()
    API = auto()
    BROKER = auto()
    EVERYTHING = auto()
    DISK = auto()


class Blow(StrEnum):
    """What happens to it."""

    KILL = auto()
    """SIGKILL."""
    PAUSE = auto()
    """SIGSTOP, and SIGCONT later: a process that wakes up in another world."""
    DRAIN = auto()
    """SIGTERM: of a worker, handing its sessions over."""
    FILL = auto()
    """Of the disk: not a byte is free."""


@dataclass(frozen=True, slots=True)
class Fault:
    """`at_s` after the begin, to one of the victims there are then: `pick` of 0 to 1 says which. A pause lasts."""

    at_s: float
    victim: Victim
    blow: Blow
    pick: float
    lasts_s: float = 0.0

    @property
    def name(self) -> str:
        """For counting."""
        return f"{self.blow} {self.victim}"

    @property
    def pauses(self) -> bool:
        """Whether it is undone after `lasts_s`."""
        return self.blow is Blow.PAUSE


_NAMES = {Victim.WORKER: "worker", Victim.STORE: "event_store", Victim.API: "session_api", Victim.BROKER: "nats"}


def victims(stack: RunningStack, victim: Victim) -> list[int]:
    """The living processes of a kind, in the order of their names or ids."""
    living = stack.processes()
    match victim:
        case Victim.STORE | Victim.API | Victim.BROKER | Victim.WORKER:
            # The ready file may name a process that has died; its id may be anybody's by now.
            named = sorted((name, pid) for name, pid in _pids(stack).items() if pid in living)
            return [pid for name, pid in named if name.startswith(_NAMES[victim])]
        case Victim.CHILD | Victim.ZYGOTE:
            forked = sorted(pid for pid, command in living.items() if _ZYGOTE in command)
            return [pid for pid in forked if _in_session(pid) == (victim is Victim.CHILD)]
        case Victim.EVERYTHING:
            return [stack.process.pid]
        case Victim.DISK:
            return []


def strike(stack: RunningStack, fault: Fault) -> int | None:
    """Carry a fault out; the process that was hit, None when there is none just now."""
    found = victims(stack, fault.victim)
    if not found:
        return None
    pid = found[min(int(fault.pick * len(found)), len(found) - 1)]
    number = {Blow.KILL: signal.SIGKILL, Blow.PAUSE: signal.SIGSTOP, Blow.DRAIN: signal.SIGTERM}[fault.blow]
    return pid if _send(pid, number) else None


def wake(pid: int) -> None:
    """Let a paused process go on, if it is still there."""
    _send(pid, signal.SIGCONT)


def wake_all(stack: RunningStack) -> None:
    """Let everything go on that still stands."""
    for pid in stack.processes():
        wake(pid)


@contextlib.asynccontextmanager
async def small_disk(folder: Path, mib: int) -> AsyncIterator["SmallDisk | None"]:
    """A folder on a file system of its own of `mib` MiB; None where this user may not have one."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ("mount", "-t", "tmpfs", "-o", f"size={mib}m", "milepost-test", str(folder))
    mounted = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=False)
    if mounted.returncode:
        yield None
        return
    try:
        yield SmallDisk(folder)
    finally:
        # Lazily: whoever still holds a file there is about to die.
        await asyncio.to_thread(subprocess.run, ("umount", "--lazy", str(folder)), check=False)


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """A disk that can be full."""

    folder: Path

    def fill(self) -> None:
        """Take every byte that is free."""
        with contextlib.suppress(OSError), self._ballast.open("ab", buffering=0) as ballast:
            for size in (_MIB, 4096):
                with contextlib.suppress(OSError):
                    while ballast.write(bytes(size)) == size:
                        pass

    def free(self) -> None:
        """Give it all back."""
        self._ballast.unlink(missing_ok=True)

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"


def _pids(stack: RunningStack) -> dict[str, int]:
    # The ready file is replaced while children come and go, and is not there while a stack starts.
    with contextlib.suppress(OSError, ValueError):
        return stack.pids
    return {}


def _in_session(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return "/sessions/" in str(Path(f"/proc/{pid}/cwd").readlink())
    return False


def _send(pid: int, number: signal.Signals) -> bool:
    """Whether it was there to get it."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
        return True
    return False
