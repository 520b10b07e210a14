"""The store's process killed while a writer keeps appending (log.md R11, P1): nothing lost, nothing twice."""

import asyncio
import signal
from pathlib import Path

import grpc
import pytest
from nats.js import JetStreamContext
from running_store import Log, StoreProcess, as_records, completed, lines, refusal

from broker import Broker

# Messages of each log that are appended while the store is killed, and how many are stored at that moment.
MESSAGES = 600
KILLED_AT = 100


async def test_killing_the_store_in_the_middle_loses_and_doubles_nothing(
    js: JetStreamContext, broker: Broker, tmp_path: Path
) -> None:
    process = StoreProcess(tmp_path / "store", broker.url)
    store = await process.start()
    logs = [Log(js, f"s{n}") for n in range(4)]
    await logs[0].append(*lines("first"))

    async def write(log: Log) -> None:
        for n in range(MESSAGES):
            await log.append(*lines(f"{n}"))

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        for log in logs:
            tasks.create_task(write(log))
        async with store.watching("s0") as watch:
            await watch.until_seq(KILLED_AT)
        await process.end(signal.SIGKILL)
    await store.channel.close()

    store = await process.start()
    for log in logs[1:]:
        await log.append(completed())
        async with store.watching(log.session_id) as watch:
            await watch.to_the_end()
        assert watch.seqs == list(range(1, log.head + 1))
        assert as_records(watch.events) == log.appended

    # One log has not ended: told to stop, the store ends its watch with a cursor and leaves.
    async with store.watching("s0") as watch:
        await watch.until_seq(logs[0].head)
        ending = asyncio.create_task(process.end(signal.SIGTERM))
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await watch.to_the_end()
    assert as_records(watch.events) == logs[0].appended
    assert refusal(raised.value)[:2] == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
    assert dict(raised.value.trailing_metadata() or ())["milepost-resume-seq"] == str(logs[0].head)
    assert await ending == 0
    await store.channel.close()
