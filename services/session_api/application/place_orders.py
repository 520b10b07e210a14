"""Place work orders: at once, or for a tenant with quotas as far as these have room (ADR-19).

The orders on the broker are what a tenant's slots are counted by: an order is there from the moment a worker may take
the session until it has ended or was suspended. Whoever places orders of such a tenant holds its lock from counting
to publishing, so that no two replicas fill the same place.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import nats.errors
import structlog
from sqlalchemy.exc import SQLAlchemyError

from runtime.turns import Turns
from runtime.work_queue import Line
from session_api.domain.quota import UNLIMITED
from session_api.domain.release import Waiting, released
from session_api.gateways.grants import DEFAULT, utc_now
from session_api.gateways.quotas_sql import Quotas
from session_api.gateways.sessions_sql import Sessions
from session_api.gateways.work_orders import WorkOrders
from session_log.domain.lifecycle import State

log = structlog.get_logger()


@dataclass(slots=True)
class PlaceOrders:
    """The one who publishes orders."""

    orders: WorkOrders
    sessions: Sessions
    quotas: Quotas
    _turns: Turns = field(default_factory=Turns)
    # Per tenant: how often a release was asked for, and up to which asking one was carried out, with what was left.
    _asked: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    _done: dict[str, tuple[int, int]] = field(default_factory=dict)

    async def soon(self, wanted: Sequence[tuple[Line, str]], *, held: bool) -> None:
        """Place the orders of sessions (line, id), in this order; what does not work is left to the reconciler.

        `held`: whether some of them may have to wait for the quota of sessions.
        """
        free: list[tuple[Line, str]] = []
        try:
            for tenant in {line.tenant for line, _ in wanted}:
                quota, _ = await self.quotas.of(tenant)
                if quota.slots is not None or (held and quota.sessions is not None):
                    await self.release(tenant)
                else:
                    free += [(line, name) for line, name in wanted if line.tenant == tenant]
            await self.orders.publish_all(free)
        except (nats.errors.Error, SQLAlchemyError) as error:
            log.warning("orders left to the reconciler", sessions=len(wanted), error=repr(error))

    async def limited(self) -> Callable[[str], bool]:
        """Which tenants' sessions may have to wait for their quotas."""
        known = await self.quotas.all()

        def of(tenant: str) -> bool:
            quota = known.get(tenant) or known.get(DEFAULT) or UNLIMITED
            return quota.slots is not None or quota.sessions is not None

        return of

    async def release(self, tenant: str) -> int:
        """Place what there is room for; how many sessions go on waiting.

        Raises what nats-py and SQLAlchemy raise. Calls that meet are carried out together.
        """
        self._asked[tenant] += 1
        mine = self._asked[tenant]
        async with self.quotas.exclusively(tenant):
            done, left = self._done.get(tenant, (0, 0))
            if done >= mine:
                return left
            asked = self._asked[tenant]
            left = await self._release(tenant)
            self._done[tenant] = asked, left
            return left

    async def _release(self, tenant: str) -> int:
        quota, _ = await self.quotas.of(tenant)
        out = await self.orders.outstanding(tenant)
        missing = {
            one.session_id: one for one in await self.sessions.wanting_orders(tenant) if one.session_id not in out
        }
        waiting = [
            Waiting(one.session_id, one.line.work_class, one.state is not State.PENDING, one.held)
            for one in missing.values()
        ]
        sessions_left = None
        if quota.sessions is not None:
            begun = (await self.quotas.usage(tenant, utc_now())).sessions - sum(one.held for one in waiting)
            sessions_left = quota.sessions - begun
        chosen = released(
            waiting,
            tenant=tenant,
            ordered=Counter(out.values()),
            slots=quota.slots,
            sessions_left=sessions_left,
            turns=self._turns,
        )
        await self.orders.publish_all([(missing[one.session_id].line, one.session_id) for one in chosen])
        return len(waiting) - len(chosen)

    async def held_by(self, line: Line, session_id: str) -> str:
        """The quota a PENDING session waits for, in words; empty: none."""
        quota, _ = await self.quotas.of(line.tenant)
        if quota.slots is None and quota.sessions is None:
            return ""
        out = await self.orders.outstanding(line.tenant)
        if session_id in out:
            return ""
        if quota.slots is not None and len(out) >= quota.slots:
            return f"its tenant uses {len(out)} of {quota.slots} slots"
        return f"its tenant may have {quota.sessions} session{'' if quota.sessions == 1 else 's'} at once"
