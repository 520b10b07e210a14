"""A worker that leaves when it has had nothing to do for a while: a job that ends, not a service that stays."""

import asyncio
import time
from collections.abc import Callable

import structlog

log = structlog.get_logger()

# How often it is looked at, seconds.
_LOOK_S = 0.5


async def leave_when_idle(busy: Callable[[], int], *, after_s: float, stop: asyncio.Event) -> None:
    """Set `stop`, and return, once `busy` (sessions being run) was 0 for `after_s` seconds (0: never)."""
    last_busy = time.monotonic()
    while after_s and not stop.is_set():
        await asyncio.sleep(min(_LOOK_S, after_s))
        if busy():
            last_busy = time.monotonic()
        elif time.monotonic() - last_busy >= after_s:
            log.info("nothing to do", for_s=after_s)
            stop.set()
