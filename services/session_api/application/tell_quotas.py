"""Quotas: set, and told together with what is used of them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from session_api.application.refusals import field_invalid
from session_api.domain.quota import Quota, Usage
from session_api.gateways.grants import utc_now
from session_api.gateways.quotas_sql import Quotas
from session_api.gateways.work_orders import WorkOrders

_NAMES = tuple(field.name for field in fields(Quota))


@dataclass(frozen=True, slots=True)
class TellQuotas:
    """For who runs Milepost."""

    quotas: Quotas
    orders: WorkOrders

    async def set(self, tenant: str, quota: Quota, names: Sequence[str]) -> Quota:
        """Set the limits that are named, all when none is. Raises CallRefused(FIELD_INVALID)."""
        unknown = set(names) - set(_NAMES)
        if unknown:
            raise field_invalid("update_mask", f"{min(unknown)!r} is none of {', '.join(_NAMES)}")
        return await self.quotas.set(tenant, quota, names or _NAMES)

    async def get(self, tenant: str) -> tuple[Quota, bool, Usage]:
        """The quota in force, whether it is the tenant's own, and what is used."""
        quota, own = await self.quotas.of(tenant)
        if not tenant:
            return quota, own, Usage()
        usage = await self.quotas.usage(tenant, utc_now())
        return quota, own, replace(usage, slots=len(await self.orders.outstanding(tenant)))

    async def all(self) -> dict[str, Quota]:
        """Those that were set, by tenant."""
        return await self.quotas.all()
