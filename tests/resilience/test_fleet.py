"""Workers come and go as an autoscaler has them by the scaler's numbers: nothing is lost, and the numbers are right."""

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from bench.autoscaling import Autoscaler, autoscaled

from eventually import eventually
from milepost.session.v1.session_pb2 import Session, SessionSpec, SessionState
from resilience.history import Recorder
from resilience.model import check
from stack import RunningStack, running_stack

PATIENCE_S = 240.0
BEGIN_S = 25200.0
# Simulated seconds per second: fast enough for a test, slow enough to be moved meanwhile.
PACE = 10.0


@dataclass(slots=True)
class Day:
    """A stack whose workers come and go, and what is seen meanwhile."""

    stack: RunningStack
    scaler: Autoscaler
    asked: dict[str, tuple[float, float]] = field(default_factory=dict)
    """When the creation of each session was called, and when it was answered, s since the epoch."""
    _digest: str = ""

    async def create(self, *lengths_s: float, pace: float = PACE, paused: bool = False) -> list[str]:
        """Sessions of the demo city, that many simulated seconds long."""
        sessions = self.stack.client.sessions
        if not self._digest:
            demo = await self._create(sessions.create_demo(seed=1, end_time_s=BEGIN_S + 10.0))
            self._digest = demo.spec.scenario_digest
        made = []
        for length_s in lengths_s:
            spec = SessionSpec(
                scenario_digest=self._digest, seed=1, end_time_s=BEGIN_S + length_s, pace=pace, start_paused=paused
            )
            made.append((await self._create(sessions.create(spec))).session_id)
        return made

    async def workers(self, count: int) -> None:
        """Wait until there are so many, and all of them serve."""
        fleet = self.scaler.fleet
        await eventually(lambda: len(fleet.workers) == fleet.ready == count, timeout_s=PATIENCE_S)

    async def completed(self) -> list[Session]:
        """All sessions, once they have."""
        ended = [await self.stack.client.sessions.wait(name) for name in self.asked]
        assert {one.state for one in ended} == {SessionState.SESSION_STATE_COMPLETED}
        return ended

    def check_numbers(self, ended: Sequence[Session]) -> None:
        """Each number was right when it was said: whoever wanted a slot all the while was counted, and no stranger."""
        ends = {one.session_id: one.end_time.ToMicroseconds() / 1e6 for one in ended}
        for reading in self.scaler.readings:
            wanting = {
                name
                for name, (_, answered_s) in self.asked.items()
                if answered_s < reading.began_s and ends[name] > reading.ended_s
            }
            if reading.slots is not None:
                called = sum(called_s < reading.ended_s for called_s, _ in self.asked.values())
                assert len(wanting) <= reading.slots <= called, (reading, wanting)
                assert reading.active or not wanting, reading

    async def _create(self, call: Awaitable[Session]) -> Session:
        called_s = time.time()
        session = await call
        self.asked[session.session_id] = called_s, time.time()
        return session


@contextlib.asynccontextmanager
async def day(folder: Path, *, slots: int, max_workers: int) -> AsyncIterator[Day]:
    """Begins without a worker."""
    lease = {"LEASE_S": "3"}
    async with contextlib.AsyncExitStack() as exits:
        environment = {f"MILEPOST_{name}": told for name, told in lease.items()}
        stack = await exits.enter_async_context(running_stack(folder / "stack", workers=0, environment=environment))
        scaler = await exits.enter_async_context(
            autoscaled(
                folder / "fleet",
                stack.client,
                session_api=stack.ready["session_api"],
                event_store=stack.ready["event_store"],
                nats_url=stack.ready["nats"],
                slots=slots,
                max_workers=max_workers,
                environment=lease,
            )
        )
        async with asyncio.TaskGroup() as tasks:
            scaling = tasks.create_task(scaler(), name="autoscaler")
            yield Day(stack, scaler)
            scaling.cancel()


@pytest.mark.timeout(300)
async def test_a_session_brings_a_worker_and_its_end_takes_it_away(tmp_path: Path) -> None:
    async with day(tmp_path, slots=2, max_workers=2) as today:
        await today.create()
        await today.workers(1)
        ended = await today.completed()
        await today.workers(0)
        assert today.scaler.readings[-1].slots == 0
        today.check_numbers(ended)


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_a_day_of_one_six_one_and_no_workers_loses_nothing(tmp_path: Path) -> None:
    async with day(tmp_path, slots=2, max_workers=6) as today:
        client, readings = today.stack.client, today.scaler.readings
        await today.create(900.0)
        await today.workers(1)
        await today.create(*(300.0 + 30.0 * number for number in range(11)))
        await today.workers(6)
        # A broker that answers nothing: the load is not known, and no worker goes or comes for that.
        before = len(readings)
        today.stack.kill("nats", signal.SIGSTOP)
        await eventually(lambda: [one.slots for one in readings[before:]].count(None) >= 2, timeout_s=PATIENCE_S)
        assert readings[-1].desired == 6
        today.stack.kill("nats", signal.SIGCONT)
        await today.workers(1)
        await today.workers(0)
        await today.create(60.0, pace=0.0)
        await today.workers(1)
        ended = await today.completed()
        today.check_numbers(ended)
        names = [one.session_id for one in ended]
        history = await Recorder().history(client, names)
        assert check(history) == []
        assert any(entry.kind == "handed_over" for log in history.logs.values() for entry in log)
        # One that stands keeps a worker, and it is workers who simulate again.
        (standing,) = await today.create(60.0, paused=True)
        await client.sessions.wait_for(standing, SessionState.SESSION_STATE_RUNNING)
        for name in names:
            assert not (await client.sessions.verify(name)).difference
        await client.sessions.cancel(standing)
        await today.workers(0)
