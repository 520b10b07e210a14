"""Every session that wants a worker has a work order (log.md R9): looked after at start and for ever."""

import asyncio
from dataclasses import dataclass

import nats.errors
import structlog
from sqlalchemy.exc import SQLAlchemyError

from session_api.application.place_orders import PlaceOrders
from session_api.gateways.sessions_sql import Sessions

log = structlog.get_logger()


# How often it is looked whether quotas have room for those that wait for it, seconds.
QUOTA_PERIOD_S = 0.25


@dataclass(frozen=True, slots=True)
class ReconcileOrders:
    """Publishes what is missing; what is there is refused by the broker."""

    sessions: Sessions
    place: PlaceOrders
    period_s: float

    async def __call__(self) -> None:
        """Run until cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            waiting: set[str] = set()
            deadline = clock() + self.period_s
            try:
                waiting = await self._all()
                while waiting and clock() < deadline:
                    await asyncio.sleep(min(QUOTA_PERIOD_S, self.period_s))
                    waiting = {tenant for tenant in waiting if await self.place.release(tenant)}
            except (nats.errors.Error, SQLAlchemyError) as error:
                log.warning("reconciling goes on later", error=repr(error))
            await asyncio.sleep(max(0.0, deadline - clock()))

    async def _all(self) -> set[str]:
        """Tenants that have sessions waiting for their quotas."""
        self.place.orders.look_again()
        is_limited, limited = await self.place.limited(), set[str]()
        for wanted in await self.sessions.wanting_orders():
            if is_limited(wanted.line.tenant):
                limited.add(wanted.line.tenant)
            else:
                await self.place.orders.publish(wanted.line, wanted.session_id)
        return {tenant for tenant in limited if await self.place.release(tenant)}
