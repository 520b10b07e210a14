"""Owning a log (log.md R2, R18): claims, fences, commands that arrive in between, batches that depend on the fold."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
from google.protobuf.message import Message
from nats.js import JetStreamContext

from broker import Broker
from milepost.event.v1.event_pb2 import (
    CancelCommand,
    ClaimReason,
    CommandRejected,
    CommandRequested,
    Event,
    LogLine,
    SessionCancelled,
    SessionCompleted,
    SessionCreated,
)
from milepost.event.v1.record_pb2 import Record
from runtime.broker import connect, ensure_streams, jetstream
from session_log.broker_log import read_tail
from session_log.codec import events, record
from session_log.domain.fold import SessionLife
from session_log.domain.lifecycle import State
from session_log.facts import fold_event
from session_log.reader import LogSoFar
from session_log.writer import LogWriter, Place
from sim_worker.application.attempt_log import AttemptLog, Fenced

NEW = ClaimReason.CLAIM_REASON_NEW


@pytest.fixture
async def js(broker: Broker) -> AsyncIterator[JetStreamContext]:
    client = await connect(broker.url, name="test", appends=True)
    context = jetstream(client)
    await ensure_streams(context)
    yield context
    await client.close()


async def log_of(js: JetStreamContext) -> list[Event]:
    messages = await read_tail(js, "t", "s", after_stream_seq=0)
    found = [event for message in messages for event in events("s", message)]
    assert [event.seq for event in found] == list(range(1, len(found) + 1))
    return found


async def so_far(js: JetStreamContext) -> LogSoFar:
    messages = await read_tail(js, "t", "s", after_stream_seq=0)
    life = SessionLife()
    requests = {}
    for event in await log_of(js):
        life = fold_event(life, event)
        if event.HasField("command_requested"):
            requests[event.command_requested.command_id] = event.command_requested
    return LogSoFar(life, Place().after(messages[-1]) if messages else Place(), SessionCreated(), requests)


async def by_api(js: JetStreamContext, *payloads: Message) -> None:
    """What session_api appends, at the end of the log as it is now."""
    place = (await so_far(js)).place
    api = LogWriter(js, tenant="t", session_id="s", place=place, nonce=uuid.uuid4().hex)
    await api.append([record(payload) for payload in payloads], run=1, attempt=0)


def cancel(name: str) -> CommandRequested:
    return CommandRequested(command_id=name, cancel=CancelCommand())


@pytest.fixture
async def attempt(js: JetStreamContext) -> AttemptLog:
    await by_api(js, SessionCreated(auto_start=True))
    claimed = AttemptLog(js, "t", "s", await so_far(js))
    await claimed.claim("w", NEW)
    return claimed


async def test_of_two_workers_that_claim_at_once_one_owns_the_session(js: JetStreamContext) -> None:
    await by_api(js, SessionCreated(auto_start=True))
    known = await so_far(js)
    contenders = [AttemptLog(js, "t", "s", known) for _ in range(4)]
    results = await asyncio.gather(
        *(one.claim(f"w{n}", NEW) for n, one in enumerate(contenders)), return_exceptions=True
    )
    assert sorted(repr(result) for result in results) == ["Fenced()"] * 3 + ["None"]
    assert len([event for event in await log_of(js) if event.HasField("attempt_claimed")]) == 1


async def test_a_command_in_between_costs_an_append_nothing_and_is_noticed(
    js: JetStreamContext, attempt: AttemptLog
) -> None:
    await by_api(js, cancel("c"))
    await attempt.append([record(LogLine(text="mine"))])
    kinds = [event.WhichOneof("payload") for event in await log_of(js)]
    assert kinds == ["session_created", "attempt_claimed", "command_requested", "log_line"]
    assert attempt.commands.get_nowait().command_id == "c"
    assert attempt.life.state is State.TERMINATING


async def test_a_look_finds_commands_once_each_in_order(js: JetStreamContext, attempt: AttemptLog) -> None:
    await by_api(js, cancel("a"), cancel("b"))
    await attempt.look()
    await attempt.look()
    assert [attempt.commands.get_nowait().command_id for _ in range(attempt.commands.qsize())] == ["a", "b"]


async def test_a_worker_that_was_succeeded_is_fenced_by_append_and_by_look(
    js: JetStreamContext, attempt: AttemptLog
) -> None:
    successor = AttemptLog(js, "t", "s", await so_far(js))
    await successor.claim("v", ClaimReason.CLAIM_REASON_WORKER_LOST)
    with pytest.raises(Fenced):
        await attempt.append([record(LogLine(text="too late"))])
    with pytest.raises(Fenced):
        await attempt.look()
    assert all(not event.HasField("log_line") for event in await log_of(js))
    await successor.append([record(LogLine(text="mine"))])


async def test_an_end_fences_whoever_still_runs(js: JetStreamContext, attempt: AttemptLog) -> None:
    await by_api(js, SessionCancelled())
    with pytest.raises(Fenced):
        await attempt.append([record(LogLine(text="too late"))])


async def test_a_terminal_batch_answers_the_command_that_came_a_moment_before(
    js: JetStreamContext, attempt: AttemptLog
) -> None:
    def last(life: SessionLife) -> list[Record]:
        answers = [CommandRejected(command_id=command.command_id) for command in life.open_commands]
        return [record(payload) for payload in (*answers, SessionCompleted())]

    await by_api(js, cancel("c"))
    await attempt.append_built(last)
    tail = [event.WhichOneof("payload") for event in await log_of(js)][-2:]
    assert tail == ["command_rejected", "session_completed"]


async def test_an_append_goes_through_though_its_caller_is_cancelled_and_the_next_follows_it(
    js: JetStreamContext, attempt: AttemptLog, broker: Broker
) -> None:
    broker.pause()
    first = asyncio.create_task(attempt.append([record(LogLine(text="first"))]))
    await asyncio.wait({first}, timeout=0.2)
    first.cancel()
    broker.go_on()
    await attempt.append([record(LogLine(text="second"))])
    texts = [event.log_line.text for event in await log_of(js) if event.HasField("log_line")]
    assert texts == ["first", "second"]
