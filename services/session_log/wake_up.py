"""Wake-ups: somebody has published to a log. Subscribers hear it; what stands there, the log alone says."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from nats.aio.client import Client

from milepost.event.v1.record_pb2 import EventBatch
from runtime.broker import subject

# Between two looks for something that was told of and is not there yet, seconds.
_AGAIN_S = (0.005, 0.02, 0.1, 0.3)


@contextlib.asynccontextmanager
async def woken_by(broker: Client, tenant: str, session_id: str) -> AsyncIterator[asyncio.Event]:
    """An event that is set whenever somebody publishes to a log; best effort, it may come twice or never."""
    wake = asyncio.Event()

    async def on_message(_: object) -> None:
        wake.set()

    name = subject(EventBatch, tenant=tenant, session=session_id)
    subscription = await broker.subscribe(name, cb=on_message, pending_msgs_limit=16)
    try:
        yield wake
    finally:
        with contextlib.suppress(Exception):
            await subscription.unsubscribe()


async def look_again(look: Callable[[], Awaitable[bool]], *, expecting: bool) -> None:
    """Look until something was there, several times when something is expected.

    The broker tells its subscribers of a message before its stream can be asked for it.
    """
    for wait_s in _AGAIN_S:
        if await look() or not expecting:
            return
        await asyncio.sleep(wait_s)
