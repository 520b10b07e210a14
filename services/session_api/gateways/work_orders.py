"""Work orders on the broker (log.md R7, R8)."""

import asyncio

import nats.errors
import structlog
from nats.js import JetStreamContext
from nats.js.errors import APIError

from milepost.dispatch.v1.dispatch_pb2 import WorkOrder
from runtime import traces
from runtime.broker import REQUEST_TIMEOUT_S, binding, subject
from runtime.work_queue import WORK_CLASS, work_consumer

log = structlog.get_logger()

_ONE_PER_SUBJECT = 10077


class WorkOrders:
    """Publishes orders; makes sure that somebody could pull them."""

    def __init__(self, js: JetStreamContext, *, lease_s: float) -> None:
        self._js = js
        self._lease_s = lease_s
        self._consumers: set[tuple[str, str]] = set()
        self._making = asyncio.Lock()

    async def publish(self, *, tenant: str, session_id: str, pool: str) -> None:
        """Make sure that the session has an order; a second one is refused by the broker and that is fine.

        Raises what nats-py raises while the broker does not answer: the reconciler comes again.
        """
        await self._ensure_consumer(pool, tenant)
        order = WorkOrder(tenant=tenant, session_id=session_id)
        name = subject(WorkOrder, pool=pool, **{"class": WORK_CLASS}, tenant=tenant, session=session_id)
        try:
            await self._js.publish(
                name,
                order.SerializeToString(),
                timeout=REQUEST_TIMEOUT_S,
                stream=binding(WorkOrder).stream,
                headers=traces.headers(),
            )
        except APIError as error:
            if error.err_code != _ONE_PER_SUBJECT:
                raise

    async def publish_soon(self, *, tenant: str, session_id: str, pool: str) -> None:
        """As `publish`; a broker that does not answer is left to the reconciler."""
        try:
            await self.publish(tenant=tenant, session_id=session_id, pool=pool)
        except nats.errors.Error as error:
            log.warning("order left to the reconciler", session=session_id, error=repr(error))

    async def undelivered(self, *, pool: str, tenant: str) -> int:
        """Orders no worker has looked at yet; 0 while the broker does not answer."""
        name = work_consumer(pool=pool, tenant=tenant, lease_s=self._lease_s).durable_name
        assert name is not None
        try:
            info = await self._js.consumer_info(binding(WorkOrder).stream, name)
        except nats.errors.Error:
            return 0
        return info.num_pending or 0

    async def _ensure_consumer(self, pool: str, tenant: str) -> None:
        """One consumer per pool, class and tenant, so that tenants can take turns (R8)."""
        async with self._making:
            if (pool, tenant) in self._consumers:
                return
            await self._js.add_consumer(
                binding(WorkOrder).stream, work_consumer(pool=pool, tenant=tenant, lease_s=self._lease_s)
            )
            self._consumers.add((pool, tenant))
