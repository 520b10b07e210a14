"""Create a study: planned and refused before anything runs; the acknowledgement of its first event is the commit."""

import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from milepost.errors.v1 import errors_pb2
from milepost.study.v1.study_event_pb2 import StudyCreated
from milepost.study.v1.study_pb2 import Study, StudyPlan
from milepost.study.v1.study_service_pb2 import CreateStudyRequest
from runtime.blobs import Blobs
from runtime.errors import CallRefused
from session_api.application.admission import Admission
from session_api.application.create_session import request_digest
from session_api.application.refusals import field_invalid
from session_api.application.study.plan_study import PlanStudy
from session_api.application.study.run_studies import RunStudies
from session_api.application.study.shown_studies import ShownStudies, found
from session_api.application.study.study_refusals import request_id_reused
from session_api.application.study.study_resource import study_resource
from session_api.domain.session_ids import RANDOM_BYTES, session_id
from session_api.gateways.studies_sql import Studies, StudyRequest
from session_log.writer import LostRace

# A plan up to this size stands in the first event; a larger one is a blob.
INLINE_PLAN_BYTES = 64 * 1024
# Whoever runs a study or looks at it has its plan in memory.
MAX_PLAN_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class CreateStudy:
    """Plans, records, begins."""

    plan: PlanStudy
    shown: ShownStudies
    studies: Studies
    blobs: Blobs
    admission: Admission
    run: RunStudies
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    async def __call__(self, tenant: str, request: CreateStudyRequest, *, subject: str = "") -> Study:
        """The new study, or the one an equal request made before. Raises CallRefused, as the proto says."""
        digest = request_digest(request)
        asked = StudyRequest(request.request_id or str(uuid.uuid4()), "", digest)
        known = await self.studies.recall(tenant, asked.request_id)
        if known is not None and (there := await self._there(tenant, known, digest)) is not None:
            return there
        plan = await self.plan(tenant, request.spec, owner=subject, keep=not request.validate_only)
        if plan.ByteSize() > MAX_PLAN_BYTES:
            raise field_invalid("spec.variants", f"are {plan.ByteSize()} bytes in all, over {MAX_PLAN_BYTES}")
        if request.validate_only:
            return Study(display_name=request.display_name, labels=request.labels, spec=plan.spec)
        await self.admission.require_room()
        wanted = request.study_id or session_id(self.clock(), os.urandom(RANDOM_BYTES))
        noted = await self.studies.remember(tenant, StudyRequest(asked.request_id, wanted, digest))
        if noted.request_digest != digest:
            raise request_id_reused(noted)
        created = StudyCreated(
            tenant=tenant,
            request_id=noted.request_id,
            request_digest=digest,
            display_name=request.display_name,
            labels=request.labels,
            scenario_digests=sorted({variant.session.scenario_digest for variant in plan.variants}),
            subject=subject,
        )
        await self._put_plan(created, plan)
        try:
            study = await self.shown.logs.begin(tenant, noted.study_id, created)
        except LostRace as lost:
            begun = await found(self.shown.read(tenant, noted.study_id))
            # The name of a deleted study is not free before its log is.
            if begun is None or begun.created.request_id != noted.request_id:
                raise _exists(noted.study_id) from lost
            study = begun
        shown = study_resource(study)
        await self.studies.put(tenant, shown)
        self.run.look()
        return shown

    async def _there(self, tenant: str, known: StudyRequest, digest: bytes) -> Study | None:
        """What an earlier call made; None when that did not come so far."""
        if known.request_digest != digest:
            raise request_id_reused(known)
        study = await found(self.shown.read(tenant, known.study_id))
        return None if study is None else study_resource(study)

    async def _put_plan(self, created: StudyCreated, plan: StudyPlan) -> None:
        if plan.ByteSize() <= INLINE_PLAN_BYTES:
            created.plan.CopyFrom(plan)
        else:
            created.plan_sha256 = await self.blobs.put_bytes(plan.SerializeToString(deterministic=True))


def _exists(study_id: str) -> CallRefused:
    return CallRefused(
        errors_pb2.ERROR_REASON_STUDY_EXISTS, f"study {study_id!r} exists", metadata={"study_id": study_id}
    )
