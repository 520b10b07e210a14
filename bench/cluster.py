"""Fifty sessions on three brokers, two APIs and two stores: how long does nothing move when the leader is killed?

The leader of the logs is killed `KILLS` times. A session stalls from the last interval its worker wrote before to the
next one (record times of the log); a watcher, from the last interval it got to the next one. Both include the second
between two intervals of an undisturbed session.
"""

import asyncio
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from tests.cluster import SESSIONS, Cluster, running_cluster
from tests.databases import Postgres

from bench.lines import in_s, told
from milepost.checkpoint.v1.checkpoint_pb2 import Exactness
from milepost.event.v1.event_pb2 import Event, EventKind
from milepost.session.v1.session_pb2 import Session, SessionSpec
from scenario.demo import demo_directory

COUNT, KILLS = 50, 3
# As a clock goes, and an interval with each step: an append a second, and little for SUMO to do.
PACE, INTERVAL_STEPS = 1.0, 1
# Undisturbed before each kill, seconds.
CALM_S = 5.0
# The demo city begins at seven; nobody gets to its end before the last kill, s.
END_S = 25200.0 + 7200.0

Moments = dict[str, list[float]]


async def measure() -> None:
    """Stalls, and whether every session completed as if nothing had been."""
    server = Postgres("postgresql18").start()
    try:
        server.execute("create database milepost")
        with tempfile.TemporaryDirectory(prefix="milepost-bench-") as folder:
            url = server.url("milepost")
            async with running_cluster(Path(folder) / "c", database_url=url, workers=2, slots=COUNT // 2) as cluster:
                await _measure(cluster)
    finally:
        server.remove()


async def _measure(cluster: Cluster) -> None:
    client = cluster.client
    digest = (await client.scenarios.upload(demo_directory())).digest
    spec = SessionSpec(scenario_digest=digest, end_time_s=END_S, pace=PACE, interval_steps=INTERVAL_STEPS)
    names = [(await client.sessions.create(spec)).session_id for _ in range(COUNT)]
    seen: Moments = {name: [] for name in names}
    watches = [asyncio.create_task(_watch(cluster, name, seen[name]), name=name) for name in names]
    killed: list[float] = []
    for _ in range(KILLS):
        await _all_seen(seen, after=time.time())
        await asyncio.sleep(CALM_S)
        victim = await cluster.brokers.leader(SESSIONS)
        killed.append(time.time())
        cluster.brokers.kill(victim)
        await _all_seen(seen, after=time.time())
        await cluster.brokers.start(victim)
        await cluster.brokers.level()
    for name in names:
        await client.sessions.terminate(name)
    ended = [await client.sessions.wait(name) for name in names]
    await asyncio.gather(*watches)
    written = {name: await _written(cluster, name) for name in names}
    told(f"{COUNT} sessions that ended EXACT, at their first attempt", str(sum(map(_unharmed, ended))), str(COUNT))
    told("a worker appends again", in_s(_stalls(written, killed)), "what an election takes")
    told("a watcher gets its next interval", in_s(_stalls(seen, killed)))


def _unharmed(session: Session) -> bool:
    return session.exactness == Exactness.EXACTNESS_EXACT and len(session.attempts) == 1


def _stalls(moments: Moments, killed: list[float]) -> list[float]:
    """Of each session and kill: the longest time between two moments, of those that reach beyond the kill."""
    return [
        max(later - earlier for earlier, later in pairwise(times) if later > kill and earlier < kill + CALM_S)
        for times in moments.values()
        for kill in killed
    ]


async def _all_seen(seen: Moments, *, after: float) -> None:
    while any(not times or times[-1] < after for times in seen.values()):  # noqa: ASYNC110 - fifty watches tell
        await asyncio.sleep(0.05)


async def _watch(cluster: Cluster, name: str, moments: list[float]) -> None:
    async for item in cluster.client.events.watch(name, kinds=[EventKind.EVENT_KIND_INTERVAL_CLOSED]):
        if isinstance(item, Event):
            moments.append(time.time())  # noqa: PERF401 - the moment counts


async def _written(cluster: Cluster, name: str) -> list[float]:
    kinds = [EventKind.EVENT_KIND_INTERVAL_CLOSED]
    return [event.record_time.ToMicroseconds() / 1e6 async for event in cluster.client.events.read(name, kinds=kinds)]
