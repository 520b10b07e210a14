"""Create a session of the bundled city, storing the city first where it is not stored yet."""

import asyncio
from dataclasses import dataclass, field

from milepost.session.v1.session_pb2 import Session, SessionSpec
from milepost.session.v1.session_service_pb2 import CreateDemoSessionRequest, CreateSessionRequest
from scenario.demo import demo_directory
from session_api.application.create_session import CreateSession
from session_api.application.store_scenario import StoreScenario

DISPLAY_NAME = "demo city"


@dataclass(slots=True)
class CreateDemoSession:
    """CreateSession with a scenario that is always there."""

    create: CreateSession
    store: StoreScenario
    _digests: dict[str, str] = field(default_factory=dict)
    _storing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def __call__(self, tenant: str, request: CreateDemoSessionRequest, *, subject: str = "") -> Session:
        """As CreateSession."""
        async with self._storing:
            # Somebody may have deleted it.
            known = self._digests.get(tenant)
            if known is None or await self.create.scenarios.get(tenant, known) is None:
                stored = await self.store(
                    tenant, demo_directory(), config_path="", display_name=DISPLAY_NAME, owner=subject
                )
                known = self._digests[tenant] = stored.scenario.digest
        spec = SessionSpec(scenario_digest=known, seed=request.seed, engine=request.engine)
        if request.HasField("end_time_s"):
            spec.end_time_s = request.end_time_s
        return await self.create(
            tenant,
            CreateSessionRequest(
                request_id=request.request_id,
                display_name=request.display_name or f"{DISPLAY_NAME}, seed {request.seed}",
                spec=spec,
            ),
            subject=subject,
        )
