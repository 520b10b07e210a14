"""A worker that was taken for dead and wakes up writes nothing (log.md R2). Found by chaos."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
from nats.js import JetStreamContext

from broker import Broker
from milepost.event.v1.event_pb2 import ClaimReason, Event, LogLine, SessionCreated
from runtime.broker import connect, ensure_streams, jetstream
from session_log.broker_log import read_tail
from session_log.codec import events, record
from session_log.domain.fold import SessionLife
from session_log.facts import fold_event
from session_log.reader import LogSoFar
from session_log.writer import LogWriter, Place
from sim_worker.application.attempt_log import AttemptLog, Fenced


@pytest.fixture
async def js(broker: Broker) -> AsyncIterator[JetStreamContext]:
    client = await connect(broker.url, name="test", appends=True)
    context = jetstream(client)
    await ensure_streams(context)
    yield context
    await client.close()


async def log_of(js: JetStreamContext) -> list[Event]:
    messages = await read_tail(js, "t", "s", after_stream_seq=0)
    return [event for message in messages for event in events("s", message)]


async def claimed(js: JetStreamContext, worker_id: str) -> AttemptLog:
    """The log in the hands of a worker that has just claimed it."""
    messages = await read_tail(js, "t", "s", after_stream_seq=0)
    life = SessionLife()
    for event in await log_of(js):
        life = fold_event(life, event)
    owned = AttemptLog(js, "t", "s", LogSoFar(life, Place().after(messages[-1]), SessionCreated(), {}))
    await owned.claim(worker_id, ClaimReason.CLAIM_REASON_NEW)
    return owned


@pytest.fixture
async def zombie(js: JetStreamContext) -> AttemptLog:
    """An owner that does not know yet that there is another."""
    writer = LogWriter(js, tenant="t", session_id="s", place=Place(), nonce=uuid.uuid4().hex)
    await writer.append([record(SessionCreated(auto_start=True))], run=1, attempt=0)
    slept = await claimed(js, "slept")
    await claimed(js, "heir")
    return slept


async def test_an_append_that_waits_while_the_look_out_finds_the_heirs_claim_writes_nothing(
    js: JetStreamContext, zombie: AttemptLog
) -> None:
    outcomes = await asyncio.gather(
        zombie.look(), zombie.append([record(LogLine(text="late"))]), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [Fenced, Fenced]
    assert [event.attempt for event in await log_of(js)] == [0, 1, 2]


async def test_an_append_after_the_heirs_claim_was_found_writes_nothing(
    js: JetStreamContext, zombie: AttemptLog
) -> None:
    for _ in range(3):
        with pytest.raises(Fenced):
            await zombie.append([record(LogLine(text="late"))])
    assert [event.attempt for event in await log_of(js)] == [0, 1, 2]
