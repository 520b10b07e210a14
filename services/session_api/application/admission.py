"""Whether the broker's log has room for a new session (log.md R5): 10 % stays free so that running ones can end."""

import asyncio
import time
from collections.abc import Callable

import nats.errors
from nats.js import JetStreamContext

from milepost.errors.v1 import errors_pb2
from milepost.event.v1.record_pb2 import EventBatch
from runtime.broker import binding
from runtime.errors import CallRefused

# The part of the log kept for sessions that exist.
RESERVED = 0.1
# How long one look at the stream is good for, seconds.
_FRESH_S = 1.0
_RETRY_AFTER_S = 10.0


class Admission:
    """Looks at the log's fill level, at most once a second."""

    def __init__(self, js: JetStreamContext, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._js = js
        self._monotonic = monotonic
        self._looked = float("-inf")
        self._full = False
        self._looking = asyncio.Lock()

    async def require_room(self) -> None:
        """Raise CallRefused(LOG_FULL) when less than the reserve is left, BROKER_UNAVAILABLE when it cannot tell."""
        async with self._looking:
            if self._monotonic() - self._looked > _FRESH_S:
                try:
                    info = await self._js.stream_info(binding(EventBatch).stream)
                except nats.errors.Error as error:
                    raise CallRefused(
                        errors_pb2.ERROR_REASON_BROKER_UNAVAILABLE,
                        "the broker does not answer",
                        retry_after_s=1.0,
                    ) from error
                limit = info.config.max_bytes or -1
                self._full = limit > 0 and info.state.bytes > limit * (1 - RESERVED)
                self._looked = self._monotonic()
        if self._full:
            raise self.log_full()

    def log_full(self) -> CallRefused:
        """The refusal itself."""
        return CallRefused(
            errors_pb2.ERROR_REASON_LOG_FULL,
            "the broker's log is nearly full; running sessions go on, new ones must wait",
            retry_after_s=_RETRY_AFTER_S,
        )
