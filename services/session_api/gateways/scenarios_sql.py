"""Stored scenarios, in SQL. Their files are blobs of the event store."""

import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime

from sqlalchemy import delete, insert, select, tuple_, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from milepost.scenario.v1.scenario_pb2 import Scenario
from runtime.database import GroupCommit
from session_api.gateways.tables import scenarios

# Scenarios looked up again without a query: a thousand sessions are often of one scenario.
_REMEMBERED = 256
# Keys of one query: databases take so many parameters and no more.
_KEYS_PER_QUERY = 500
# For so long, seconds: another replica may have deleted one. Far less than the lease that its files have left.
_REMEMBERED_S = 10.0


class Scenarios:
    """Keeps scenarios by tenant and digest."""

    def __init__(self, engine: AsyncEngine, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._writes = GroupCommit(engine)
        self._monotonic = monotonic
        # A serialised scenario, and when it was read.
        self._remembered: dict[tuple[str, str], tuple[bytes, float]] = {}

    async def put(self, tenant: str, scenario: Scenario, *, stored_bytes: int | None = None) -> Scenario:
        """Keep a scenario; of one that is known only the display name changes. Returns what is kept.

        `stored_bytes`: what it counts for; None: the size of its files.
        """
        key = {"tenant": tenant, "digest": scenario.digest}
        created = scenario.create_time.ToDatetime(UTC).replace(tzinfo=None)
        try:
            size = sum(file.size_bytes for file in scenario.files) if stored_bytes is None else stored_bytes
            row = {**key, "create_time": created, "resource": scenario.SerializeToString(), "stored_bytes": size}
            await self._writes.run(lambda connection: connection.execute(insert(scenarios).values(row)))
        except IntegrityError:
            return await self._rename(tenant, scenario)
        return scenario

    async def _rename(self, tenant: str, scenario: Scenario) -> Scenario:
        kept = await self.get(tenant, scenario.digest)
        assert kept is not None
        if scenario.display_name and scenario.display_name != kept.display_name:
            kept.display_name = scenario.display_name
            renamed = (
                update(scenarios)
                .where(scenarios.c.tenant == tenant, scenarios.c.digest == scenario.digest)
                .values(resource=kept.SerializeToString())
            )
            await self._writes.run(lambda connection: connection.execute(renamed))
            self._remembered.pop((tenant, scenario.digest), None)
        return kept

    async def get(self, tenant: str, digest: str) -> Scenario | None:
        """A scenario, if it is kept."""
        known = self._remembered.get((tenant, digest))
        if known is not None and self._monotonic() - known[1] < _REMEMBERED_S:
            return Scenario.FromString(known[0])
        query = select(scenarios.c.resource).where(scenarios.c.tenant == tenant, scenarios.c.digest == digest)
        async with self._engine.connect() as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            return None
        if len(self._remembered) >= _REMEMBERED:
            self._remembered.clear()
        self._remembered[tenant, digest] = row.resource, self._monotonic()
        return Scenario.FromString(row.resource)

    async def known(self, tenant: str, digests: Collection[str]) -> set[str]:
        """Those of `digests` that are kept right now."""
        found: set[str] = set()
        ordered = sorted(digests)
        async with self._engine.connect() as connection:
            for first in range(0, len(ordered), _KEYS_PER_QUERY):
                some = ordered[first : first + _KEYS_PER_QUERY]
                query = select(scenarios.c.digest).where(scenarios.c.tenant == tenant, scenarios.c.digest.in_(some))
                found |= {row.digest for row in await connection.execute(query)}
        return found

    async def is_kept(self, tenant: str, digest: str) -> bool:
        """Whether a scenario is kept right now."""
        query = select(scenarios.c.digest).where(scenarios.c.tenant == tenant, scenarios.c.digest == digest)
        async with self._engine.connect() as connection:
            return (await connection.execute(query)).first() is not None

    async def remove(self, tenant: str, digest: str) -> bool:
        """Forget a scenario; False when it was not known."""
        gone = delete(scenarios).where(scenarios.c.tenant == tenant, scenarios.c.digest == digest)

        async def work(connection: AsyncConnection) -> bool:
            return bool((await connection.execute(gone)).rowcount)

        known = await self._writes.run(work)
        self._remembered.pop((tenant, digest), None)
        return known

    async def page(self, tenant: str, *, size: int, after: tuple[datetime, str] | None) -> list[Scenario]:
        """Scenarios, newest first, after a (create time, digest)."""
        query = (
            select(scenarios.c.resource)
            .where(scenarios.c.tenant == tenant)
            .order_by(scenarios.c.create_time.desc(), scenarios.c.digest.desc())
            .limit(size)
        )
        if after is not None:
            query = query.where(tuple_(scenarios.c.create_time, scenarios.c.digest) < tuple_(*after))
        async with self._engine.connect() as connection:
            return [Scenario.FromString(row.resource) for row in await connection.execute(query)]

    async def everything(self) -> list[tuple[str, Scenario]]:
        """All scenarios of all tenants, as (tenant, scenario)."""
        query = select(scenarios.c.tenant, scenarios.c.resource).order_by(scenarios.c.tenant, scenarios.c.digest)
        async with self._engine.connect() as connection:
            return [(row.tenant, Scenario.FromString(row.resource)) for row in await connection.execute(query)]
