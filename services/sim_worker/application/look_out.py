"""Beside a session: its lease is kept alive, and its log is looked at for what others append."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from nats.aio.client import Client

from milepost.event.v1.record_pb2 import EventBatch
from runtime.broker import subject
from runtime.process import cancel
from sim_worker.application.attempt_log import AttemptLog
from sim_worker.application.lease import Lease

# How often the log is looked at for commands whose wake-up got lost, seconds.
LOOK_PERIOD_S = 2.0
# Between two looks for something that was told of and is not there yet, seconds.
_AGAIN_S = (0.005, 0.02, 0.1, 0.3)


@dataclass(frozen=True, slots=True)
class LookOut:
    """Serves all sessions of the worker."""

    broker: Client

    @contextlib.asynccontextmanager
    async def beside(self, attempt: AttemptLog, lease: Lease) -> AsyncIterator[asyncio.Task[None]]:
        """Both, for the time of the body; yields the task that ends only when the session is another's."""
        beat = asyncio.create_task(lease.keep(), name=f"lease {attempt.session_id}")
        look = asyncio.create_task(self._look_out(attempt), name=f"look-out {attempt.session_id}")
        try:
            yield look
        finally:
            await cancel(beat, look)

    async def _look(self, attempt: AttemptLog, *, expecting: bool) -> None:
        """The broker tells its subscribers of a message before its stream can be asked for it."""
        for wait_s in _AGAIN_S:
            if await attempt.look() or not expecting:
                return
            await asyncio.sleep(wait_s)

    async def _look_out(self, attempt: AttemptLog) -> None:
        """Look at the log whenever somebody else publishes to it (core NATS, a wake-up only), and every 2 s."""
        wake = asyncio.Event()

        async def on_message(_: object) -> None:
            wake.set()

        name = subject(EventBatch, tenant=attempt.tenant, session=attempt.session_id)
        subscription = await self.broker.subscribe(name, cb=on_message, pending_msgs_limit=16)
        try:
            while True:
                told = wake.is_set()
                wake.clear()
                await self._look(attempt, expecting=told)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_PERIOD_S):
                        await wake.wait()
        finally:
            with contextlib.suppress(Exception):
                await subscription.unsubscribe()
