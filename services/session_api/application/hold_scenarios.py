"""Hold what listed scenarios, and those of templates, are made of: the store keeps it while no session names it."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import grpc
import structlog
from sqlalchemy.exc import SQLAlchemyError

from milepost.scenario.v1.scenario_pb2 import Scenario
from runtime.blobs import Blobs
from runtime.identity import acting_for
from session_api.gateways.scenarios_sql import Scenarios
from session_api.gateways.templates_sql import Templates

log = structlog.get_logger()

# How long to wait before the store is asked again, seconds.
_RETRY_WAIT_S = 1.0
# How often all holds are said again, seconds; well within the lease of what was let go (24 h).
_AGAIN_S = 6 * 3600.0


class _File(Protocol):
    @property
    def sha256(self) -> str: ...


def holder_of(tenant: str, digest: str) -> str:
    """The name a listed scenario holds its blobs by."""
    return f"scenario/{tenant}/{digest}"


def template_holder_of(tenant: str, digest: str) -> str:
    """The name that templates of a scenario hold its blobs by, all of a tenant together."""
    return f"template/{tenant}/{digest}"


def blobs_of(digest: str, files: Iterable[_File]) -> set[str]:
    """The manifest and the files."""
    return {digest, *(file.sha256 for file in files)}


@dataclass(frozen=True, slots=True)
class HoldScenarios:
    """Says what is listed, at the start and every few hours.

    Scenarios of the release before held nothing, and one that was uploaded while somebody deleted it was let go.
    """

    scenarios: Scenarios
    templates: Templates
    blobs: Blobs

    async def __call__(self) -> None:
        """Run until cancelled."""
        while True:
            try:
                await self.once()
            except (grpc.aio.AioRpcError, SQLAlchemyError) as error:
                log.warning("scenarios are held later", error=repr(error))
                await asyncio.sleep(_RETRY_WAIT_S)
            else:
                await asyncio.sleep(_AGAIN_S)

    async def once(self) -> None:
        """Hold everything that is there now."""
        for tenant, scenario in await self.scenarios.everything():
            with acting_for(tenant):
                await self._hold(holder_of(tenant, scenario.digest), scenario)
                if not await self.scenarios.is_kept(tenant, scenario.digest):
                    # Deleted while we looked.
                    await self.blobs.hold(holder_of(tenant, scenario.digest), ())
        for tenant, scenario in await self.templates.scenarios():
            with acting_for(tenant):
                await self._hold(template_holder_of(tenant, scenario.digest), scenario)
                await let_go(self.templates, self.blobs, tenant, scenario.digest)

    async def _hold(self, holder: str, scenario: Scenario) -> None:
        if missing := await self.blobs.hold(holder, blobs_of(scenario.digest, scenario.files)):
            log.error("files of a scenario are lost", scenario=scenario.digest, missing=len(missing))


async def let_go(templates: Templates, blobs: Blobs, tenant: str, digest: str) -> None:
    """Hold a scenario no longer for a tenant's templates, unless one is made of it."""
    if not await templates.is_used(tenant, digest):
        await blobs.hold(template_holder_of(tenant, digest), ())
