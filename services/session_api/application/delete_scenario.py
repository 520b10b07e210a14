"""Delete a scenario: nothing new is made of it; what is made of it keeps its files by the events that name them."""

from dataclasses import dataclass

from milepost.errors.v1 import errors_pb2
from runtime.blobs import Blobs
from runtime.errors import CallRefused
from session_api.application.hold_scenarios import holder_of
from session_api.gateways.scenarios_sql import Scenarios


@dataclass(frozen=True, slots=True)
class DeleteScenario:
    """Off the list first, then its files are let go."""

    scenarios: Scenarios
    blobs: Blobs

    async def __call__(self, tenant: str, digest: str) -> None:
        """Raises CallRefused(SCENARIO_NOT_FOUND)."""
        known = await self.scenarios.remove(tenant, digest)
        # Also of one that is off the list already: who deleted it may have died before it came to this.
        # A session whose creation is under way names the files while they have the lease that is left to them.
        await self.blobs.hold(holder_of(tenant, digest), ())
        if not known:
            raise no_scenario(digest)


def no_scenario(digest: str) -> CallRefused:
    """The refusal of a scenario that is not on the list."""
    return CallRefused(
        errors_pb2.ERROR_REASON_SCENARIO_NOT_FOUND, f"no scenario {digest}", metadata={"scenario_digest": digest}
    )
