"""A stack that is started again, in the same folder and on the same port, whenever all of it was killed."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from milepost.up.ports import free_ports
from stack import RunningStack, running_stack


class LastingStack:
    """`now` is the stack of this moment; None between two lives."""

    def __init__(self, folder: Path, *, workers: int, slots: int, environment: Mapping[str, str]) -> None:
        self.now: RunningStack | None = None
        self.lives = 0
        self._folder = folder
        self._workers = workers
        self._slots = slots
        self._environment = environment
        # Two, so that the event store is beside the API in every life.
        self._port = free_ports(2)[0]
        self._up = asyncio.Event()
        self._leaving = asyncio.Event()

    @property
    def api(self) -> str:
        """Where session_api serves, in every life."""
        return f"127.0.0.1:{self._port}"

    @property
    def store(self) -> str:
        """Where event_store serves, in every life."""
        return f"127.0.0.1:{self._port + 1}"

    async def up(self) -> RunningStack:
        """Wait until it serves."""
        await self._up.wait()
        assert self.now is not None
        return self.now

    async def live(self) -> None:
        """One life after the other until `leave`. Fails when a life leaves something behind or ends by itself."""
        while not self._leaving.is_set():
            async with running_stack(
                self._folder,
                workers=self._workers,
                slots=self._slots,
                port=self._port,
                environment=self._environment,
            ) as stack:
                self.now, self.lives = stack, self.lives + 1
                self._up.set()
                death = asyncio.create_task(stack.process.wait(), name="death of the stack")
                leave = asyncio.create_task(self._leaving.wait(), name="leave")
                await asyncio.wait({death, leave}, return_when=asyncio.FIRST_COMPLETED)
                leave.cancel()
                self._up.clear()
                self.now = None

    def leave(self) -> None:
        """Let this life be the last."""
        self._leaving.set()


@asynccontextmanager
async def lasting_stack(
    folder: Path, *, workers: int, slots: int, environment: Mapping[str, str]
) -> AsyncIterator[LastingStack]:
    """A stack that serves and is kept so until the body ends."""
    stack = LastingStack(folder, workers=workers, slots=slots, environment=environment)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(stack.live(), name="lives of the stack")
        await stack.up()
        yield stack
        stack.leave()
