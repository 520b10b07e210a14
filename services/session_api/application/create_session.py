"""Create a session: the acknowledgement of its first event is the commit (log.md R6)."""

import hashlib
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from google.protobuf.message import Message

from milepost.errors.v1 import errors_pb2
from milepost.event.v1.event_pb2 import Label, SessionCreated
from milepost.scenario.v1.scenario_pb2 import Scene
from milepost.session.v1.session_pb2 import Session
from milepost.session.v1.session_service_pb2 import CreateSessionRequest
from runtime.errors import CallRefused
from session_api.application.begin_log import BeginLog
from session_api.application.task import check_spec, resolve_scene, with_defaults
from session_api.domain.session_ids import RANDOM_BYTES, session_id
from session_api.gateways.scenarios_sql import Scenarios
from session_api.gateways.sessions_sql import Sessions
from session_api.gateways.work_orders import WorkOrders, line_of


@dataclass(frozen=True, slots=True)
class CreateSession:
    """Validates, records, queues."""

    begin: BeginLog
    sessions: Sessions
    scenarios: Scenarios
    orders: WorkOrders
    pool: str
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    async def __call__(self, tenant: str, request: CreateSessionRequest) -> Session:
        """The new session, or the one an equal request made before.

        Raises CallRefused: FIELD_INVALID, SCENARIO_NOT_FOUND, SESSION_EXISTS, REQUEST_ID_REUSED, LOG_FULL.
        """
        stored = await self.scenarios.get(tenant, request.spec.scenario_digest)
        if stored is None:
            raise CallRefused(
                errors_pb2.ERROR_REASON_SCENARIO_NOT_FOUND,
                f"no scenario {request.spec.scenario_digest}",
                metadata={"scenario_digest": request.spec.scenario_digest},
            )
        await self.begin.require_room()
        created = self._created(tenant, request, stored.scene)
        wanted = request.session_id or session_id(self.clock(), os.urandom(RANDOM_BYTES))
        remembered = await self.sessions.remember(tenant, created.request_id, wanted, created.request_digest)
        if remembered.request_digest != created.request_digest:
            raise CallRefused(
                errors_pb2.ERROR_REASON_REQUEST_ID_REUSED,
                f"request_id {created.request_id} was used for another request",
                metadata={"session_id": remembered.session_id},
            )
        await self.begin(tenant, remembered.session_id, created)
        if created.auto_start:
            await self.orders.publish_soon(line_of(tenant, created), remembered.session_id)
        session = await self.sessions.get(tenant, remembered.session_id)
        assert session is not None
        return session

    def _created(self, tenant: str, request: CreateSessionRequest, scene: Scene) -> SessionCreated:
        spec = with_defaults(request.spec)
        check_spec(spec, scene)
        return SessionCreated(
            tenant=tenant,
            request_id=request.request_id or str(uuid.uuid4()),
            request_digest=request_digest(request),
            display_name=request.display_name,
            labels=[Label(key=key, value=value) for key, value in sorted(request.labels.items())],
            spec=spec,
            scene=resolve_scene(spec, scene),
            auto_start=not request.create_only,
            pool=spec.scheduling.pool or self.pool,
        )


def request_digest(request: Message) -> bytes:
    """What makes two requests the same: everything but their id."""
    same = type(request)()
    same.CopyFrom(request)
    same.ClearField("request_id")
    return hashlib.sha256(same.SerializeToString(deterministic=True)).digest()
