"""Heartbeats (contracts.md, rule 4): silence means a broken connection, never "nothing happened"."""

import asyncio
import time
from pathlib import Path

import pytest
from nats.js import JetStreamContext
from running_store import Log, Store, ingestion_held_up, interval, lines

from broker import Broker
from milepost.event.v1.event_pb2 import EventKind

pytestmark = pytest.mark.any_database

INTERVALS = EventKind.EVENT_KIND_INTERVAL_CLOSED


async def test_heartbeats_come_however_quiet_it_is_and_say_what_the_store_knows(
    js: JetStreamContext, broker: Broker, store: Store
) -> None:
    log = Log(js, "s")
    await log.append(*lines("a"), interval(1), *lines("b"))
    await store.stored(log)
    async with store.watching("s", kinds=[INTERVALS]) as watch:
        began = time.monotonic()
        beat = (await watch.until("heartbeat")).heartbeat
        assert time.monotonic() - began < 5
        assert (beat.sent_seq, beat.stored_head_seq, beat.HasField("ingest_lag")) == (3, 3, True)
        assert beat.ingest_lag.ToMilliseconds() == 0
        broker.kill()
        async with asyncio.timeout(15):
            while (await watch.until("heartbeat")).heartbeat.HasField("ingest_lag"):
                pass


async def test_a_heartbeat_says_how_old_what_is_not_stored_is(
    js: JetStreamContext, store: Store, tmp_path: Path
) -> None:
    log = Log(js, "s")
    await log.append(*lines("a"))
    await store.stored(log)
    async with store.watching("s") as watch:
        async with ingestion_held_up(tmp_path / "store"):
            await log.append(*lines("b"))
            appended = time.monotonic()
            async with asyncio.timeout(15):
                while not (beat := (await watch.until("heartbeat")).heartbeat).ingest_lag.ToMilliseconds():
                    pass
            assert beat.ingest_lag.ToMilliseconds() <= (time.monotonic() - appended + 0.5) * 1000
            assert (beat.sent_seq, beat.stored_head_seq) == (1, 1)
        await watch.until_seq(2)
