"""Logs on three brokers: the leader is killed, and every append is there once, in order; nobody is fenced by itself."""

import asyncio
from pathlib import Path

from cluster import SESSIONS, running_brokers
from milepost.event.v1.event_pb2 import IntervalClosed
from runtime.broker import connect, disconnect, ensure_streams, jetstream
from session_log.broker_log import read_tail
from session_log.codec import record
from session_log.writer import LogWriter, Place

LOGS = 12


async def test_no_append_is_lost_doubled_or_refused_when_the_leader_of_the_logs_is_killed(tmp_path: Path) -> None:
    async with running_brokers(tmp_path / "brokers") as brokers:
        client = await connect(brokers.url, name="writers", appends=True)
        js = jetstream(client)
        await ensure_streams(js, replicas=3)
        await brokers.level()
        over = asyncio.Event()
        written = dict.fromkeys((f"s-{number}" for number in range(LOGS)), 0)

        async def write(name: str) -> None:
            writer = LogWriter(js, tenant="t", session_id=name, place=Place(), nonce=name)
            while not over.is_set():
                await writer.append([record(IntervalClosed(), step=written[name])], run=1, attempt=1)
                written[name] += 1

        async def all_beyond(count: int) -> None:
            while min(written.values()) < count:
                await asyncio.sleep(0.01)

        async with asyncio.TaskGroup() as tasks:
            for name in written:
                tasks.create_task(write(name), name=name)
            await all_beyond(20)
            victim = await brokers.leader(SESSIONS)
            brokers.kill(victim)
            await all_beyond(max(written.values()) + 20)
            await brokers.start(victim)
            await brokers.level()
            await all_beyond(max(written.values()) + 20)
            over.set()
        for name, count in written.items():
            messages = await read_tail(js, "t", name, after_stream_seq=0)
            assert [one.headers.first_seq for one in messages] == list(range(1, count + 1))
            assert [one.batch.records[0].step for one in messages] == list(range(count))
        await disconnect(client)
