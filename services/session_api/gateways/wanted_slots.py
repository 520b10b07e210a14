"""How many slots a pool's sessions want, as the broker counts their orders.

An order stays on the work queue from the moment a session wants a worker until it ends or is suspended (log.md R7): the
messages of a pool are its sessions that wait and those that run, whoever has them, of all classes and tenants.
"""

from dataclasses import dataclass

import nats.errors
from nats.js import JetStreamContext
from nats.js.errors import Error as JetStreamError

from milepost.dispatch.v1.dispatch_pb2 import WorkOrder
from milepost.errors.v1 import errors_pb2
from runtime.broker import binding, subject
from runtime.errors import CallRefused

# When to ask again, seconds: a new leader is found in a few.
_RETRY_S = 2.0


@dataclass(frozen=True, slots=True)
class WantedSlots:
    """Asks the leader of the work queue."""

    js: JetStreamContext

    async def __call__(self, pool: str) -> int:
        """Slots wanted now; up to 100,000, the longest list of subjects the broker gives at once.

        Raises CallRefused(BROKER_UNAVAILABLE) whenever the broker gives no number, for whatever reason: a queue that
        has no leader, or that is not there any more, says nothing about the sessions.
        """
        orders = subject(WorkOrder, pool=pool, **{"class": "*"}, tenant="*", session="*")
        try:
            queue = await self.js.stream_info(binding(WorkOrder).stream, subjects_filter=orders)
        except (nats.errors.Error, JetStreamError, OSError) as error:
            raise CallRefused(
                errors_pb2.ERROR_REASON_BROKER_UNAVAILABLE,
                f"the load of pool {pool} is not known: the broker has no answer ({error!r})",
                retry_after_s=_RETRY_S,
            ) from error
        return sum((queue.state.subjects or {}).values())
