"""The zygote and its children, as their worker sees them.

A worker has one Zygote for its whole life; the process behind it may die and is replaced at the next launch.
"""

import asyncio
from pathlib import Path

import structlog

from milepost.child.v1.child_pb2 import Plan, ToChild, ZygoteReady
from sim_worker.gateways.allocator import DEFAULT
from sim_worker.gateways.child_process import Child, ChildLimits
from sim_worker.gateways.zygote_process import ZygoteFailed, ZygoteProcess

__all__ = ["Zygote", "ZygoteFailed"]

log = structlog.get_logger()


class Zygote:
    """Launches children. Make it with `start`, before any gRPC channel exists."""

    def __init__(self, process: ZygoteProcess, allocator: str) -> None:
        self._process = process
        self._allocator = allocator
        self._replacing = asyncio.Lock()

    @classmethod
    async def start(cls, allocator: str = DEFAULT) -> "Zygote":
        """Returns when it can fork; `allocator` as in `allocator.preload`. Raises ZygoteFailed."""
        return cls(await ZygoteProcess.start(allocator), allocator)

    @property
    def ready(self) -> ZygoteReady:
        """What it has found on this machine."""
        return self._process.ready

    @property
    def pid(self) -> int:
        """Process id of the present process."""
        return self._process.pid

    async def launch(self, plan: Plan, directory: Path, limits: ChildLimits) -> Child:
        """Fork a child that runs `plan` in `directory`. Raises ZygoteFailed."""
        async with self._replacing:
            if self._process.lost:
                log.warning("zygote lost, starting another", pid=self._process.pid)
                await self._process.close()
                self._process = await ZygoteProcess.start(self._allocator)
        child = await self._process.launch(directory, limits)
        await child.send(ToChild(plan=plan))
        return child

    async def close(self) -> None:
        """End it and every child."""
        await self._process.close()
