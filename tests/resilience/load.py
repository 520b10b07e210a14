"""Sessions that run and are watched while something happens to what serves them; judged when all have ended."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from milepost.checkpoint.v1.checkpoint_pb2 import Exactness
from milepost.client import Milepost
from milepost.event.v1.event_pb2 import EventKind
from milepost.exceptions import DeadlineExceeded, Unavailable
from milepost.session.v1.session_pb2 import Session, SessionSpec, SessionState
from resilience.history import Recorder, read_log
from resilience.model import check, check_undisturbed
from resilience.observed import History, Violation
from scenario.demo import demo_directory

# When the demo city begins, simulated seconds.
BEGIN_S = 25200.0
# Sessions of one seed must say the same.
SEEDS = 2
# How long all of them may take to end once nothing disturbs them any more, seconds.
SETTLE_S = 400.0


@dataclass(slots=True)
class Load:
    """`names` run and are watched from `begin` on; `length_s` simulated seconds each, `pace` 0: as fast as they can."""

    client: Milepost
    store: str
    names: Sequence[str]
    length_s: float
    pace: float = 0.0
    recorder: Recorder = field(default_factory=Recorder)
    violations: list[Violation] = field(default_factory=list)
    _digest: str = ""

    async def begin(self) -> None:
        """Create all; returns when each has stored an interval."""
        self._digest = (await self.client.scenarios.upload(demo_directory())).digest
        for seed, name in enumerate(self.names):
            await self._create(name, seed % SEEDS)
        for name in self.names:
            await self._first_interval(name)

    async def grow(self) -> None:
        """Wait until every session that has not ended has stored something more."""
        before = {name: await self._head(name) for name in self.names}
        for name, head in before.items():
            while await self._head(name) <= head and not _ended(await self._session(name)):
                await asyncio.sleep(0.1)

    async def running(self) -> int:
        """How many have not ended."""
        return sum([not _ended(await self._session(name)) for name in self.names])

    async def judged(self) -> tuple[list[Session], History, list[Violation]]:
        """All sessions as they ended, what was seen, and what is wrong with it."""
        async with asyncio.timeout(SETTLE_S):
            for name in self.names:
                while not _ended(await self._session(name)):
                    await asyncio.sleep(0.1)
        history = await self.recorder.history(self.client, self.names)
        found = [*self.violations, *self.recorder.faults, *check(history)]
        for seed in range(min(SEEDS, len(self.names))):
            calm = await self.client.sessions.create(self._spec(seed, pace=0.0))
            await self.client.sessions.wait(calm.session_id)
            undisturbed = await read_log(self.client, calm.session_id)
            for name in self.names[seed::SEEDS]:
                found += check_undisturbed(name, history.logs[name], undisturbed)
        sessions = [await self.client.sessions.get(name, full=True) for name in self.names]
        for session in sessions:
            if session.state != SessionState.SESSION_STATE_COMPLETED or session.exactness != Exactness.EXACTNESS_EXACT:
                found.append(Violation("ending", session.session_id, f"{session.state} {session.exactness}"))
        return sessions, history, found

    def _spec(self, seed: int, *, pace: float) -> SessionSpec:
        return SessionSpec(scenario_digest=self._digest, seed=seed, end_time_s=BEGIN_S + self.length_s, pace=pace)

    async def _create(self, name: str, seed: int) -> None:
        request_id = str(uuid.uuid4())
        spec = self._spec(seed, pace=self.pace)
        await self.recorder.operate(
            *(name, "create", request_id),
            lambda: self.client.sessions.create(spec, session_id=name, request_id=request_id),
        )

    async def _first_interval(self, name: str) -> None:
        async for _ in self.client.events.watch(name, kinds=[EventKind.EVENT_KIND_INTERVAL_CLOSED]):
            if (await self.client.events.head(name)).head_seq > 4:
                return

    async def _session(self, name: str) -> Session:
        while True:
            try:
                return await self.client.sessions.get(name)
            except (Unavailable, DeadlineExceeded):
                # A machine that is busy with other things is not what is judged here.
                continue

    async def _head(self, name: str) -> int:
        while True:
            try:
                return (await self.client.events.head(name)).head_seq
            except (Unavailable, DeadlineExceeded):
                # A machine that is busy with other things is not what is judged here.
                continue


@asynccontextmanager
async def load(
    client: Milepost, store: str, *, sessions: int, length_s: float, pace: float = 0.0
) -> AsyncIterator[Load]:
    """Sessions that have begun, each with a watcher of its own at `store`, which follows it to its end."""
    running = Load(client, store, [f"load-{number}" for number in range(sessions)], length_s, pace)
    await running.begin()
    watches = [
        asyncio.create_task(running.recorder.watch(store, name, rereads=lambda reached: reached), name=f"watch {name}")
        for name in running.names
    ]
    try:
        yield running
        await asyncio.wait(watches, timeout=SETTLE_S)
        running.violations += [
            Violation("watching", name, "a watcher saw no end")
            for name, watch in zip(running.names, watches, strict=True)
            if not watch.done()
        ]
    finally:
        for watch in watches:
            watch.cancel()


def _ended(session: Session) -> bool:
    return session.state in {
        SessionState.SESSION_STATE_COMPLETED,
        SessionState.SESSION_STATE_FAILED,
        SessionState.SESSION_STATE_CANCELLED,
    }
