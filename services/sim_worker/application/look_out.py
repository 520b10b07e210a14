"""Beside a session: its lease is kept alive, and its log is looked at for what others append."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from nats.aio.client import Client

from runtime.process import cancel
from session_log.wake_up import look_again, woken_by
from sim_worker.application.attempt_log import AttemptLog
from sim_worker.application.lease import Lease

# How often the log is looked at for commands whose wake-up got lost, seconds.
LOOK_PERIOD_S = 2.0


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

    async def _look_out(self, attempt: AttemptLog) -> None:
        """Look at the log whenever somebody else publishes to it, and every 2 s."""
        async with woken_by(self.broker, attempt.tenant, attempt.session_id) as wake:
            while True:
                told = wake.is_set()
                wake.clear()
                await look_again(attempt.look, expecting=told)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_PERIOD_S):
                        await wake.wait()
