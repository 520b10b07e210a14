"""End a study: asked for here, carried out by whoever runs it."""

from dataclasses import dataclass

from milepost.study.v1.study_event_pb2 import StudyCancelRequested
from milepost.study.v1.study_pb2 import Study
from milepost.study.v1.study_service_pb2 import CancelStudyRequest
from session_api.application.append_command import MAX_TRIES
from session_api.application.create_session import request_digest
from session_api.application.study.run_studies import RunStudies
from session_api.application.study.shown_studies import ShownStudies
from session_api.application.study.study_refusals import contended, request_id_reused
from session_api.application.study.study_resource import ShowStudy
from session_api.gateways.studies_sql import Studies, StudyRequest
from session_log.writer import LostRace


@dataclass(frozen=True, slots=True)
class CancelStudy:
    """RUNNING → CANCELLING; an end stays the end."""

    shown: ShownStudies
    studies: Studies
    show: ShowStudy
    run: RunStudies

    async def __call__(self, tenant: str, request: CancelStudyRequest, *, subject: str = "") -> Study:
        """The study after it. Raises CallRefused: STUDY_NOT_FOUND, REQUEST_ID_REUSED, CONTENDED."""
        study = await self.shown.read(tenant, request.study_id)
        if request.request_id:
            asked = StudyRequest(request.request_id, request.study_id, request_digest(request))
            noted = await self.studies.remember(tenant, asked)
            if noted.request_digest != asked.request_digest:
                raise request_id_reused(noted)
        requested = StudyCancelRequested(request_id=request.request_id, comment=request.comment, subject=subject)
        for _ in range(MAX_TRIES):
            if study.end_time is not None or study.cancel is not None:
                return await self.show(tenant, study)
            try:
                await self.shown.logs.append(tenant, study, [requested], at=study.place)
            except LostRace:
                study = await self.shown.read(tenant, request.study_id)
            else:
                self.run.look()
                return await self.show(tenant, study)
        raise contended(request.study_id)
