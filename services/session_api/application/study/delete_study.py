"""Delete a study that has ended: gone at once for every call; its sessions follow (drop_studies)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from milepost.errors.v1 import errors_pb2
from milepost.study.v1.study_event_pb2 import StudyDeleted
from milepost.study.v1.study_pb2 import Study, StudyState
from milepost.study.v1.study_service_pb2 import DeleteStudyRequest
from runtime.errors import CallRefused
from session_api.application.append_command import MAX_TRIES
from session_api.application.create_session import request_digest
from session_api.application.study.shown_studies import ShownStudies, found
from session_api.application.study.study_refusals import contended, request_id_reused
from session_api.application.study.study_state import StudySoFar
from session_api.gateways.studies_rows import DELETED
from session_api.gateways.studies_sql import Studies, StudyRequest
from session_log.writer import LostRace


@dataclass(frozen=True, slots=True)
class DeleteStudy:
    """The acknowledgement of `StudyDeleted` is the commit: the store lets the log go, the feed tells all replicas."""

    shown: ShownStudies
    studies: Studies
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    async def __call__(self, tenant: str, request: DeleteStudyRequest, *, subject: str = "") -> None:
        """Raises CallRefused: STUDY_NOT_FOUND, INVALID_TRANSITION, REQUEST_ID_REUSED, CONTENDED."""
        again = await self._was_asked(tenant, request)
        if again and await found(self.shown.read(tenant, request.study_id)) is None:
            return
        deleted = StudyDeleted(request_id=request.request_id, subject=subject)
        for _ in range(MAX_TRIES):
            study = await self.shown.read(tenant, request.study_id)
            at = study.place
            if study.end_time is None:
                raise _still_runs(study)
            deleted.purge_time.FromDatetime(self.clock())
            if request.request_id:
                asked = StudyRequest(request.request_id, request.study_id, request_digest(request))
                await self.studies.remember(tenant, asked)
            try:
                await self.shown.logs.append(tenant, study, [deleted], at=at)
            except LostRace:
                continue
            await self.studies.put(tenant, Study(study_id=study.study_id, state=DELETED, seq=study.place.seq))
            return
        raise contended(request.study_id)

    async def _was_asked(self, tenant: str, request: DeleteStudyRequest) -> bool:
        """Whether the same request was here before. Raises CallRefused(REQUEST_ID_REUSED) when another was."""
        known = await self.studies.recall(tenant, request.request_id) if request.request_id else None
        if known is not None and known.request_digest != request_digest(request):
            raise request_id_reused(known)
        return known is not None


def _still_runs(study: StudySoFar) -> CallRefused:
    state = StudyState.Name(study.state).removeprefix("STUDY_STATE_")
    legal = "cancel" if study.state == StudyState.STUDY_STATE_RUNNING else ""
    return CallRefused(
        errors_pb2.ERROR_REASON_INVALID_TRANSITION,
        f"study {study.study_id!r} is {state} and cannot be deleted: cancel it, and wait for its end",
        metadata={"study_id": study.study_id, "from": state, "verb": "delete", "legal_verbs": legal},
    )
