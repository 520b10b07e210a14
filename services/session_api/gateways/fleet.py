"""Workers, as they say on the broker that they are there; and questions to one of them."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from milepost.dispatch.v1.dispatch_pb2 import WorkerAnswer, WorkerPresence, WorkerQuestion
from runtime.broker import subject

# A worker that was not heard for so long is gone, seconds: it speaks every 2 s, and may be missed twice.
ABSENT_AFTER_S = 7.0
# How long a worker may take to look into its simulation, seconds.
ASK_TIMEOUT_S = 2.0


@dataclass(slots=True)
class Fleet:
    """Who is there; knows everybody a few seconds after `listen`."""

    broker: Client
    monotonic: Callable[[], float] = time.monotonic
    _heard: dict[str, tuple[float, WorkerPresence]] = field(default_factory=dict)

    async def listen(self) -> None:
        """Hear workers from now on, for as long as the connection lives."""

        async def hear(message: Msg) -> None:
            presence = WorkerPresence.FromString(message.data)
            self._heard[presence.worker_id] = (self.monotonic(), presence)

        await self.broker.subscribe(subject(WorkerPresence, worker="*"), cb=hear)

    def present(self) -> list[WorkerPresence]:
        """All that are there, by name."""
        since = self.monotonic() - ABSENT_AFTER_S
        self._heard = {name: heard for name, heard in self._heard.items() if heard[0] >= since}
        return [heard[1] for _, heard in sorted(self._heard.items())]

    def workers(self, pool: str) -> list[WorkerPresence]:
        """Those of a pool that are there, by name."""
        return [worker for worker in self.present() if worker.pool == pool]

    def worker(self, worker_id: str) -> WorkerPresence | None:
        """The worker of that name, if it is there."""
        heard = self._heard.get(worker_id)
        return heard[1] if heard and heard[0] >= self.monotonic() - ABSENT_AFTER_S else None

    async def ask(self, worker_id: str, question: WorkerQuestion) -> WorkerAnswer | None:
        """A worker's answer; None when it gives none."""
        name = subject(WorkerQuestion, worker=worker_id)
        try:
            reply = await self.broker.request(name, question.SerializeToString(), timeout=ASK_TIMEOUT_S)
        except nats.errors.Error:
            return None
        return WorkerAnswer.FromString(reply.data)
