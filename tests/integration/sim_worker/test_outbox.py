"""What a child produces leaves in few appends (log.md R1)."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from nats.js import JetStreamContext

from broker import Broker
from milepost.event.v1.event_pb2 import ClaimReason, IntervalClosed, SessionCreated
from runtime.broker import connect, disconnect, ensure_streams, jetstream
from session_log.broker_log import read_tail
from session_log.codec import events, record
from session_log.domain.fold import SessionLife
from session_log.facts import fold_event
from session_log.reader import LogSoFar
from session_log.writer import LogWriter, Place
from sim_worker.application.attempt_log import AttemptLog
from sim_worker.application.outbox import MAX_BATCH_RECORDS, Outbox
from sim_worker.domain.judge import Judge


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


async def appended(js: JetStreamContext) -> list[int]:
    """Records of each append after the claim."""
    messages = await read_tail(js, "t", "s", after_stream_seq=0)
    return [len(message.batch.records) for message in messages[2:]]


async def test_what_comes_during_an_append_gathers(js: JetStreamContext, attempt: AttemptLog) -> None:
    durable: list[int] = []

    async def tell(step: int) -> None:
        durable.append(step)

    outbox = Outbox(attempt, Judge(), tell)

    def close(first: int, last: int) -> None:
        for step in range(first, last):
            outbox.put(record(IntervalClosed(), step=step))

    close(1, 41)
    flushing = asyncio.create_task(outbox.flush())
    # Until it waits for the broker.
    await asyncio.sleep(0)
    close(41, 61)
    await flushing
    assert (await appended(js), durable) == ([40], [40])

    close(61, 61 + MAX_BATCH_RECORDS)
    await outbox.flush()
    assert await appended(js) == [40, MAX_BATCH_RECORDS, 20]
    assert durable == [40, 60 + MAX_BATCH_RECORDS]
