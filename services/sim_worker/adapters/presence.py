"""A worker on the broker: it says that it is there, and answers questions."""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from milepost.dispatch.v1.dispatch_pb2 import StillRunning, WorkerAnswer, WorkerPresence, WorkerQuestion
from runtime.broker import subject

# How often a worker says that it is there, seconds.
PRESENCE_PERIOD_S = 2.0


async def announce(broker: Client, *, worker_id: str, pool: str, slots: int, busy: Callable[[], int]) -> None:
    """Say so until cancelled; unheard while the broker is away."""
    presence = WorkerPresence(worker_id=worker_id, pool=pool, slots=slots)
    presence.start_time.FromDatetime(datetime.now(UTC))
    while True:
        presence.busy = busy()
        # What is not heard now is said again in a moment.
        with contextlib.suppress(nats.errors.Error):
            await broker.publish(subject(WorkerPresence, worker=worker_id), presence.SerializeToString())
        await asyncio.sleep(PRESENCE_PERIOD_S)


async def answer_questions(broker: Client, *, worker_id: str, runs: Callable[[StillRunning], bool]) -> None:
    """Answer for as long as the connection lives."""

    async def answer(message: Msg) -> None:
        question = WorkerQuestion.FromString(message.data)
        reply = WorkerAnswer(running=runs(question.still_running))
        await message.respond(reply.SerializeToString())

    await broker.subscribe(subject(WorkerQuestion, worker=worker_id), cb=answer)
