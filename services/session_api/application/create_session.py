"""Create a session: the acknowledgement of its first event is the commit (log.md R6)."""

import hashlib
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from nats.js import JetStreamContext

from milepost.errors.v1 import errors_pb2
from milepost.event.v1.event_pb2 import Label, SessionCreated
from milepost.scenario.v1.scenario_pb2 import Scene
from milepost.session.v1.session_pb2 import Engine, Session, SessionSpec
from milepost.session.v1.session_service_pb2 import CreateSessionRequest
from runtime.errors import CallRefused, FieldViolation
from scenario.options import check_options, override
from scenario.wire import options_from_proto, scene_from_proto, scene_to_proto
from session_api.application.admission import Admission
from session_api.domain.session_ids import RANDOM_BYTES, session_id
from session_api.gateways.scenarios_sql import Scenarios
from session_api.gateways.sessions_sql import Sessions
from session_api.gateways.work_orders import WorkOrders
from session_log.codec import BatchHeaders, event, events, record
from session_log.writer import LogFull, LogWriter, LostRace, Place

DEFAULT_INTERVAL_STEPS = 10


@dataclass(frozen=True, slots=True)
class CreateSession:
    """Validates, records, queues."""

    js: JetStreamContext
    sessions: Sessions
    scenarios: Scenarios
    orders: WorkOrders
    admission: Admission
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
        await self.admission.require_room()
        created = self._created(tenant, request, stored.scene)
        wanted = request.session_id or session_id(self.clock(), os.urandom(RANDOM_BYTES))
        remembered = await self.sessions.remember(tenant, created.request_id, wanted, created.request_digest)
        if remembered.request_digest != created.request_digest:
            raise CallRefused(
                errors_pb2.ERROR_REASON_REQUEST_ID_REUSED,
                f"request_id {created.request_id} was used for another request",
                metadata={"session_id": remembered.session_id},
            )
        await self._append(tenant, remembered.session_id, created)
        if created.auto_start:
            await self.orders.publish_soon(tenant=tenant, session_id=remembered.session_id, pool=self.pool)
        session = await self.sessions.get(tenant, remembered.session_id)
        assert session is not None
        return session

    def _created(self, tenant: str, request: CreateSessionRequest, scene: Scene) -> SessionCreated:
        spec = SessionSpec()
        spec.CopyFrom(request.spec)
        spec.engine = spec.engine or Engine.ENGINE_LIBSUMO
        spec.interval_steps = spec.interval_steps or DEFAULT_INTERVAL_STEPS
        _check_spec(spec, scene)
        resolved = scene_to_proto(override(scene_from_proto(scene), options_from_proto(spec.options)))
        if spec.HasField("end_time_s"):
            resolved.end_time_s = spec.end_time_s
        return SessionCreated(
            tenant=tenant,
            request_id=request.request_id or str(uuid.uuid4()),
            request_digest=request_digest(request),
            display_name=request.display_name,
            labels=[Label(key=key, value=value) for key, value in sorted(request.labels.items())],
            spec=spec,
            scene=resolved,
            auto_start=not request.create_only,
            pool=self.pool,
        )

    async def _append(self, tenant: str, id_: str, created: SessionCreated) -> None:
        """Append as the first event; finding the own request there already is success (R6)."""
        nonce = uuid.uuid4().hex
        now = self.clock()
        first = record(created)
        writer = LogWriter(self.js, tenant=tenant, session_id=id_, place=Place(), nonce=nonce, clock=lambda: now)
        try:
            await writer.append([first], run=1, attempt=0, wait_when_full=False)
        except LogFull:
            raise self.admission.log_full() from None
        except LostRace as lost:
            there = next(events(id_, lost.newer[0]), None) if lost.newer else None
            if there is None or there.session_created.request_id != created.request_id:
                raise CallRefused(
                    errors_pb2.ERROR_REASON_SESSION_EXISTS,
                    f"session {id_!r} exists",
                    metadata={"session_id": id_},
                ) from None
            await self.sessions.apply([(tenant, there)])
            return
        headers = BatchHeaders(first_seq=1, run=1, attempt=0, nonce=nonce, record_time=now)
        await self.sessions.apply([(tenant, event(id_, 1, headers, first))])


def request_digest(request: CreateSessionRequest) -> bytes:
    """What makes two requests the same: everything but their id."""
    same = CreateSessionRequest()
    same.CopyFrom(request)
    same.ClearField("request_id")
    return hashlib.sha256(same.SerializeToString(deterministic=True)).digest()


def _check_spec(spec: SessionSpec, scene: Scene) -> None:
    """What the proto's rules cannot say. Raises CallRefused(FIELD_INVALID)."""
    violations = [
        FieldViolation("spec.options", f"{finding.rule}: {finding.message}")
        for finding in check_options([(option.name, option.value) for option in spec.options])
    ]
    if spec.HasField("end_time_s") and spec.end_time_s <= scene.begin_time_s:
        violations.append(
            FieldViolation("spec.end_time_s", f"must be after the scenario's begin, {scene.begin_time_s} s")
        )
    if violations:
        raise CallRefused(
            errors_pb2.ERROR_REASON_FIELD_INVALID,
            "; ".join(f"{v.field}: {v.description}" for v in violations),
            violations=violations,
        )
