"""Before memory or disk run out copies of ended sessions leave, then the largest session is suspended."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from sim_worker.application.lingering import Lingering
from sim_worker.application.session import Key
from sim_worker.application.work import Work
from sim_worker.gateways.child_process import Child
from sim_worker.gateways.machine import Machine

log = structlog.get_logger()

PERIOD_S: Final = 1.0
# After a suspension, time for its memory and files to go before the next is chosen, seconds.
_SETTLE_S: Final = 5.0


@dataclass(slots=True)
class RelievePressure:
    """Watches the machine. `closed_because` says why no work is taken meanwhile; empty: it is."""

    machine: Machine
    work: Work
    lingering: Lingering
    children: Mapping[Key, Child]
    disk_bytes: Callable[[Key], int]
    closed_because: str = ""

    async def __call__(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(PERIOD_S)
            pressure = await asyncio.to_thread(self.machine.pressure)
            if pressure != self.closed_because:
                self.closed_because = pressure
                self.work.open.clear() if pressure else self.work.open.set()
                log.warning("pressure" if pressure else "pressure is over", of=pressure)
            if pressure and (gone := self.lingering.leave_all()):
                log.warning("copies of ended sessions left under pressure", copies=gone)
            elif pressure and await self._suspend_largest(pressure):
                await asyncio.sleep(_SETTLE_S)

    async def _suspend_largest(self, pressure: str) -> bool:
        sizes: dict[Key, int] = {}
        for key, child in list(self.children.items()):
            of_disk = pressure.startswith("disk")
            sizes[key] = await asyncio.to_thread(self.disk_bytes if of_disk else _memory(child), key)
        for key in sorted(sizes, key=lambda key: sizes[key], reverse=True):
            if await self.work.suspend(key, f"{pressure} pressure on its worker"):
                log.warning("suspended under pressure", session=key[1], pressure=pressure, bytes=sizes[key])
                return True
        return False


def _memory(child: Child) -> Callable[[Key], int]:
    return lambda _: child.memory_bytes()
