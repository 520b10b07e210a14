"""The lease of a session: the delivery of its work order, kept alive while this worker owns the session.

In-progress, ack and nak are sent only through here, and only while the own claim is the log's latest: a stale
delivery's in-progress *keeps* an order and its ack *deletes* it (log.md R8).
"""

import asyncio

import nats.errors
import structlog
from nats.aio.msg import Msg

log = structlog.get_logger()

# In-progress acks per lease time: two may get lost.
_BEATS_PER_LEASE = 3


class Lease:
    """One order's latest `delivery`."""

    def __init__(self, delivery: Msg, *, lease_s: float) -> None:
        self.delivery = delivery
        self._lease_s = lease_s

    def adopt(self, delivery: Msg) -> None:
        """The broker delivered the order again (a restart does that): this delivery is the lease now."""
        self.delivery = delivery

    async def keep(self) -> None:
        """Beat until cancelled."""
        while True:
            try:
                await self.delivery.in_progress()
            except nats.errors.Error as error:
                log.warning("lease not extended", error=repr(error))
            await asyncio.sleep(self._lease_s / _BEATS_PER_LEASE)

    async def done(self) -> None:
        """The session ended; its order goes. A lost ack brings the order again, and then it is dropped."""
        try:
            await self.delivery.ack()
        except nats.errors.Error as error:
            log.warning("order not acknowledged", error=repr(error))

    async def release(self, *, delay_s: float = 0.0) -> None:
        """Let another worker have it."""
        try:
            await self.delivery.nak(delay=delay_s or None)
        except nats.errors.Error as error:
            log.warning("order not released", error=repr(error))
