"""How soon a session goes on after a blow, how soon a fork begins, what the past costs, and everything on at once.

    python -m bench recovery

Moments are the log's own record times: every process here has the same clock.
"""

import asyncio
import os
import signal
import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench import checkpoints, everything_on
from bench.lines import in_ms, in_s, told
from bench.rivals import binary_process_s, binary_s
from bench.stack import Running, whole_stack
from bench.town import write_town
from milepost.client import Milepost
from milepost.event.v1.event_pb2 import Event, EventKind
from milepost.session.v1.session_pb2 import Session, SessionSpec

VEHICLES = 1_000
INTERVAL_STEPS = 10
CROSSINGS = 8
END_S = 7_200.0
CHILD_KILLS = 7
WORKER_KILLS = 3
FORKS = 10
PLACES = 7
# Simulated time at which a worker is killed, and up to which the past is simulated again for a state, s.
KILL_AT_S = 800.0
PAST_S = 800.0
# What the session simulates after a survival copy was made, before it is hit, s of wall time.
_AFTER_COPY_S = 0.5
_LOOK_S = 0.05
_PATIENCE_S = 120.0
_INTERVAL = (EventKind.EVENT_KIND_INTERVAL_CLOSED,)


async def measure() -> None:
    """All figures of surviving, one after the other."""
    told("load of the machine before, processes", f"{os.getloadavg()[0]:.1f}")
    await checkpoints.measure()
    async with _town(workers=1) as town:
        await _child_kills(town)
        await _forks(town)
        await _past_of_the_living(town)
        await _past_of_the_ended(town)
    async with _town(workers=2) as town:
        await _worker_kills(town)
    await everything_on.measure()
    told("load of the machine at the end, the figures' own included", f"{os.getloadavg()[0]:.1f}")


@dataclass(frozen=True, slots=True)
class _Town:
    running: Running
    scenario: Path
    digest: str

    @property
    def client(self) -> Milepost:
        return self.running.client

    async def session(self, *, end_time_s: float = END_S) -> Session:
        """A new one."""
        spec = SessionSpec(scenario_digest=self.digest, seed=1, end_time_s=end_time_s, interval_steps=INTERVAL_STEPS)
        return await self.client.sessions.create(spec)

    async def reached(self, session_id: str, sim_time_s: float) -> Event:
        """The first interval of the log there or later, once it is stored."""
        async with aclosing(self.client.events.watch(session_id, kinds=_INTERVAL)) as items:
            async for item in items:
                if isinstance(item, Event) and item.sim_time_s >= sim_time_s:
                    return item
        raise RuntimeError(f"{session_id} ended before {sim_time_s:g} s")

    async def latest(self, session_id: str) -> Event:
        """The last event of the log that is stored."""
        return await anext(self.client.events.read(session_id, descending=True, page_size=1))

    def processes(self, session_id: str) -> dict[int, int]:
        """What a session's processes, its sleeping copies too, have used of processors so far, in ticks, by pid."""
        found: dict[int, int] = {}
        for process in Path("/proc").glob("[0-9]*"):
            # Whoever ends while it is looked at is none of them.
            with suppress(OSError):
                directory = (process / "cwd").readlink()
                if directory.is_relative_to(self.running.folder) and f".{session_id}." in str(directory):
                    found[int(process.name)] = _ticks(process)
        return found

    async def simulating(self, session_id: str) -> int:
        """The pid of the one that simulates: of all in the session's directory, it works while the others sleep."""
        before = self.processes(session_id)
        await asyncio.sleep(_AFTER_COPY_S)
        after = self.processes(session_id)
        return max(after, key=lambda pid: after[pid] - before.get(pid, 0))


def _ticks(process: Path) -> int:
    """utime and stime of proc(5)'s stat, its fields 14 and 15; the name before them may hold anything."""
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@asynccontextmanager
async def _town(*, workers: int) -> AsyncIterator[_Town]:
    async with whole_stack(workers=workers, slots=2) as running:
        folder = running.folder / "town"
        config = write_town(folder, crossings=CROSSINGS, vehicles=VEHICLES, end_time_s=END_S)
        yield _Town(running, folder, (await running.client.scenarios.upload(config)).digest)


@dataclass(frozen=True, slots=True)
class _Comeback:
    """Moments of an attempt, s since the epoch, and what it simulated again."""

    claimed: float
    started: float
    judged: float
    first_interval: float
    intervals_again: int
    head_s: float

    @classmethod
    async def of(cls, client: Milepost, session_id: str, *, after: Event | None = None) -> "_Comeback":
        """The first attempt, or the next after that of an event, that closes an interval."""
        after = after or Event()
        moments: dict[str, Event] = {}
        async with (
            asyncio.timeout(_PATIENCE_S),
            aclosing(client.events.watch(session_id, after_seq=after.seq)) as items,
        ):
            async for item in items:
                if isinstance(item, Event) and item.attempt > after.attempt:
                    moments[item.WhichOneof("payload") or ""] = item
                    if item.HasField("interval_closed"):
                        break
        judged = moments.get("recovery_judged", moments["run_started"])
        return cls(
            claimed=_moment(moments["attempt_claimed"]),
            started=_moment(moments["run_started"]),
            judged=_moment(judged),
            first_interval=_moment(moments["interval_closed"]),
            intervals_again=judged.recovery_judged.intervals,
            head_s=judged.sim_time_s,
        )


def _moment(event: Event) -> float:
    return event.record_time.ToMicroseconds() / 1e6


async def _child_kills(town: _Town) -> None:
    """One session, whose process is killed again and again."""
    client, session_id = town.client, (await town.session()).session_id
    early, late = await town.reached(session_id, 100.0), await town.reached(session_id, 250.0)
    interval_s = (_moment(late) - _moment(early)) / (late.step - early.step) * INTERVAL_STEPS
    backs: list[tuple[float, _Comeback]] = []
    for _ in range(CHILD_KILLS):
        await _until(lambda: len(town.processes(session_id)) > 1)
        child = await town.simulating(session_id)
        last = await town.latest(session_id)
        killed = time.time()
        os.kill(child, signal.SIGKILL)
        back = await _Comeback.of(client, session_id, after=last)
        backs.append((killed, back))
    await client.sessions.cancel(session_id)
    whole = [back.first_interval - killed for killed, back in backs]
    less = [back.first_interval - killed - back.intervals_again * interval_s for killed, back in backs]
    told(f"process killed -> next interval, {VEHICLES:,} vehicles", in_ms(whole))
    told(f"… less {interval_s * 1e3:.0f} ms, as undisturbed, for each interval again", in_ms(less), "< 500 ms")
    told("… until the next attempt is claimed", in_ms([back.claimed - killed for killed, back in backs]))
    told("… from RunStarted to the verdict in the log", in_ms([back.judged - back.started for _, back in backs]))
    told("… intervals simulated again since its copy", ", ".join(f"{back.intervals_again}" for _, back in backs))


async def _forks(town: _Town) -> None:
    """Of a running session, here and now; each is cancelled before the next."""
    client, parent = town.client, (await town.session()).session_id
    await town.reached(parent, 120.0)
    answered: list[float] = []
    backs: list[tuple[float, _Comeback]] = []
    for _ in range(FORKS):
        called = time.time()
        fork = await client.sessions.fork(parent)
        answered.append(time.time() - called)
        backs.append((called, await _Comeback.of(client, fork.session_id)))
        await client.sessions.cancel(fork.session_id)
    await client.sessions.cancel(parent)
    told(f"ForkSession -> the fork's first interval, {VEHICLES:,} vehicles", "")
    told("… on the same worker, all of it", in_ms([back.first_interval - called for called, back in backs]), "< 100 ms")
    told("… until the call's answer (the fork is durable)", in_ms(answered))
    told("… until the fork is claimed", in_ms([back.claimed - called for called, back in backs]))
    told("… from the claim to RunStarted", in_ms([back.started - back.claimed for _, back in backs]))
    told("… from there to its first interval", in_ms([back.first_interval - back.started for _, back in backs]))


async def _past_of_the_living(town: _Town) -> None:
    """States shortly after a checkpoint, whose copy sleeps on."""
    client, session_id = town.client, (await town.session()).session_id
    await town.reached(session_id, 120.0)
    first: list[float] = []
    second: list[float] = []
    for _ in range(PLACES):
        made = await client.sessions.checkpoint(session_id)
        if made is None:
            raise RuntimeError("the checkpoint was not made within the call's deadline")
        interval = await town.reached(session_id, made.sim_time_s + 20.0)
        first.append(await _state_s(client, session_id, interval.sim_time_s))
        second.append(await _state_s(client, session_id, interval.sim_time_s))
    await client.sessions.cancel(session_id)
    told("state 20 s after a checkpoint, from its copy", in_ms(first))
    told("… asked for again", in_ms(second), "< 100 ms")


async def _past_of_the_ended(town: _Town) -> None:
    """Nothing sleeps any more; each round asks for a place nobody asked for before."""
    session = await town.client.sessions.wait((await town.session(end_time_s=PAST_S + 50.0)).session_id)
    ours: list[float] = []
    bare: list[float] = []
    for until_s in (PAST_S + 5.0 * number for number in range(PLACES)):
        ours.append(await _state_s(town.client, session.session_id, until_s))
        bare.append(await binary_process_s(session, town.scenario, until_s=until_s))
    told(f"state at {PAST_S:g} s of an ended session, by replay", in_s(ours))
    ratio = statistics.median(theirs / mine for theirs, mine in zip(bare, ours, strict=True))
    told("… the bare binary up to there, the whole process", in_s(bare))
    told("… speed against it", f"{ratio:.2f}", ">= 0.9")


async def _state_s(client: Milepost, session_id: str, sim_time_s: float) -> float:
    began = time.perf_counter()
    state = await client.sessions.state(session_id, sim_time_s=sim_time_s)
    took_s = time.perf_counter() - began
    if state.sim_time_s != sim_time_s:
        raise RuntimeError(f"asked for {sim_time_s:g} s, got {state.sim_time_s:g} s")
    return took_s


async def _worker_kills(town: _Town) -> None:
    """Two workers: the one that has the session is killed, the other takes over; the bare binary between rounds."""
    client, stack = town.client, town.running.stack
    backs: list[tuple[float, _Comeback]] = []
    bare: list[float] = []
    for _ in range(WORKER_KILLS):
        session_id = (await town.session()).session_id
        await town.reached(session_id, KILL_AT_S)
        session = await client.sessions.get(session_id, full=True)
        last = await town.latest(session_id)
        killed = time.time()
        os.kill(stack.pids[session.worker_id], signal.SIGKILL)
        back = await _Comeback.of(client, session_id, after=last)
        await client.sessions.cancel(session_id)
        backs.append((killed, back))
        bare.append(await binary_s(session, town.scenario, until_s=back.head_s))
        # The killed worker is started again.
        await _until(lambda: len(stack.pids) == len(stack.children))
    replays = [back.judged - back.started for _, back in backs]
    told(f"worker killed -> next interval, {VEHICLES:,} vehicles", in_s([b.first_interval - k for k, b in backs]))
    told("… until another worker claims (the lease is 10 s)", in_s([b.claimed - k for k, b in backs]))
    told("… replay from the origin", in_s(replays))
    told("… claim to next interval, less the replay", in_s(_less_replay(backs)), "< 2 s")
    told(f"… the bare binary over the same {backs[-1][1].head_s:.0f} s or so", in_s(bare))
    ratio = statistics.median(theirs / mine for theirs, mine in zip(bare, replays, strict=True))
    told("… speed of the replay against it", f"{ratio:.2f}", ">= 0.9")


def _less_replay(backs: list[tuple[float, _Comeback]]) -> list[float]:
    return [back.first_interval - back.claimed - (back.judged - back.started) for _, back in backs]


async def _until(holds: Callable[[], bool]) -> None:
    """Raises TimeoutError."""
    for _ in range(int(_PATIENCE_S / _LOOK_S)):
        if holds():
            return
        await asyncio.sleep(_LOOK_S)
    raise TimeoutError
