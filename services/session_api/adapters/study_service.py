"""`milepost.study.v1.StudyService` over the use cases."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC
from typing import Any

import grpc

from milepost.errors.v1 import errors_pb2
from milepost.study.v1 import study_service_pb2 as pb
from milepost.study.v1.study_service_pb2_grpc import StudyServiceServicer
from runtime.errors import CallRefused
from runtime.identity import caller
from session_api.adapters.paging import DEFAULT_PAGE_SIZE, decode_token, encode_token
from session_api.application.study.cancel_study import CancelStudy
from session_api.application.study.create_study import CreateStudy
from session_api.application.study.delete_study import DeleteStudy
from session_api.application.study.judge import Judge
from session_api.application.study.shown_studies import ShownStudies
from session_api.application.study.study_resource import ShowStudy
from session_api.application.study.watch_study import WatchStudy
from session_api.gateways.studies_sql import Studies

Context = grpc.aio.ServicerContext[Any, Any]

DEFAULT_CELLS = 500


@dataclass(frozen=True)
class StudyServiceAdapter(StudyServiceServicer):
    """Translates; see the proto for what each call promises."""

    create: CreateStudy
    cancel: CancelStudy
    watch: WatchStudy
    delete: DeleteStudy
    shown: ShownStudies
    show: ShowStudy
    judge: Judge
    studies: Studies

    async def CreateStudy(self, request: pb.CreateStudyRequest, context: Context) -> pb.CreateStudyResponse:
        """See the proto."""
        who = caller()
        return pb.CreateStudyResponse(study=await self.create(who.tenant, request, subject=who.subject))

    async def GetStudy(self, request: pb.GetStudyRequest, context: Context) -> pb.GetStudyResponse:
        """See the proto."""
        tenant = caller().tenant
        study = await self.shown.read(tenant, request.study_id)
        shown = await self.show(tenant, study, full=request.view == pb.STUDY_VIEW_FULL)
        noted = await self.studies.get(tenant, request.study_id)
        if noted is not None and study.end_time is None:
            shown.conditions.extend(noted.conditions)
        return pb.GetStudyResponse(study=shown)

    async def ListStudies(self, request: pb.ListStudiesRequest, context: Context) -> pb.ListStudiesResponse:
        """See the proto."""
        size = request.page_size or DEFAULT_PAGE_SIZE
        found = await self.studies.page(caller().tenant, size=size + 1, after=decode_token(request.page_token))
        page = found[:size]
        token = ""
        if len(found) > size:
            token = encode_token(page[-1].create_time.ToDatetime(UTC).replace(tzinfo=None), page[-1].study_id)
        return pb.ListStudiesResponse(studies=page, next_page_token=token)

    async def CancelStudy(self, request: pb.CancelStudyRequest, context: Context) -> pb.CancelStudyResponse:
        """See the proto."""
        who = caller()
        return pb.CancelStudyResponse(study=await self.cancel(who.tenant, request, subject=who.subject))

    async def DeleteStudy(self, request: pb.DeleteStudyRequest, context: Context) -> pb.DeleteStudyResponse:
        """See the proto."""
        who = caller()
        await self.delete(who.tenant, request, subject=who.subject)
        return pb.DeleteStudyResponse()

    async def GetRanking(self, request: pb.GetRankingRequest, context: Context) -> pb.GetRankingResponse:
        """See the proto."""
        tenant = caller().tenant
        ranking = await self.judge(tenant, await self.shown.read(tenant, request.study_id))
        return pb.GetRankingResponse(ranking=ranking)

    async def ListCells(self, request: pb.ListCellsRequest, context: Context) -> pb.ListCellsResponse:
        """See the proto."""
        size, after = request.page_size or DEFAULT_CELLS, _after(request.page_token)
        study = await self.shown.read(caller().tenant, request.study_id)
        keys = [key for key in sorted(study.cells) if key > after]
        page = keys[:size]
        token = f"{page[-1][0]}.{page[-1][1]}" if len(keys) > size else ""
        return pb.ListCellsResponse(cells=[study.cells[key] for key in page], next_page_token=token)

    async def WatchStudy(self, request: pb.WatchStudyRequest, context: Context) -> AsyncIterator[pb.WatchStudyResponse]:
        """See the proto."""
        async for answer in self.watch(caller().tenant, request):
            yield answer


def _after(token: str) -> tuple[int, int]:
    """The cell a page begins after. Raises CallRefused(PAGE_TOKEN_INVALID)."""
    if not token:
        return (-1, -1)
    try:
        variant, seed = token.split(".")
        return int(variant), int(seed)
    except ValueError as error:
        raise CallRefused(errors_pb2.ERROR_REASON_PAGE_TOKEN_INVALID, "page_token is none this server made") from error
