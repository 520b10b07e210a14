"""The store alone: events written a second, fan-out to many watchers, and from append to watcher.

    python -m bench.ingest_and_fanout

Broker and store are processes of their own; this one appends and watches, on the same cores.
"""

import asyncio
import statistics
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc

from milepost.event.v1.event_pb2 import EventKind, IntervalClosed, SessionCompleted
from milepost.event.v1.event_service_pb2 import WatchEventsRequest
from milepost.event.v1.event_service_pb2_grpc import EventServiceStub
from milepost.event.v1.record_pb2 import Record
from milepost.kpi.v1.kpi_pb2 import Kpis
from milepost.up import broker
from milepost.up.child import Child
from milepost.up.children import Addresses, StackSettings, child_specs
from milepost.up.data_directory import DataDirectory
from milepost.up.ports import HOST, free_ports
from runtime.broker import connect, ensure_streams, jetstream
from runtime.settings import DEFAULT_TENANT
from session_log.codec import record
from session_log.writer import LogWriter, Place

SESSIONS = 20
MESSAGES = 100
WATCHERS = 100
# Channels the watchers share: a server's client machines, not its watchers, own the connections.
CHANNELS = 4
LATENCY_APPENDS = 500
LATENCY_PERIOD_S = 0.02
COMPLETED = EventKind.EVENT_KIND_SESSION_COMPLETED


async def measure() -> None:
    """Print the figures."""
    async with _processes() as processes:
        client = await connect(processes.nats_url, name="bench", appends=True)
        js = jetstream(client)
        await ensure_streams(js)

        def writers(name: str, count: int) -> dict[str, LogWriter]:
            return {
                session_id: LogWriter(
                    js, tenant=DEFAULT_TENANT, session_id=session_id, place=Place(), nonce=uuid.uuid4().hex
                )
                for session_id in (f"{name}-{n}" for n in range(count))
            }

        backlog = writers("backlog", SESSIONS)
        began = time.perf_counter()
        events = await _write_all(backlog)
        _print_rate("append to the broker, 20 sessions", events, began)

        await processes.start_store()
        channels = [grpc.aio.insecure_channel(processes.store) for _ in range(CHANNELS)]
        stub = EventServiceStub(channels[0])
        try:
            began = time.perf_counter()
            await _stored(stub, backlog)
            _print_rate("backlog from the broker into the database", events, began)

            together = writers("together", SESSIONS)
            began = time.perf_counter()
            events = await _write_all(together)
            await _stored(stub, together)
            _print_rate("append and store at the same time", events, began)

            await _latency(writers("latency", 1), stub)
            await _history("backlog-0", channels)
            await _live(writers("live", 1), channels)
        finally:
            for channel in channels:
                await channel.close()
            await client.close()


async def _write_all(writers: dict[str, LogWriter]) -> int:
    """Messages as full as a worker's, of many sessions; the number of events."""

    async def write(writer: LogWriter) -> None:
        for _ in range(MESSAGES):
            await writer.append(MESSAGE, run=1, attempt=1)
        await writer.append([record(SessionCompleted())], run=1, attempt=1)

    await asyncio.gather(*(write(writer) for writer in writers.values()))
    return sum(writer.place.seq for writer in writers.values())


async def _stored(stub: EventServiceStub, writers: dict[str, LogWriter]) -> None:
    """Wait until the store has it all."""
    for session_id in writers:
        async for _ in stub.WatchEvents(WatchEventsRequest(session_id=session_id, kinds=[COMPLETED])):
            pass


async def _latency(writers: dict[str, LogWriter], stub: EventServiceStub) -> None:
    """One event at a time, one watcher; from the call of append and from its acknowledgement."""
    ((session_id, writer),) = writers.items()
    sent: dict[int, float] = {}
    acknowledged: dict[int, float] = {}
    seen: dict[int, float] = {}
    await writer.append(MESSAGE[:1], run=1, attempt=1)

    async def watch() -> None:
        async for response in stub.WatchEvents(WatchEventsRequest(session_id=session_id, after_seq=1)):
            for event in response.events.events:
                seen[event.seq] = time.perf_counter()

    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(watch())
        for n in range(2, LATENCY_APPENDS + 2):
            sent[n] = time.perf_counter()
            await writer.append(MESSAGE[:1], run=1, attempt=1)
            acknowledged[n] = time.perf_counter()
            await asyncio.sleep(LATENCY_PERIOD_S)
        await writer.append([record(SessionCompleted())], run=1, attempt=1)
        await watching
    _print_ms("append (call) to watcher", [seen[n] - sent[n] for n in sent])
    _print_ms("append (acknowledged) to watcher", [seen[n] - acknowledged[n] for n in sent])


async def _history(session_id: str, channels: list[grpc.aio.Channel]) -> None:
    """Many watchers read one ended log."""
    began = time.perf_counter()
    await asyncio.gather(*(_watch_bytes(session_id, channels[n % CHANNELS]) for n in range(WATCHERS)))
    _print_rate(f"history to {WATCHERS} watchers at once", WATCHERS * (MESSAGES * len(MESSAGE) + 1), began)


async def _live(writers: dict[str, LogWriter], channels: list[grpc.aio.Channel]) -> None:
    """Many watchers follow one log that is written as fast as one writer can."""
    ((session_id, writer),) = writers.items()
    await writer.append(MESSAGE[:1], run=1, attempt=1)
    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for n in range(WATCHERS):
            tasks.create_task(_watch_bytes(session_id, channels[n % CHANNELS]))
        await _write_all(writers)
    _print_rate(f"live to {WATCHERS} watchers at once", WATCHERS * writer.place.seq, began)


async def _watch_bytes(session_id: str, channel: grpc.aio.Channel) -> None:
    """To the end; as bytes: what a client does with them is not the store's."""
    call = channel.unary_stream(
        "/milepost.event.v1.EventService/WatchEvents", request_serializer=WatchEventsRequest.SerializeToString
    )
    async for _ in call(WatchEventsRequest(session_id=session_id)):
        pass


class _Processes:
    """A broker that serves and a store that may."""

    def __init__(self, directory: DataDirectory, tasks: asyncio.TaskGroup) -> None:
        settings = StackSettings(data_directory=directory.path)
        api, self.store, nats = (f"{HOST}:{port}" for port in free_ports(3))
        broker.write_config(directory, int(nats.rpartition(":")[2]))
        *_, [store_spec], [nats_spec] = child_specs(settings, directory, Addresses(api, self.store, nats))
        self.nats_url = f"nats://{nats}"
        self._tasks = tasks
        self._store_serves = asyncio.Event()
        self._store_child = Child(store_spec, changed=self._store_serves.set)
        self._nats_child = Child(nats_spec, changed=lambda: None)
        tasks.create_task(self._nats_child.keep_alive())

    async def start_store(self) -> None:
        self._tasks.create_task(self._store_child.keep_alive())
        await self._store_serves.wait()

    async def stop(self) -> None:
        await self._store_child.stop()
        await self._nats_child.stop()


@asynccontextmanager
async def _processes() -> AsyncIterator[_Processes]:
    with tempfile.TemporaryDirectory(prefix="milepost-bench-") as folder:
        directory = DataDirectory(Path(folder))
        with directory.held():
            async with asyncio.TaskGroup() as tasks:
                processes = _Processes(directory, tasks)
                try:
                    yield processes
                finally:
                    await processes.stop()


def _record(n: int) -> Record:
    kpis = Kpis(loaded=900 + n, departed=800 + n, running=300, mean_speed_mps=9.87 + n, mean_travel_time_s=321.5)
    return record(IntervalClosed(kpis=kpis, state_digest=n.to_bytes(16, "big")), step=10 * n, sim_time_s=float(n))


# What a worker puts into one message at most.
MESSAGE = [_record(n) for n in range(64)]


def _print_rate(name: str, events: int, began: float) -> None:
    print(f"  {name:46} {events / (time.perf_counter() - began):12,.0f} events/s")


def _print_ms(name: str, seconds: list[float]) -> None:
    cuts = statistics.quantiles(seconds, n=100)
    print(f"  {name:46} p50 {cuts[49] * 1e3:6.1f} ms   p99 {cuts[98] * 1e3:6.1f} ms   ({len(seconds)} samples)")


if __name__ == "__main__":
    asyncio.run(measure())
