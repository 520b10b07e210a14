"""What a child produces leaves in few appends (log.md R1)."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from nats.js import JetStreamContext

from broker import Broker
from milepost.event.v1.event_pb2 import (
    ClaimReason,
    CommandApplied,
    IntervalClosed,
    LogLine,
    RunStarted,
    ScenePrepared,
    SessionCreated,
)
from milepost.session.v1.session_pb2 import Scheduling, SessionSpec, WorkClass
from runtime.broker import connect, disconnect, ensure_streams, jetstream
from session_log.broker_log import read_tail
from session_log.codec import events, record
from session_log.domain.fold import SessionLife
from session_log.facts import fold_event
from session_log.reader import LogSoFar
from session_log.writer import MAX_BATCH_BYTES, LogWriter, Place
from sim_worker.application.attempt_log import AttemptLog
from sim_worker.application.gathering import BATCH, LIVE, Gathering, gathering_of
from sim_worker.application.outbox import Outbox
from sim_worker.domain.judge import Judge

PATIENCE_S, FOR_EVER_S = 20.0, 1000.0


@pytest.fixture
async def js(broker: Broker) -> AsyncIterator[JetStreamContext]:
    client = await connect(broker.url, name="test", appends=True)
    context = jetstream(client)
    await ensure_streams(context)
    yield context
    await disconnect(client)


@pytest.fixture
async def attempt(js: JetStreamContext) -> AttemptLog:
    created = SessionCreated(auto_start=True)
    await LogWriter(js, tenant="t", session_id="s", place=Place(), nonce="api").append(
        [record(created)], run=1, attempt=0
    )
    (message,) = await read_tail(js, "t", "s", after_stream_seq=0)
    life = SessionLife()
    for event in events("s", message):
        life = fold_event(life, event)
    claimed = AttemptLog(js, "t", "s", LogSoFar(life, Place().after(message), created, {}))
    await claimed.claim("w", ClaimReason.CLAIM_REASON_NEW)
    return claimed


class Told:
    """Hears how much is durable."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    async def __call__(self, step: int) -> None:
        self.steps.append(step)

    async def until(self, step: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while step not in self.steps:
                await asyncio.sleep(0.005)


async def appended(js: JetStreamContext) -> list[int]:
    """Records of each append after the claim."""
    messages = await read_tail(js, "t", "s", after_stream_seq=0)
    return [len(message.batch.records) for message in messages[2:]]


async def test_what_comes_during_an_append_gathers(js: JetStreamContext, attempt: AttemptLog) -> None:
    told = Told()
    outbox = Outbox(attempt, Judge(), told)

    def close(first: int, last: int) -> None:
        for step in range(first, last):
            outbox.put(record(IntervalClosed(), step=step))

    close(1, 41)
    flushing = asyncio.create_task(outbox.flush())
    # Until it waits for the broker.
    await asyncio.sleep(0)
    close(41, 61)
    await flushing
    assert (await appended(js), told.steps) == ([40], [40])

    close(61, 61 + LIVE.records)
    await outbox.flush()
    assert await appended(js) == [40, LIVE.records, 20]
    assert told.steps == [40, 60 + LIVE.records]


async def test_batch_work_waits_for_more_and_gives_its_rest_to_its_end(
    js: JetStreamContext, attempt: AttemptLog
) -> None:
    told = Told()
    outbox = Outbox(attempt, Judge(), told, replace(BATCH, wait_s=FOR_EVER_S))
    async with asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(outbox.send())
        outbox.put(record(ScenePrepared()))
        outbox.put(record(RunStarted()))
        for step in range(1, 11):
            outbox.put(record(IntervalClosed(), step=step))
        await asyncio.sleep(0.1)
        assert await appended(js) == []

        # The outcome of a command is waited for: everything before it goes with it.
        outbox.put(record(CommandApplied(command_id="c"), step=10))
        await told.until(10)
        assert await appended(js) == [13]

        outbox.put(record(IntervalClosed(), step=11))
        await asyncio.sleep(0.1)
        sending.cancel()
    assert [item.step for item in outbox.take()] == [11]
    assert outbox.take() == []
    assert await appended(js) == [13]


async def test_batch_work_is_told_of_when_it_has_waited_and_when_it_is_much(
    js: JetStreamContext, attempt: AttemptLog
) -> None:
    told = Told()
    outbox = Outbox(attempt, Judge(), told, replace(BATCH, wait_s=0.3))
    async with asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(outbox.send())
        for step in (1, 2):
            outbox.put(record(IntervalClosed(), step=step))
            await asyncio.sleep(0.01)
        await told.until(2)
        assert await appended(js) == [2]
        sending.cancel()

    outbox = Outbox(attempt, Judge(), told, replace(BATCH, wait_s=FOR_EVER_S))
    async with asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(outbox.send())
        for step in range(3, 3 + BATCH.records // 2):
            outbox.put(record(IntervalClosed(), step=step))
        await told.until(2 + BATCH.records // 2)
        assert await appended(js) == [2, BATCH.records // 2]
        sending.cancel()


async def test_who_is_called_away_in_the_middle_leaves_no_hole(js: JetStreamContext, attempt: AttemptLog) -> None:
    outbox = Outbox(attempt, Judge(), Told(), BATCH)
    # Of such lines three do not go into one message.
    texts = [f"{number} {'x' * (MAX_BATCH_BYTES // 3)}" for number in range(7)]
    for text in texts:
        outbox.put(record(LogLine(text=text)))
    flushing = asyncio.create_task(outbox.flush())
    # Until it waits for the broker.
    await asyncio.sleep(0)
    flushing.cancel()
    await asyncio.wait({flushing})
    assert flushing.cancelled()
    await outbox.flush()
    messages = await read_tail(js, "t", "s", after_stream_seq=0)
    records = [one for message in messages[2:] for one in message.batch.records]
    assert [LogLine.FromString(one.payload).text for one in records] == texts
    assert await appended(js) == [2, 2, 2, 1]


@pytest.mark.parametrize(("work_class", "rule"), [("STANDARD", LIVE), ("INTERACTIVE", LIVE), ("BATCH", BATCH)])
def test_only_batch_work_is_kept_waiting(work_class: str, rule: Gathering) -> None:
    spec = SessionSpec(scheduling=Scheduling(work_class=WorkClass.Value(f"WORK_CLASS_{work_class}")))
    assert gathering_of(spec) == rule
    assert gathering_of(SessionSpec()) == LIVE
