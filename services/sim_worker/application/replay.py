"""Simulate a past again, in a process and a directory of its own, along the way it took (REBASE: from file to file)."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace
from pathlib import Path

import grpc
import structlog

from milepost.child.v1.child_pb2 import FromChild, Plan, Stop, ToChild
from milepost.event.v1.event_pb2 import ScenePrepared
from runtime.blobs import BlobCorrupt, BlobMissing, Blobs
from session_log.past import Past
from sim_worker.application.choose_start import kept_rebased
from sim_worker.application.plans import begin_from
from sim_worker.application.prepare_scene import PrepareScene
from sim_worker.application.session import Key
from sim_worker.application.simulate import Limits
from sim_worker.application.snapshots import Kept, Snapshots, next_name
from sim_worker.application.write_state import state_file_name
from sim_worker.gateways.child_process import Child
from sim_worker.gateways.zygote import Zygote

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ReplayTools:
    """What a replay needs of its worker."""

    prepare_scene: PrepareScene
    zygote: Zygote
    limits: Limits
    snapshots: Snapshots
    blobs: Blobs


@dataclass(slots=True)
class Replay:
    """One past, once. `root` is its own; `plan` has no arguments yet."""

    tools: ReplayTools
    past: Past
    plan: Plan
    root: Path
    prepared: ScenePrepared = field(default_factory=ScenePrepared)
    _child: Child | None = None
    _stretch: int = 0

    @property
    def child(self) -> Child:
        """The process that simulates now."""
        assert self._child is not None
        return self._child

    async def from_origin(self) -> None:
        """Begin at the scenario's begin. Raises SceneFailed, ZygoteFailed."""
        await self._launch(self.plan, await self._lay_out())

    async def from_file(self, *, upto_step: int) -> bool:
        """Begin with the newest state file of the past's own way; False when there is none. Raises SceneFailed."""
        for made in reversed(kept_rebased(self.past)):
            if made.step > upto_step:
                continue
            arguments = await self._lay_out()
            try:
                await self.tools.blobs.get_file(made.state_file.sha256, self._directory / state_file_name(made))
            except (BlobMissing, BlobCorrupt, grpc.aio.AioRpcError) as error:
                log.warning("a state file cannot be used", step=made.step, error=repr(error))
                continue
            plan = _copy_of(self.plan)
            begin_from(plan, self.past, made)
            await self._launch(plan, arguments)
            return True
        return False

    async def from_copy(self, kept: Kept, key: Key) -> None:
        """Begin where a copy sleeps; another one is left in its place. Raises ChildGone, ChildRefused."""
        for folder in ("scene", "outputs"):
            (self._directory / folder).mkdir(parents=True, exist_ok=True)
        snapshot, limits = kept.snapshot, self.tools.limits.of(self.past.spec)
        child = await snapshot.wake(
            self.plan, keep_as=next_name(snapshot.snapshot_id), directory=self._directory, limits=limits
        )
        self._child = child
        if child.kept is not None:
            self.tools.snapshots.keep(key, replace(kept, snapshot=await child.kept))

    async def messages(self) -> AsyncGenerator[FromChild, None]:
        """What the processes say, one after the other. Raises ChildGone, ChildRefused, SceneFailed, ZygoteFailed."""
        while True:
            rebase: asyncio.Task[int] | None = None
            async with contextlib.aclosing(self.child.messages()) as messages:
                async for message in messages:
                    if message.HasField("rebase_due"):
                        rebase = asyncio.create_task(self._write(message.rebase_due.step))
                    elif rebase is None:
                        yield message
            if rebase is None:
                return
            await self._go_on(await rebase)

    async def close(self) -> None:
        """Let nothing run on."""
        if self._child is not None:
            self._child.kill()
            await asyncio.shield(self._child.exited())
            self._child.close()

    @property
    def _directory(self) -> Path:
        return self.root / str(self._stretch)

    async def _write(self, step: int) -> int:
        """Have the state written where the log says the simulation went on from it, and the process leave."""
        made = next(made for made in self.past.rebased if made.step == step)
        try:
            await self.child.write_state(state_file_name(made))
            await self.child.send(ToChild(stop=Stop()))
        except BaseException:
            self.child.kill()
            raise
        return step

    async def _go_on(self, step: int) -> None:
        made = next(made for made in self.past.rebased if made.step == step)
        written = self._directory / state_file_name(made)
        await self.close()
        self._stretch += 1
        arguments = await self._lay_out()
        written.rename(self._directory / written.name)
        plan = _copy_of(self.plan)
        begin_from(plan, self.past, made)
        await self._launch(plan, arguments)

    async def _lay_out(self) -> list[str]:
        scene = await self.tools.prepare_scene(self.past.spec, self.past.scene, self._directory)
        self.prepared = scene.prepared
        return list(scene.arguments)

    async def _launch(self, plan: Plan, arguments: list[str]) -> None:
        plan.arguments[:] = arguments
        self._child = await self.tools.zygote.launch(plan, self._directory, self.tools.limits.of(self.past.spec))


def _copy_of(plan: Plan) -> Plan:
    copy = Plan()
    copy.CopyFrom(plan)
    return copy
