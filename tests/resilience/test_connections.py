"""Connections that are too old or to nobody: closed by the server, and a watch goes on over the next one."""

import asyncio
from contextlib import aclosing
from pathlib import Path

import grpc
import pytest
from nats.js import JetStreamContext

from broker import Broker
from integration.event_store.running_store import PATIENCE_S, Log, Store, completed, lines, metric, running_store
from milepost.client import Milepost
from milepost.event.v1.event_pb2 import Event
from milepost.event.v1.event_service_pb2 import CaughtUp
from resilience.proxy import Proxy

AGE = {"max_connection_age_s": 0.5, "max_connection_age_grace_s": 0.3}


async def test_a_watch_goes_on_over_connections_that_grow_too_old(
    js: JetStreamContext, broker: Broker, tmp_path: Path
) -> None:
    log = Log(js, "s")
    await log.append(*lines("first"))
    async with (
        running_store(tmp_path / "store", broker.url, **AGE) as store,
        Milepost.connect("127.0.0.1:1", store.address) as client,
        asyncio.timeout(PATIENCE_S),
    ):
        seqs: list[int] = []
        connections = 0
        async with aclosing(client.events.watch("s")) as items:
            async for item in items:
                match item:
                    case CaughtUp():
                        connections += 1
                        await log.append(*(lines("a", "b") if connections < 3 else [completed()]))
                    case Event():
                        seqs.append(item.seq)
    assert connections == 3
    assert seqs == list(range(1, log.head + 1))


async def test_a_watch_over_a_connection_that_is_too_old_ends_as_unavailable(
    js: JetStreamContext, broker: Broker, tmp_path: Path
) -> None:
    log = Log(js, "s")
    await log.append(*lines("first"))
    async with running_store(tmp_path / "store", broker.url, **AGE) as store, store.watching("s") as watch:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await watch.to_the_end()
    assert raised.value.code() == grpc.StatusCode.UNAVAILABLE


async def test_a_watcher_that_vanished_is_noticed_though_its_connection_stands(
    js: JetStreamContext, broker: Broker, tmp_path: Path
) -> None:
    log = Log(js, "s")
    await log.append(*lines("first"))
    keepalive = {"keepalive_s": 1, "keepalive_timeout_s": 0.5}
    async with running_store(tmp_path / "store", broker.url, **keepalive) as store, Proxy().listening() as proxy:
        proxy.target = store.address
        through = Store(proxy.address)
        async with through.watching("s") as watch:
            await watch.until("heartbeat")
            assert metric("milepost_watchers") == 1
            proxy.stall()
            async with asyncio.timeout(PATIENCE_S):
                while metric("milepost_watchers"):
                    await asyncio.sleep(0.01)
        await through.channel.close()
