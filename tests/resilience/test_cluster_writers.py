"""Logs on three brokers: one writer wins, and what was appended is there once, in order, whoever leads."""

import asyncio
from pathlib import Path

import pytest

from cluster import SESSIONS, running_brokers
from milepost.event.v1.event_pb2 import IntervalClosed
from runtime.broker import connect, disconnect, ensure_streams, jetstream
from session_log.broker_log import read_tail
from session_log.codec import record
from session_log.writer import LogWriter, LostRace, Place

LOGS = 6
# Between two appends to a log, seconds.
PERIOD_S = 0.1
WRITERS = 4


async def test_of_many_who_append_at_the_same_place_one_wins_and_the_others_learn_of_it(tmp_path: Path) -> None:
    async with running_brokers(tmp_path / "brokers") as brokers:
        client = await connect(brokers.url, name="writers", appends=True)
        js = jetstream(client)
        await ensure_streams(js, replicas=3)
        await brokers.level()

        async def race(name: str, nonce: str) -> list[str]:
            """Whose message stands there."""
            writer = LogWriter(js, tenant="t", session_id=name, place=Place(), nonce=nonce)
            try:
                # The cluster decides about one at a time: the others are asked again until it has.
                await writer.append([record(IntervalClosed())], run=1, attempt=1)
            except LostRace as lost:
                return [message.headers.nonce for message in lost.newer]
            return [nonce]

        for log in range(LOGS):
            found = await asyncio.gather(*(race(f"s-{log}", str(writer)) for writer in range(WRITERS)))
            assert len(found[0]) == 1
            assert all(one == found[0] for one in found)
        await disconnect(client)


@pytest.mark.slow
async def test_no_append_is_lost_doubled_or_refused_when_the_leader_of_the_logs_is_lost_with_its_disk(
    tmp_path: Path,
) -> None:
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
                # At leisure: what is written is read again, message by message.
                await asyncio.sleep(PERIOD_S)

        async def all_beyond(count: int) -> None:
            while min(written.values()) < count:
                await asyncio.sleep(0.01)

        async with asyncio.TaskGroup() as tasks:
            for name in written:
                tasks.create_task(write(name), name=name)
            await all_beyond(5)
            victim = await brokers.leader(SESSIONS)
            brokers.lose(victim)
            await all_beyond(max(written.values()) + 5)
            await brokers.start(victim)
            await brokers.level()
            await all_beyond(max(written.values()) + 5)
            over.set()
        for name, count in written.items():
            messages = await read_tail(js, "t", name, after_stream_seq=0)
            assert [one.headers.first_seq for one in messages] == list(range(1, count + 1))
            assert [one.batch.records[0].step for one in messages] == list(range(count))
        await disconnect(client)
