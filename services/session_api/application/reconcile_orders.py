"""Every session that wants a worker has a work order (log.md R9): looked after at start and for ever."""

import asyncio
from dataclasses import dataclass

import nats.errors
import structlog
from sqlalchemy.exc import SQLAlchemyError

from session_api.gateways.sessions_sql import Sessions
from session_api.gateways.work_orders import WorkOrders

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ReconcileOrders:
    """Publishes what is missing; what is there is refused by the broker."""

    sessions: Sessions
    orders: WorkOrders
    period_s: float

    async def __call__(self) -> None:
        """Run until cancelled."""
        while True:
            try:
                self.orders.look_again()
                for wanted in await self.sessions.wanting_orders():
                    await self.orders.publish(wanted.line, wanted.session_id)
            except (nats.errors.Error, SQLAlchemyError) as error:
                log.warning("reconciling goes on later", error=repr(error))
            await asyncio.sleep(self.period_s)
