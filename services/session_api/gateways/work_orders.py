"""Work orders on the broker (log.md R7, R8)."""

import asyncio
from collections.abc import Sequence

import nats.errors
from nats.js import JetStreamContext
from nats.js.errors import APIError

from milepost.dispatch.v1.dispatch_pb2 import WorkOrder
from milepost.event.v1.event_pb2 import SessionCreated
from runtime import traces
from runtime.broker import REQUEST_TIMEOUT_S, binding, subject, tokens_of
from runtime.work_queue import Line, class_token

_ONE_PER_SUBJECT = 10077


class WorkOrders:
    """Publishes orders; makes sure that somebody could pull them."""

    def __init__(self, js: JetStreamContext, *, lease_s: float) -> None:
        self._js = js
        self._lease_s = lease_s
        self._consumers: set[Line] = set()
        self._making = asyncio.Lock()

    async def publish(self, line: Line, session_id: str) -> None:
        """Make sure that the session has an order; a second one is refused by the broker and that is fine.

        Raises what nats-py raises while the broker does not answer: the reconciler comes again.
        """
        await self._ensure_consumer(line)
        order = WorkOrder(tenant=line.tenant, session_id=session_id)
        try:
            await self._js.publish(
                line.subject(session_id),
                order.SerializeToString(),
                timeout=REQUEST_TIMEOUT_S,
                stream=binding(WorkOrder).stream,
                headers=traces.headers(),
            )
        except APIError as error:
            if error.err_code != _ONE_PER_SUBJECT:
                raise

    async def publish_all(self, wanted: Sequence[tuple[Line, str]]) -> None:
        """As `publish` for sessions (line, id), in this order, without waiting for one to send the next."""
        await asyncio.gather(*(self.publish(line, session_id) for line, session_id in wanted))

    async def outstanding(self, tenant: str) -> dict[str, str]:
        """A tenant's orders, whether a worker has them or not: class by session. Raises what nats-py raises."""
        mine = subject(WorkOrder, pool="*", **{"class": "*"}, tenant=tenant, session="*")
        info = await self._js.stream_info(binding(WorkOrder).stream, subjects_filter=mine)
        tokens = [tokens_of(WorkOrder, name) for name in info.state.subjects or {}]
        return {found["session"]: found["class"] for found in tokens}

    async def undelivered(self, line: Line) -> int:
        """Orders of a line no worker has looked at yet; 0 while the broker does not answer."""
        try:
            info = await self._js.consumer_info(binding(WorkOrder).stream, line.consumer)
        except nats.errors.Error:
            return 0
        return info.num_pending or 0

    def look_again(self) -> None:
        """Believe of no consumer any more that it is there: each is made sure of with its next order."""
        self._consumers.clear()

    async def _ensure_consumer(self, line: Line) -> None:
        """One consumer per pool, class and tenant, so that tenants can take turns (R8)."""
        async with self._making:
            if line not in self._consumers:
                await self._js.add_consumer(binding(WorkOrder).stream, line.config(lease_s=self._lease_s))
                self._consumers.add(line)


def line_of(tenant: str, created: SessionCreated) -> Line:
    """Where a session's order stands, from the first event of its log."""
    return Line(created.pool, class_token(created.spec.scheduling), tenant)
