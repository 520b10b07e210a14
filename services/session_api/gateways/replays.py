"""Questions that only a simulation can answer, put to the workers of a pool."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.subscription import Subscription

from milepost.dispatch.v1.dispatch_pb2 import ReplayAnswer, ReplayRequest
from runtime.broker import subject

log = structlog.get_logger()

# A worker that took a question says so at least every second; after this long it is taken for dead, seconds.
SILENCE_S = 3.0
# How long to wait before the pool is asked again, seconds.
_RETRY_WAIT_S = 0.25


@dataclass(frozen=True, slots=True)
class Replays:
    """Asks until somebody has answered. A question is lost with the worker that took it, and asked again."""

    broker: Client

    async def ask(self, pool: str, request: ReplayRequest, *, timeout_s: float) -> ReplayAnswer | None:
        """The answer, other than `working`; None when nobody gave one in time."""
        request.deadline.FromDatetime(datetime.now(UTC) + timedelta(seconds=timeout_s))
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    try:
                        return await self._ask_once(pool, request)
                    except nats.errors.Error as error:
                        log.info("replay is asked for again", session=request.session_id, error=repr(error))
                    await asyncio.sleep(_RETRY_WAIT_S)
        except TimeoutError:
            return None

    async def _ask_once(self, pool: str, request: ReplayRequest) -> ReplayAnswer:
        """Raises nats.errors.Error when nobody is there or who took it fell silent."""
        inbox = self.broker.new_inbox()
        answers = await self.broker.subscribe(inbox)
        try:
            await self.broker.publish(subject(ReplayRequest, pool=pool), request.SerializeToString(), reply=inbox)
            return await _answer(answers)
        finally:
            await answers.unsubscribe()


async def _answer(answers: Subscription) -> ReplayAnswer:
    while True:
        message = await answers.next_msg(timeout=SILENCE_S)
        if (message.headers or {}).get("Status") == "503":
            raise nats.errors.NoRespondersError
        answer = ReplayAnswer.FromString(message.data)
        if not answer.HasField("working"):
            return answer
