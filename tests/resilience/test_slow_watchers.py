"""Watchers that take nothing: what they cost is bounded, and they lose nothing (contracts.md, rule 7)."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest
from nats.js import JetStreamContext

from broker import Broker
from integration.event_store.running_store import Log, StoreProcess, Watch, completed, lines
from milepost.event.v1 import event_service_pb2 as pb
from milepost.event.v1.event_service_pb2_grpc import EventServiceStub

MIB = 1024 * 1024
LARGE = "x" * 4000
# What each of them does not read: much more than it may cost.
EVENTS = 4000
STANDING = 20
COST_BYTES = 1 * MIB


@pytest.mark.slow
async def test_a_watcher_that_stops_reading_costs_bounded_memory_and_loses_nothing(
    js: JetStreamContext, broker: Broker, tmp_path: Path
) -> None:
    log = Log(js, "s")
    for _ in range(0, EVENTS, 50):
        await log.append(*lines(*[LARGE] * 50))
    process = StoreProcess(tmp_path / "store", broker.url)
    store = await process.start()
    await store.stored(log)
    before = process.memory_bytes
    async with AsyncExitStack() as stack:
        standing = []
        for _ in range(STANDING):
            # A connection of its own: one for all would hold them up together.
            channel = grpc.aio.insecure_channel(store.address, [("grpc.use_local_subchannel_pool", 1)])
            call = EventServiceStub(await stack.enter_async_context(channel)).WatchEvents(
                pb.WatchEventsRequest(session_id="s")
            )
            standing.append(Watch(call))
        for watch in standing:
            await watch.until("hello")
        # Nobody else waits for them.
        async with store.watching("s") as reading:
            await reading.until("caught_up")
            await log.append(completed())
            await reading.to_the_end()
        assert reading.seqs == list(range(1, log.head + 1))
        # The log itself is kept once for all.
        cost = process.memory_bytes - before
        assert STANDING * EVENTS * len(LARGE) > 10 * STANDING * COST_BYTES
        assert cost < len(LARGE) * EVENTS + STANDING * COST_BYTES, f"{cost / STANDING / MIB:.2f} MiB each"
        await asyncio.gather(*(watch.to_the_end() for watch in standing[:5]))
        for watch in standing[:5]:
            assert watch.seqs == reading.seqs
    await process.end()
    await store.channel.close()
