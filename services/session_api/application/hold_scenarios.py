"""Hold what listed scenarios are made of, so that the store keeps it while no session names it."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import grpc
import structlog
from sqlalchemy.exc import SQLAlchemyError

from runtime.blobs import Blobs
from runtime.identity import acting_for
from session_api.gateways.scenarios_sql import Scenarios

log = structlog.get_logger()

# How long to wait before the store is asked again, seconds.
_RETRY_WAIT_S = 1.0


class _File(Protocol):
    @property
    def sha256(self) -> str: ...


def holder_of(tenant: str, digest: str) -> str:
    """The name a listed scenario holds its blobs by."""
    return f"scenario/{tenant}/{digest}"


def blobs_of(digest: str, files: Iterable[_File]) -> set[str]:
    """The manifest and the files."""
    return {digest, *(file.sha256 for file in files)}


@dataclass(frozen=True, slots=True)
class HoldScenarios:
    """Says once, at the start, what is listed: scenarios of the release before held nothing."""

    scenarios: Scenarios
    blobs: Blobs

    async def __call__(self) -> None:
        """Until all are held."""
        while True:
            try:
                for tenant, scenario in await self.scenarios.everything():
                    held = blobs_of(scenario.digest, scenario.files)
                    with acting_for(tenant):
                        missing = await self.blobs.hold(holder_of(tenant, scenario.digest), held)
                    if missing:
                        log.error("files of a scenario are lost", scenario=scenario.digest, missing=len(missing))
            except (grpc.aio.AioRpcError, SQLAlchemyError) as error:
                log.warning("scenarios are held later", error=repr(error))
                await asyncio.sleep(_RETRY_WAIT_S)
            else:
                return
