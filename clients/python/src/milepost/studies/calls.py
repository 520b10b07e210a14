"""The verbs of StudyService: create from a request or from a file, look up, follow, rank, cancel, delete."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import TypeVar

import grpc

from milepost.connection import Connection
from milepost.following import following
from milepost.session_calls import wish_id
from milepost.studies.form import StudyFile, read_study
from milepost.studies.sending import Sender
from milepost.study.v1 import study_service_pb2 as pb
from milepost.study.v1.study_pb2 import Cell, Ranking, Study, StudyState
from milepost.study.v1.study_service_pb2_grpc import StudyServiceStub

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")

END_STATES = frozenset({StudyState.STUDY_STATE_COMPLETED, StudyState.STUDY_STATE_CANCELLED})
# A thousand variants are resolved, each with a scenario of its own, before the answer comes, s.
CREATE_TIMEOUT_S = 600.0


class Studies:
    """Studies. Every failure is a MilepostError; the proto names the reasons of each call."""

    def __init__(self, connection: Connection, sender: Sender) -> None:
        self._connection = connection
        self._stub = StudyServiceStub(connection.channel)
        self._sender = sender

    async def create(self, request: pb.CreateStudyRequest) -> Study:
        """Check everything, record the study and begin it; with `validate_only` nothing is recorded."""
        asked = pb.CreateStudyRequest()
        asked.CopyFrom(request)
        asked.request_id = wish_id(request.request_id or None)
        return (await self._call(self._stub.CreateStudy, asked, timeout_s=CREATE_TIMEOUT_S)).study

    async def create_from(self, file: Path | StudyFile, *, validate_only: bool = False) -> Study:
        """Create what a file says (docs/studies.md), sending scenario, files and template first.

        Raises InputFileError for what is wrong with the file; the `violations` of the server's refusals name places
        in it, too: `study.yaml:12:5`.
        """
        study = file if isinstance(file, StudyFile) else read_study(file)
        async with self._sender.sent(study, validate_only=validate_only):
            study.request.validate_only = validate_only
            return await self.create(study.request)

    async def get(self, study_id: str, *, full: bool = False) -> Study:
        """Look a study up; `full` adds `spec` and `variants`."""
        view = pb.StudyView.STUDY_VIEW_FULL if full else pb.StudyView.STUDY_VIEW_BASIC
        return (await self._call(self._stub.GetStudy, pb.GetStudyRequest(study_id=study_id, view=view))).study

    async def list(self, *, page_size: int = 0) -> AsyncIterator[Study]:
        """All studies, newest first, read page by page."""
        request = pb.ListStudiesRequest(page_size=page_size)
        while True:
            response = await self._call(self._stub.ListStudies, request)
            for study in response.studies:
                yield study
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token

    async def cancel(self, study_id: str, *, comment: str = "", request_id: str | None = None) -> Study:
        """End a study; what was found so far stays. It is CANCELLED once none of its sessions runs: `wait` for it."""
        request = pb.CancelStudyRequest(study_id=study_id, comment=comment, request_id=wish_id(request_id))
        return (await self._call(self._stub.CancelStudy, request)).study

    async def delete(self, study_id: str, *, request_id: str | None = None) -> None:
        """Delete a study that has ended, for good; its sessions follow, and can be undeleted one by one for a while."""
        await self._call(
            self._stub.DeleteStudy, pb.DeleteStudyRequest(study_id=study_id, request_id=wish_id(request_id))
        )

    async def ranking(self, study_id: str) -> Ranking:
        """What the runs so far say."""
        return (await self._call(self._stub.GetRanking, pb.GetRankingRequest(study_id=study_id))).ranking

    async def cells(self, study_id: str, *, page_size: int = 0) -> AsyncIterator[Cell]:
        """The cells that are over, variant by variant, seeds ascending, read page by page."""
        request = pb.ListCellsRequest(study_id=study_id, page_size=page_size)
        while True:
            response = await self._call(self._stub.ListCells, request)
            for cell in response.cells:
                yield cell
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token

    async def watch(
        self, study_id: str, *, after_seq: int = 0, with_ranking: bool = False
    ) -> AsyncGenerator[pb.WatchStudyResponse, None]:
        """Follow a study to its end: its progress, and each decision after event `after_seq` once.

        Goes on over broken connections. The last message has a study that has ended.
        """
        request = pb.WatchStudyRequest(study_id=study_id, after_seq=after_seq, with_ranking=with_ranking)
        state = StudyState.STUDY_STATE_UNSPECIFIED
        messages = following(
            self._connection, lambda: self._stub.WatchStudy(request), ended=lambda: state in END_STATES
        )
        async with aclosing(messages):
            async for message in messages:
                fresh = [one for one in message.decisions if one.seq > request.after_seq]
                if len(fresh) < len(message.decisions):
                    del message.decisions[:]
                    message.decisions.extend(fresh)
                state = message.study.state
                yield message
                request.after_seq = max([request.after_seq, *(one.seq for one in fresh)])

    async def wait(self, study_id: str) -> Study:
        """Wait for the study's end; the FULL study then."""
        async with aclosing(self.watch(study_id)) as messages:
            async for _ in messages:
                pass
        return await self.get(study_id, full=True)

    async def _call(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[RequestT, ResponseT],
        request: RequestT,
        *,
        timeout_s: float | None = None,
    ) -> ResponseT:
        return await self._connection.call(lambda left_s: method(request, timeout=timeout_s or left_s))
