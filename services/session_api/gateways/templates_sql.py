"""Templates, in SQL: a truth of its own, backed up."""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import astuple, dataclass

from sqlalchemy import Row, Select, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from milepost.scenario.v1.scenario_pb2 import Scenario
from milepost.scenario.v1.template_pb2 import Template
from milepost.scenario.v1.template_service_pb2 import CreateTemplateRequest
from runtime.database import GroupCommit
from scenario.places import Place
from session_api.gateways.tables import templates

# How often two replicas may make a version of the same template in the same moment.
_MEETINGS = 10

_HERE = templates.c.resource.is_not(None)


@dataclass(frozen=True, slots=True)
class StoredTemplate:
    """A version of a template, and what filling it in takes."""

    template: Template
    scenario: Scenario
    """What it is made of; on the list or not."""
    places: Mapping[int, tuple[Place, ...]]
    """Where the value of a binding stands, by the index of each that has an attribute."""


class Templates:
    """Keeps versions of templates by tenant and name."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._writes = GroupCommit(engine)

    async def add(self, tenant: str, stored: StoredTemplate) -> tuple[Template, bool]:
        """Keep the next version of its name, from 1; the version, and whether it is the latest, which was equal."""

        async def work(connection: AsyncConnection) -> tuple[Template, bool]:
            mine = templates.c.tenant == tenant, templates.c.name == stored.template.name
            query = select(templates.c.version, templates.c.resource).where(*mine)
            last = (await connection.execute(query.order_by(templates.c.version.desc()).limit(1))).one_or_none()
            if last is not None and last.resource is not None:
                latest = Template.FromString(last.resource)
                if asked_for(latest) == asked_for(stored.template):
                    return latest, True
            template = Template()
            template.CopyFrom(stored.template)
            template.version = last.version + 1 if last is not None else 1
            row = {
                "tenant": tenant,
                "name": template.name,
                "version": template.version,
                "scenario_digest": template.scenario_digest,
                "resource": template.SerializeToString(),
                "scenario": stored.scenario.SerializeToString(),
                "places": _written(stored.places),
            }
            await connection.execute(insert(templates).values(row))
            return template, False

        for _ in range(_MEETINGS):
            with contextlib.suppress(IntegrityError):
                return await self._writes.run(work)
            # Another replica was first in this very moment: now it can be seen.
        return await self._writes.run(work)

    async def get(self, tenant: str, name: str, version: int = 0) -> StoredTemplate | None:
        """A version, 0 being the latest; None when there is none."""
        if not name.isprintable():
            # PostgreSQL takes no NUL in a text.
            return None
        query = (
            select(templates)
            .where(templates.c.tenant == tenant, templates.c.name == name, _HERE)
            .order_by(templates.c.version.desc())
            .limit(1)
        )
        if version:
            query = query.where(templates.c.version == version)
        async with self._engine.connect() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else _read(row)

    async def page(self, tenant: str, *, size: int, after: str) -> list[Template]:
        """The latest version of each, in the order of their names, after a name."""
        latest = _latest(tenant).subquery()
        query = (
            select(templates.c.resource)
            .join(latest, (templates.c.name == latest.c.name) & (templates.c.version == latest.c.version))
            .where(templates.c.tenant == tenant, templates.c.name > after)
            .order_by(templates.c.name)
            .limit(size)
        )
        async with self._engine.connect() as connection:
            return [Template.FromString(row.resource) for row in await connection.execute(query)]

    async def remove(self, tenant: str, name: str) -> set[str]:
        """Forget all versions; the digests of their scenarios, none when it was not there."""
        if not name.isprintable():
            return set()
        mine = templates.c.tenant == tenant, templates.c.name == name

        async def work(connection: AsyncConnection) -> set[str]:
            rows = await connection.execute(
                select(templates.c.version, templates.c.scenario_digest).where(*mine, _HERE)
            )
            found = {row.version: row.scenario_digest for row in rows}
            if found:
                await connection.execute(delete(templates).where(*mine, templates.c.version < max(found)))
                gone = {"resource": None, "scenario": None, "places": None, "scenario_digest": ""}
                await connection.execute(update(templates).where(*mine).values(gone))
            return set(found.values())

        return await self._writes.run(work)

    async def is_used(self, tenant: str, scenario_digest: str) -> bool:
        """Whether a template is made of this scenario right now."""
        mine = templates.c.tenant == tenant, templates.c.scenario_digest == scenario_digest, _HERE
        async with self._engine.connect() as connection:
            return (await connection.execute(select(templates.c.name).where(*mine).limit(1))).first() is not None

    async def scenarios(self) -> list[tuple[str, Scenario]]:
        """All scenarios that templates are made of, as (tenant, scenario)."""
        query = select(templates.c.tenant, templates.c.scenario_digest, templates.c.scenario).where(_HERE)
        async with self._engine.connect() as connection:
            rows = await connection.execute(query.order_by(templates.c.tenant, templates.c.scenario_digest))
            found = {(row.tenant, row.scenario_digest): row.scenario for row in rows}
        return [(tenant, Scenario.FromString(scenario)) for (tenant, _), scenario in found.items()]


def asked_for(template: Template) -> CreateTemplateRequest:
    """What makes a template the one that it is."""
    return CreateTemplateRequest(
        name=template.name,
        description=template.description,
        scenario_digest=template.scenario_digest,
        parameters=template.parameters,
        bindings=template.bindings,
    )


def _latest(tenant: str) -> Select[tuple[str, int]]:
    return (
        select(templates.c.name, func.max(templates.c.version).label("version"))
        .where(templates.c.tenant == tenant, _HERE)
        .group_by(templates.c.name)
    )


def _written(places: Mapping[int, tuple[Place, ...]]) -> bytes:
    """`{"<index of the binding>": [[start, end, current, needs_inspection], …], …}`."""
    return json.dumps({index: [astuple(place) for place in some] for index, some in places.items()}).encode()


def _read(row: Row[tuple[object, ...]]) -> StoredTemplate:
    places = {int(index): tuple(Place(*place) for place in some) for index, some in json.loads(row.places).items()}
    return StoredTemplate(Template.FromString(row.resource), Scenario.FromString(row.scenario), places)
