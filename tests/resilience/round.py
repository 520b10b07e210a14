"""One round of chaos: a stack, sessions, commands and faults by a schedule; then peace, and the judgement.

schedule ─► sessions, watchers, commands ─┐
         └► faults ───────────────────────┴─► heal ─► every session ends ─► model ─► undisturbed runs
"""

import asyncio
import contextlib
import gzip
import re
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from milepost.checkpoint.v1.checkpoint_pb2 import RecoveryPolicy
from milepost.client import Milepost
from milepost.exceptions import MilepostError, NotFound
from milepost.session.v1.session_pb2 import SessionSpec, SessionState
from resilience.again import Journal, journal_of, run_again
from resilience.commands import Ground, command, fork_id, verify
from resilience.faults import Fault, SmallDisk, Victim, small_disk, strike, wake, wake_all
from resilience.history import Recorder, ended, read_log
from resilience.lasting_stack import LastingStack, lasting_stack
from resilience.model import check, check_undisturbed
from resilience.observed import Entry, History, Violation
from resilience.schedule import Climate, Order, Schedule, Wish

# How long clients bear a stack that is away, s: longer than any fault.
PATIENCE_S = 60.0
# How long sessions may take to end once nothing disturbs them any more, s.
SETTLE_S = 120.0
# What a disk that can be full holds, MiB.
DISK_MIB = 192
_LOOK_S = 0.3
# Of the sessions that go on from their own state files, simulated s.
REBASE_EVERY_S = 100.0
WORKERS, SLOTS = 2, 3


@dataclass(frozen=True, slots=True)
class Source:
    """A scenario on this machine."""

    config: Path
    net: Path
    begin_s: float

    def edge_ids(self) -> list[str]:
        """Its streets."""
        content = self.net.read_bytes()
        text = (gzip.decompress(content) if self.net.suffix == ".gz" else content).decode()
        return [name for name in re.findall(r'<edge id="([^"]+)"', text) if not name.startswith(":")]


@dataclass(slots=True)
class Result:
    """What a round came to."""

    history: History
    violations: list[Violation]
    blows: Counter[str]
    """Faults that hit something, by kind."""
    lives: int
    """How often all of the stack was started."""
    compared: int
    """Sessions that were compared with an undisturbed run."""

    def count(self, kind: str) -> int:
        """Events of a kind in all logs."""
        return sum(entry.kind == kind for log in self.history.logs.values() for entry in log)


async def play(folder: Path, schedule: Schedule, climate: Climate, sources: Sequence[Source]) -> Result:
    """A round in a folder of its own. Raises only when the stack does not start, or leaves something behind."""
    async with contextlib.AsyncExitStack() as exits:
        disk = None
        if Victim.DISK in climate.victims:
            disk = await exits.enter_async_context(small_disk(folder / "stack" / "data", DISK_MIB))
        environment = {"MILEPOST_LEASE_S": str(climate.lease_s), "MILEPOST_RECONCILE_S": "2"}
        stack = await exits.enter_async_context(
            lasting_stack(folder / "stack", workers=WORKERS, slots=SLOTS, environment=environment)
        )
        client = await exits.enter_async_context(Milepost.connect(stack.api, stack.store, retry_for_s=PATIENCE_S))
        return await _Round(stack, client, disk, schedule, climate, sources)()


@dataclass(slots=True)
class _Round:
    stack: LastingStack
    client: Milepost
    disk: SmallDisk | None
    schedule: Schedule
    climate: Climate
    sources: Sequence[Source]
    recorder: Recorder = field(default_factory=Recorder)
    blows: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)
    peace: asyncio.Event = field(default_factory=asyncio.Event)
    digests: list[str] = field(default_factory=list)
    grounds: list[Ground] = field(default_factory=list)

    async def __call__(self) -> Result:
        for source in self.sources:
            self.digests.append((await self.client.scenarios.upload(source.config)).digest)
            self.grounds.append(Ground(source.edge_ids(), source.begin_s, self.climate.length_s))
        async with asyncio.TaskGroup() as tasks:
            lives = [tasks.create_task(self._live(wish), name=wish.session_id) for wish in self.schedule.wishes]
            await self._strike_all()
            self.peace.set()
        created = [name for life in lives for name in life.result()]
        history = await self.recorder.history(self.client, created)
        compared = await self._compare(history)
        found = [*self.violations, *self.recorder.faults, *check(history)]
        return Result(history, found, self.blows, self.stack.lives, compared)

    async def _live(self, wish: Wish) -> list[str]:
        """A session and its forks from their creation to their ends; the ids of those that came to be."""
        name, spec = wish.session_id, self._spec(wish)
        await asyncio.sleep(wish.begin_s)
        await self.recorder.operate(
            *(name, "create", wish.request_id),
            lambda: self.client.sessions.create(spec, session_id=name, request_id=wish.request_id),
        )
        if not await self._exists(name):
            return []
        forks = [fork_id(name, order.command_id) for order in wish.orders if order.verb == "fork"]
        async with asyncio.TaskGroup() as tasks:
            watches = [
                tasks.create_task(self.recorder.watch(self.stack.store, name, rereads=rereads), name=f"watch {name}")
                for rereads in (_goes_on, _reads_again)
            ]
            for order in wish.orders:
                await self._give(wish, order)
            await self.peace.wait()
            born = [name, *[fork for fork in forks if await self._exists(fork)]]
            for one in born:
                await self._settle(one)
            for watch in watches:
                watch.cancel()
        return born

    async def _exists(self, name: str) -> bool:
        try:
            await self.client.sessions.get(name)
        except NotFound:
            return False
        return True

    async def _give(self, wish: Wish, order: Order) -> None:
        await asyncio.sleep(order.wait_s)
        call = command(
            *(self.client, order.verb, wish.session_id, order.command_id),
            pick=order.pick,
            ground=self.grounds[wish.source],
        )
        await self.recorder.operate(wish.session_id, order.verb, order.command_id, call)

    async def _settle(self, name: str) -> None:
        """Wait for the end, and help a session to it that waits for somebody's word."""
        deadline = time.monotonic() + SETTLE_S
        while not await ended(self.client, name):
            if time.monotonic() > deadline:
                found = await self.client.sessions.get(name, full=True)
                words = f"not ended {SETTLE_S:g} s after the last fault: {SessionState.Name(found.state)} {found!r}"
                self.violations.append(Violation("ending", name, words))
                return
            with contextlib.suppress(MilepostError):
                await self._release(name)
            await asyncio.sleep(_LOOK_S)

    async def _release(self, name: str) -> None:
        """Resume what is suspended, let go on what is paused."""
        found = await self.client.sessions.get(name)
        verb = None
        if found.state == SessionState.SESSION_STATE_SUSPENDED:
            verb = "resume"
        elif "pace" in found.DESCRIPTOR.fields_by_name and (found.pace.paused or found.pace.factor):
            verb = "set_pace"
        if verb is not None:
            full_speed = Ground((), 0.0, 0.0)
            await command(self.client, verb, name, str(uuid.uuid4()), pick=1.0, ground=full_speed)()

    async def _strike_all(self) -> None:
        """Carry the faults out, each at its time, and undo them all."""
        begin_s = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for fault in self.schedule.faults:
                await asyncio.sleep(begin_s + fault.at_s - time.monotonic())
                tasks.create_task(self._strike(fault), name=fault.name)
        stack = await self.stack.up()
        wake_all(stack)

    async def _strike(self, fault: Fault) -> None:
        if fault.victim is Victim.DISK:
            if self.disk is not None:
                self.blows[fault.name] += 1
                await asyncio.to_thread(self.disk.fill)
                await asyncio.sleep(fault.lasts_s)
                self.disk.free()
            return
        stack = self.stack.now
        pid = None if stack is None else strike(stack, fault)
        if pid is not None:
            self.blows[fault.name] += 1
            if fault.pauses:
                await asyncio.sleep(fault.lasts_s)
                wake(pid)

    async def _compare(self, history: History) -> int:
        """Run everything again with nothing in its way, and compare."""
        compared = 0
        calm: dict[tuple[int, int], Sequence[Entry]] = {}
        wishes = {wish.session_id: wish for wish in self.schedule.wishes}
        try:
            for name, log in history.logs.items():
                parent = next(one for one in wishes if name.startswith(one))
                wish = wishes[parent]
                key = wish.source, wish.seed
                if any(entry.verb == "intervene" for entry in (*log, *history.logs[parent])):
                    self.violations += await self._verify(name, log)
                    if not any(entry.base_run or entry.opens for entry in log):
                        again = await self._calm(wish, await journal_of(self.client, name))
                        self.violations += check_undisturbed(name, log, again)
                else:
                    calm[key] = calm.get(key) or await self._calm(wish)
                    self.violations += check_undisturbed(name, log, calm[key])
                compared += 1
        except MilepostError as error:
            self.violations.append(Violation("healing", name, f"nothing runs after the last fault: {error}"))
        return compared

    async def _verify(self, name: str, log: Sequence[Entry]) -> list[Violation]:
        """Have every run of a session simulated again from its log alone, interventions included."""
        runs = max([1, *(entry.opens for entry in log)])
        found = [(run, await verify(self.client, name, run)) for run in range(1, runs + 1)]
        return [
            Violation("exact", name, f"run {run}: {one.difference} at step {one.diverged_step}")
            for run, one in found
            if not one.exact
        ]

    async def _calm(self, wish: Wish, journal: Journal = ()) -> Sequence[Entry]:
        begin_s = self.sources[wish.source].begin_s
        name = await run_again(self.client, self._spec(wish), journal, begin_s=begin_s, step_s=1.0)
        return await read_log(self.client, name)

    def _spec(self, wish: Wish) -> SessionSpec:
        begin_s = self.sources[wish.source].begin_s
        spec = SessionSpec(
            scenario_digest=self.digests[wish.source], seed=wish.seed, end_time_s=begin_s + wish.length_s
        )
        if wish.seed % 3 == 0:
            spec.recovery = RecoveryPolicy.RECOVERY_POLICY_REBASE
            spec.checkpoints.every_sim_s = REBASE_EVERY_S
        return spec


def _goes_on(reached: int) -> int:
    return reached


def _reads_again(reached: int) -> int:
    return reached // 2
