"""Watchers by the thousand: live, catching up, and what they leave of everybody else's latency.

Sessions, watchers and services share the cores. Watchers run in processes of their own (watching.py).
"""

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bench.lines import in_ms, told
from bench.stack import Running, whole_stack
from bench.town import write_town
from milepost.client import Milepost
from milepost.event.v1.event_pb2 import Event
from milepost.session.v1.session_pb2 import SessionSpec, SessionState

LIVE_SESSIONS, MANY_SESSIONS = 20, 100
LIVE_PACE, MANY_PACE = 10.0, 1.0
WATCHERS, LATECOMERS = 1000, 200
# Watchers in one process.
WATCHERS_EACH = 500
# Events of each log before watchers come from zero.
HISTORY_EVENTS = 2000
CATCH_UP_ROUNDS = 3
MEASURED_S = 30.0
# One kind of call after the other, so many times a second.
PROBES_PER_S = 100
CREATES = 60
# At which it is made: as much as all of them together can.
HISTORY_PACE = 1000.0
END_TIME_S = 1e6


async def measure() -> None:
    """Print the figures."""
    async with whole_stack(slots=MANY_SESSIONS + CREATES + 10) as running:
        client = running.client
        town = write_town(running.folder / "town", crossings=3, vehicles=20, end_time_s=END_TIME_S)
        digest = (await client.scenarios.upload(town)).digest
        names = [await _start(client, digest, seed, pace=HISTORY_PACE) for seed in range(LIVE_SESSIONS)]
        for name in names:
            await _grown(client, name)
            await client.sessions.pace(name, LIVE_PACE)
        await _live(running, names)
        await _catch_up(running, names)
        for name in names:
            await client.sessions.pace(name, MANY_PACE)
        names += [await _start(client, digest, seed, pace=MANY_PACE) for seed in range(LIVE_SESSIONS, MANY_SESSIONS)]
        await _neighbours(running, digest, names)


async def _start(client: Milepost, digest: str, seed: int, *, pace: float) -> str:
    session = await client.sessions.create(SessionSpec(scenario_digest=digest, seed=seed, pace=pace))
    await client.sessions.wait_for(session.session_id, SessionState.SESSION_STATE_RUNNING)
    return session.session_id


async def _grown(client: Milepost, name: str) -> None:
    async with contextlib.aclosing(client.events.watch(name)) as items:
        async for item in items:
            if isinstance(item, Event) and item.seq >= HISTORY_EVENTS:
                return


async def _live(running: Running, names: Sequence[str]) -> None:
    store = running.stack.pids["event_store"]
    before_kib = _memory_kib(store)
    async with _watching(running, names, WATCHERS) as watching:
        await watching.begin()
        timer = await _Watching.start("timer", {})
        await timer.begin()
        memory_kib = _memory_kib(store)
        cpu_s, idle_s = _cpu_s(store), _idle_s()
        await asyncio.sleep(MEASURED_S)
        cpu_s, idle_s = _cpu_s(store) - cpu_s, _idle_s() - idle_s
        found, (noise,) = await watching.end(), await timer.end()
    title = f"live: {WATCHERS} watchers of {len(names)} sessions at {LIVE_PACE:.0f} times real time"
    told(title, f"{sum(it['messages'] for it in found) / MEASURED_S:,.0f} messages/s")
    _print_delays(found)
    _print_noise(noise)
    told("… memory of the store for each watcher", f"{(memory_kib - before_kib) / WATCHERS:.0f} KiB")
    told("… processor: store, watchers, left idle", _shares(cpu_s, sum(it["cpu_s"] for it in found), idle_s))


async def _catch_up(running: Running, names: Sequence[str]) -> None:
    seconds: dict[str, list[float]] = {"store": [], "broker": []}
    events, messages = 0, {"store": 0, "broker": 0}
    for _ in range(CATCH_UP_ROUNDS):
        for rival, address in (
            ("store", running.stack.addresses.event_store),
            ("broker", f"nats://{running.stack.addresses.nats}"),
        ):
            asked = {"address": address, "sessions": await _heads(running.client, names), "watchers": LATECOMERS}
            process = await _Watching.start(rival, asked)
            await process.begin()
            (found,) = await process.end()
            seconds[rival].append(found["took_s"])
            events, messages[rival] = found["events"], found["messages"]
    ours, theirs = (sorted(seconds[it])[CATCH_UP_ROUNDS // 2] for it in ("store", "broker"))
    sent = f"{events:,} events, in {messages['broker'] / 1e3:,.0f} thousand messages of the broker"
    told(f"catch-up: {LATECOMERS} watchers from zero", f"{ours:.2f} s, {events / ours:,.0f} events/s")
    told("… plain JetStream ordered consumers", f"{theirs:.2f} s, {events / theirs:,.0f} events/s")
    told("… time against theirs", f"{ours / theirs:.2f} ({sent})", "ahead")


async def _neighbours(running: Running, digest: str, names: Sequence[str]) -> None:
    client, store = running.client, running.stack.pids["event_store"]
    cursors = await _heads(client, names)

    async def read(name: str) -> None:
        async with contextlib.aclosing(client.events.read(name, cursor=max(0, cursors[name] - 100))) as events:
            async for _event in events:
                pass

    async def listed(_: str) -> None:
        async with contextlib.aclosing(client.sessions.list(page_size=50)) as sessions:
            await anext(sessions)

    calls: dict[str, Callable[[str], Awaitable[object]]] = {
        "GetSession": client.sessions.get,
        "ListSessions, 50 of them": listed,
        "ReadEvents, the last hundred": read,
    }
    async with _watching(running, names, WATCHERS) as watching:
        await watching.begin()
        timer = await _Watching.start("timer", {})
        await timer.begin()
        cpu_s, idle_s, began = _cpu_s(store), _idle_s(), time.perf_counter()
        taken: dict[str, list[float]] = {name: [] for name in calls}
        number = 0
        while time.perf_counter() - began < MEASURED_S:
            for name, call in calls.items():
                taken[name].append(await _timed(call, names[number % len(names)]))
                number += 1
                await asyncio.sleep(1 / PROBES_PER_S)
        took_s = time.perf_counter() - began
        cpu_s, idle_s = _cpu_s(store) - cpu_s, _idle_s() - idle_s
        creates = []
        for seed in range(CREATES):
            spec = SessionSpec(scenario_digest=digest, seed=seed, pace=MANY_PACE, end_time_s=100.0)
            creates.append(await _timed(client.sessions.create, spec))
            await asyncio.sleep(1 / 4)
        found, (noise,) = await watching.end(), await timer.end()
    told(f"{len(names)} sessions at real time, {WATCHERS} watchers: delivery", "")
    _print_delays(found)
    _print_noise(noise)
    told("… processor: store, left idle", f"{cpu_s / took_s:.2f}, {idle_s / took_s:.2f} of {os.cpu_count()}")
    for name in calls:
        told(f"… {name}", in_ms(taken[name]), "p99 under 20 ms")
    told("… CreateSession, four a second", in_ms(creates), "p99 under 200 ms")


async def _timed(call: Callable[[Any], Awaitable[object]], argument: Any) -> float:
    began = time.perf_counter()
    await call(argument)
    return time.perf_counter() - began


class _Watching:
    """Processes of watchers."""

    def __init__(self, processes: list[asyncio.subprocess.Process]) -> None:
        self._processes = processes

    @classmethod
    async def start(cls, figure: str, *asked: dict[str, Any]) -> "_Watching":
        """Returns when they have caught up."""
        command = (sys.executable, "-m", "bench.watching", figure)
        pipe = asyncio.subprocess.PIPE
        processes = [await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe) for _ in asked]
        for process, it in zip(processes, asked, strict=True):
            _say(process, json.dumps(it))
        for process in processes:
            assert await _line(process) == "ready"
        return cls(processes)

    async def begin(self) -> None:
        for process in self._processes:
            _say(process, "begin")

    async def end(self) -> list[dict[str, Any]]:
        for process in self._processes:
            with contextlib.suppress(ConnectionError):
                _say(process, "end")
        found = [json.loads(await _line(process)) for process in self._processes]
        for process in self._processes:
            await process.wait()
        return found

    def kill(self) -> None:
        for process in self._processes:
            if process.returncode is None:
                process.kill()


@asynccontextmanager
async def _watching(running: Running, names: Sequence[str], watchers: int) -> AsyncIterator[_Watching]:
    heads = await _heads(running.client, names)
    asked = {"address": running.stack.addresses.event_store, "sessions": heads, "watchers": WATCHERS_EACH}
    watching = await _Watching.start("live", *[asked] * (watchers // WATCHERS_EACH))
    try:
        yield watching
    finally:
        watching.kill()


def _say(process: asyncio.subprocess.Process, word: str) -> None:
    assert process.stdin is not None
    process.stdin.write(word.encode() + b"\n")


async def _line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()


async def _heads(client: Milepost, names: Sequence[str]) -> dict[str, int]:
    return {name: (await client.events.head(name)).head_seq for name in names}


def _print_delays(found: Sequence[dict[str, Any]]) -> None:
    """Of the slowest process: quantiles of several cannot be joined."""
    p50, p99, worst = (max(it[key] for it in found) * 1e3 for key in ("p50_s", "p99_s", "worst_s"))
    events = sum(it["events"] for it in found)
    figure = f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, worst {worst:.1f} ms ({events} samples)"
    told("… from record time to receipt", figure, "p99 under 250 ms")


def _print_noise(found: dict[str, Any]) -> None:
    """What a process sees that shares the machine and does nothing: nobody can be more punctual."""
    p50, p99, worst = (found[key] * 1e3 for key in ("p50_s", "p99_s", "worst_s"))
    told("… for comparison: how late a bare timer was", f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, worst {worst:.1f} ms")


def _shares(store_s: float, watchers_s: float, idle_s: float) -> str:
    cores = os.cpu_count()
    return f"{store_s / MEASURED_S:.2f}, {watchers_s / MEASURED_S:.2f}, {idle_s / MEASURED_S:.2f} of {cores} cores"


def _memory_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _idle_s() -> float:
    """Of all cores, since the machine was started: what was left over for others shows whether they were there."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()
    return int(fields[4]) / os.sysconf("SC_CLK_TCK")
