"""Create sessions: the acknowledgement of a session's first event is the commit (log.md R6).

    requests ─► checked ─► request ids noted ─► first events appended ─► projection ─► orders
                           └ one transaction    └ all under way at once  └ one         └ all at once

A batch goes this way in parts, so that it does not keep other callers waiting; one session is a batch of one.
"""

import hashlib
import os
import uuid
from collections.abc import Callable, Sequence
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
from session_api.application.delete_scenario import no_scenario
from session_api.application.place_orders import PlaceOrders
from session_api.application.refusals import quota_exceeded
from session_api.application.task import check_spec, resolve_scene, with_defaults
from session_api.domain.quota import OverQuota
from session_api.domain.session_ids import RANDOM_BYTES, session_id
from session_api.gateways.request_ids import Asked
from session_api.gateways.scenarios_sql import Scenarios
from session_api.gateways.sessions_sql import Sessions
from session_api.gateways.work_orders import line_of

# Sessions of a batch that are created together.
_PART = 100

Created = Session | CallRefused


@dataclass(frozen=True, slots=True)
class CreateSession:
    """Validates, records, queues."""

    begin: BeginLog
    sessions: Sessions
    scenarios: Scenarios
    place: PlaceOrders
    pool: str
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    async def __call__(self, tenant: str, request: CreateSessionRequest, *, subject: str = "") -> Session:
        """The new session, or the one an equal request made before.

        Raises CallRefused: FIELD_INVALID, SCENARIO_NOT_FOUND, SESSION_EXISTS, REQUEST_ID_REUSED, QUOTA_EXCEEDED,
        LOG_FULL.
        """
        (created,) = await self.many(tenant, [request], subject=subject)
        if isinstance(created, CallRefused):
            raise created
        return created

    async def many(self, tenant: str, requests: Sequence[CreateSessionRequest], *, subject: str = "") -> list[Created]:
        """For each request its session or its refusal.

        Raises CallRefused when nothing was tried: LOG_FULL, BROKER_UNAVAILABLE.
        """
        await self.begin.require_room()
        return [
            created
            for first in range(0, len(requests), _PART)
            for created in await self._part(tenant, requests[first : first + _PART], subject)
        ]

    async def _part(self, tenant: str, requests: Sequence[CreateSessionRequest], subject: str) -> list[Created]:
        outcomes: dict[int, Created] = {}
        checked: dict[int, SessionCreated] = {}
        scenes: dict[str, Scene | CallRefused] = {}
        for index, request in enumerate(requests):
            try:
                checked[index] = self._created(tenant, request, await self._scene(tenant, request, scenes))
                checked[index].subject = subject
            except CallRefused as refused:
                outcomes[index] = refused
        noted = await self._note(tenant, requests, checked, outcomes)
        begun = await self.begin.many(tenant, [(noted[index], checked[index]) for index in noted])
        lines = [
            (line_of(tenant, created), session)
            for (session, created) in zip(noted.values(), begun, strict=True)
            if not isinstance(created, CallRefused) and created.auto_start
        ]
        await self.place.soon(lines, held=any(request.wait_for_quota for request in requests))
        found = await self.sessions.get_all(tenant, noted.values())
        for (index, session), created in zip(noted.items(), begun, strict=True):
            outcomes[index] = created if isinstance(created, CallRefused) else found[session]
        return [outcomes[index] for index in range(len(requests))]

    async def _note(
        self,
        tenant: str,
        requests: Sequence[CreateSessionRequest],
        checked: dict[int, SessionCreated],
        outcomes: dict[int, Created],
    ) -> dict[int, str]:
        """The id of each session that is to be, by index; refusals go to `outcomes`."""
        asked = {
            index: Asked(
                created.request_id,
                requests[index].session_id or session_id(self.clock(), os.urandom(RANDOM_BYTES)),
                created.request_digest,
                created.wait_for_quota,
            )
            for index, created in checked.items()
        }
        noted: dict[int, str] = {}
        known = await self.sessions.remember_all(tenant, list(asked.values()))
        for index, use in zip(asked, known, strict=True):
            if isinstance(use, OverQuota):
                outcomes[index] = quota_exceeded(tenant, use)
            elif use.request_digest == asked[index].request_digest:
                noted[index] = use.session_id
            else:
                outcomes[index] = request_id_reused(use.request_id, use.session_id)
        return noted

    async def _scene(self, tenant: str, request: CreateSessionRequest, known: dict[str, Scene | CallRefused]) -> Scene:
        digest = request.spec.scenario_digest
        if digest not in known:
            stored = await self.scenarios.get(tenant, digest)
            known[digest] = stored.scene if stored is not None else no_scenario(digest)
        scene = known[digest]
        if isinstance(scene, CallRefused):
            raise scene
        return scene

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
            wait_for_quota=request.wait_for_quota,
        )


def request_digest(request: Message) -> bytes:
    """What makes two requests the same: everything but their id."""
    same = type(request)()
    same.CopyFrom(request)
    same.ClearField("request_id")
    return hashlib.sha256(same.SerializeToString(deterministic=True)).digest()


def request_id_reused(request_id: str, session: str) -> CallRefused:
    """REQUEST_ID_REUSED, by a request that was to make a session."""
    return CallRefused(
        errors_pb2.ERROR_REASON_REQUEST_ID_REUSED,
        f"request_id {request_id} was used for another request",
        metadata={"session_id": session},
    )
