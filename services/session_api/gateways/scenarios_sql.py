"""Stored scenarios, in SQL. Their files are blobs of the event store."""

from datetime import UTC, datetime

from sqlalchemy import insert, select, tuple_, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from milepost.scenario.v1.scenario_pb2 import Scenario
from runtime.database import GroupCommit
from session_api.gateways.tables import scenarios

# Scenarios looked up again without a query: a thousand sessions are often of one scenario.
_REMEMBERED = 256


class Scenarios:
    """Keeps scenarios by tenant and digest."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._writes = GroupCommit(engine)
        self._remembered: dict[tuple[str, str], bytes] = {}

    async def put(self, tenant: str, scenario: Scenario) -> Scenario:
        """Keep a scenario; of one that is known only the display name changes. Returns what is kept."""
        key = {"tenant": tenant, "digest": scenario.digest}
        created = scenario.create_time.ToDatetime(UTC).replace(tzinfo=None)
        try:
            size = sum(file.size_bytes for file in scenario.files)
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
        if known is not None:
            return Scenario.FromString(known)
        query = select(scenarios.c.resource).where(scenarios.c.tenant == tenant, scenarios.c.digest == digest)
        async with self._engine.connect() as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            return None
        if len(self._remembered) >= _REMEMBERED:
            self._remembered.clear()
        self._remembered[tenant, digest] = row.resource
        return Scenario.FromString(row.resource)

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
