"""Watching through connections that stall, drop, reset and crawl, while stores are killed and started again."""

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, aclosing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from nats.js import JetStreamContext

from broker import Broker
from databases import chosen, url_of
from integration.event_store.running_store import Log, StoreProcess, as_records, completed, interval
from milepost.client import Milepost
from milepost.event.v1.event_pb2 import Event
from resilience.history import entry
from resilience.model import check_watches
from resilience.observed import History
from resilience.proxy import Proxy
from resilience.punctual import Sight, silently_behind
from resilience.sighted import Sighted

SESSIONS = 3
# Watchers of each session that begin at each proxy.
WATCHERS = 2
APPEND_PERIOD_S = 0.05
# Between two faults, s.
FAULT_PERIOD_S = 0.4
# A stalled connection heals after, s: at once, or not before its watchers have gone.
STALL_S = (0.3, 5.0)
SLOW_S, SLOW_BYTES_PER_S = 2.0, 1000.0

Stores = Callable[[Path, str], AbstractContextManager[Sequence[StoreProcess]]]


@contextmanager
def one_store(folder: Path, nats_url: str) -> Iterator[Sequence[StoreProcess]]:
    """SQLite: one process, behind two addresses."""
    yield [StoreProcess(folder, nats_url)]


@contextmanager
def two_replicas(folder: Path, nats_url: str) -> Iterator[Sequence[StoreProcess]]:
    """PostgreSQL: two processes, an address for each; whichever ingests is killed as often as the other."""
    with chosen("postgresql18"):
        database = url_of(folder / "events.db")
        yield [StoreProcess(folder / name, nats_url, database_url=database) for name in ("one", "two")]


@dataclass
class Course:
    """Stores behind proxies, and what happens to them."""

    processes: Sequence[StoreProcess]
    proxies: Sequence[Proxy]
    chance: random.Random
    struck: list[str] = field(default_factory=list)

    async def start(self, number: int) -> None:
        """Start a store; the proxies that belong to it lead there."""
        store = await self.processes[number].start()
        await store.channel.close()
        for proxy in self.proxies[number :: len(self.processes)]:
            proxy.target = store.address

    async def disturb(self, faults: int) -> None:
        """One fault after the other; everything is healed when this returns."""
        async with asyncio.TaskGroup() as healing:
            restarting: asyncio.Task[None] | None = None
            while len(self.struck) < faults:
                await asyncio.sleep(FAULT_PERIOD_S)
                fault = self.chance.choice(["stall", "stall", "drop", "reset", "slow", "kill"])
                proxy = self.chance.choice(self.proxies)
                match fault:
                    case "stall":
                        proxy.stall()
                        healing.create_task(_after(self.chance.choice(STALL_S), proxy.heal))
                    case "drop":
                        proxy.drop()
                    case "reset":
                        proxy.reset()
                    case "slow":
                        proxy.slow(SLOW_BYTES_PER_S)
                        healing.create_task(_after(SLOW_S, proxy.heal))
                    case "kill":
                        if restarting is not None and not restarting.done():
                            continue
                        restarting = healing.create_task(self._restart(self.chance.randrange(len(self.processes))))
                self.struck.append(fault)

    async def _restart(self, number: int) -> None:
        await self.processes[number].end()
        await self.start(number)


async def _excuse(sights: Sequence[Sight]) -> None:
    """While this process itself does not run, nobody in it can see anything: that is no fault of those it watches."""
    while True:
        began_s = time.time()
        await asyncio.sleep(0.1)
        for passed_s in range(int(time.time() - began_s)):
            for sight in sights:
                sight.signs_s += [began_s + passed_s, time.time()]


async def _after(seconds: float, do: Callable[[], None]) -> None:
    await asyncio.sleep(seconds)
    do()


async def watched_through_proxies(
    js: JetStreamContext, processes: Sequence[StoreProcess], *, faults: int, seed: int
) -> Course:
    """Append, watch and disturb; judge what everybody saw."""
    logs = [Log(js, f"s{n}") for n in range(SESSIONS)]
    stored_s: dict[tuple[str, int], float] = {}
    disturbed = asyncio.Event()

    async def write(log: Log) -> None:
        async def append(*records: object) -> None:
            await log.append(*records)
            stored_s[log.session_id, log.head] = time.time()

        while not disturbed.is_set():
            await append(interval(log.head + 1))
            await asyncio.sleep(APPEND_PERIOD_S)
        await append(completed())

    async with AsyncExitStack() as stack:
        proxies = [await stack.enter_async_context(Proxy().listening()) for _ in range(2)]
        course = Course(processes, proxies, random.Random(seed))
        for number in range(len(processes)):
            await course.start(number)
            stack.push_async_callback(processes[number].end)
        addresses = [proxy.address for proxy in proxies]
        sighted = [
            Sighted(log.session_id, [*addresses[first:], *addresses[:first]])
            for log in logs
            for first in range(len(proxies))
            for _ in range(WATCHERS)
        ]
        async with asyncio.TaskGroup() as tasks:
            for log in logs:
                tasks.create_task(write(log))
            watching = [tasks.create_task(watcher.to_the_end()) for watcher in sighted]
            excusing = tasks.create_task(_excuse([watcher.sight for watcher in sighted]))
            clients = [tasks.create_task(_client(address, logs[0].session_id)) for address in addresses]
            await course.disturb(faults)
            disturbed.set()
            await asyncio.wait(watching)
            excusing.cancel()
        until_s = time.time()
        stored = [await _stored(addresses[0], log.session_id) for log in logs]
    for log, events in zip(logs, stored, strict=True):
        assert as_records(events) == log.appended
    for client in clients:
        assert client.result() == stored[0]
    history = History(
        {log.session_id: tuple(map(entry, events)) for log, events in zip(logs, stored, strict=True)},
        watches=[watch for watcher in sighted for watch in watcher.watches],
    )
    violations = [fault for watcher in sighted for fault in watcher.faults]
    violations += check_watches(history)
    violations += silently_behind([watcher.sight for watcher in sighted], stored_s, until_s=until_s)
    assert violations == [], (seed, course.struck)
    for watcher in sighted:
        assert sorted(watcher.sight.seen_s) == list(range(1, len(history.logs[watcher.session_id]) + 1))
    return course


async def _client(address: str, session_id: str) -> list[Event]:
    """All that the client gives out over any number of connections."""
    async with (
        Milepost.connect("127.0.0.1:1", address, silence_s=4.0) as client,
        aclosing(client.events.watch(session_id)) as items,
    ):
        return [item async for item in items if isinstance(item, Event)]


async def _stored(address: str, session_id: str) -> list[Event]:
    async with Milepost.connect("127.0.0.1:1", address) as client:
        return [event async for event in client.events.read(session_id)]


@pytest.mark.parametrize("stores", [pytest.param(one_store, marks=pytest.mark.long), two_replicas])
async def test_watchers_behind_bad_connections_see_every_event_once_and_know_when_they_are_behind(
    js: JetStreamContext, broker: Broker, tmp_path: Path, stores: Stores
) -> None:
    with stores(tmp_path / "store", broker.url) as processes:
        course = await watched_through_proxies(js, processes, faults=12, seed=1)
    assert {"stall", "drop", "reset", "slow", "kill"} <= set(course.struck)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("stores", [one_store, two_replicas])
@pytest.mark.parametrize("seed", range(2, 5))
async def test_the_same_for_longer(
    js: JetStreamContext, broker: Broker, tmp_path: Path, seed: int, stores: Stores
) -> None:
    with stores(tmp_path / "store", broker.url) as processes:
        await watched_through_proxies(js, processes, faults=150, seed=seed)
