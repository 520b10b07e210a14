"""A worker on the broker: it says that it is there, and answers questions."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from milepost.dispatch.v1.dispatch_pb2 import ReplayRequest, WorkerAnswer, WorkerPresence, WorkerQuestion
from runtime.broker import subject

# How often a worker says that it is there, seconds.
PRESENCE_PERIOD_S = 2.0


async def announce(broker: Client, presence: WorkerPresence, refresh: Callable[[WorkerPresence], None]) -> None:
    """Say so until cancelled, `refresh` filling in what changes; unheard while the broker is away."""
    presence.start_time.FromDatetime(datetime.now(UTC))
    while True:
        refresh(presence)
        # What is not heard now is said again in a moment.
        with contextlib.suppress(nats.errors.Error):
            name = subject(WorkerPresence, worker=presence.worker_id)
            await broker.publish(name, presence.SerializeToString())
        await asyncio.sleep(PRESENCE_PERIOD_S)


async def answer_questions(
    broker: Client, *, worker_id: str, answer: Callable[[WorkerQuestion], Awaitable[WorkerAnswer]]
) -> None:
    """Answer for as long as the connection lives. A slow answer keeps no other question waiting."""
    answering: set[asyncio.Task[None]] = set()

    async def respond(message: Msg) -> None:
        reply = await answer(WorkerQuestion.FromString(message.data))
        with contextlib.suppress(nats.errors.Error):
            await message.respond(reply.SerializeToString())

    async def on_message(message: Msg) -> None:
        task = asyncio.create_task(respond(message), name="answer")
        answering.add(task)
        task.add_done_callback(answering.discard)

    await broker.subscribe(subject(WorkerQuestion, worker=worker_id), cb=on_message)


async def answer_replays(broker: Client, *, pool: str, answer: Callable[[Msg], Awaitable[None]]) -> None:
    """Take replays as one of the pool's workers, for as long as the connection lives."""
    answering: set[asyncio.Future[None]] = set()

    async def on_message(message: Msg) -> None:
        task = asyncio.ensure_future(answer(message))
        answering.add(task)
        task.add_done_callback(answering.discard)

    await broker.subscribe(subject(ReplayRequest, pool=pool), queue=pool, cb=on_message)
