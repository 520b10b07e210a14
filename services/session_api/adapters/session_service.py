"""`milepost.session.v1.SessionService` over the use cases."""

from dataclasses import dataclass, replace
from datetime import UTC
from typing import Any, Protocol

import grpc

from milepost.errors.v1 import errors_pb2
from milepost.event.v1.event_pb2 import (
    CheckpointCommand,
    RollbackCommand,
    RunUntilCommand,
    SetPaceCommand,
    StepCommand,
)
from milepost.session.v1 import session_service_pb2 as pb
from milepost.session.v1.session_pb2 import Session
from milepost.session.v1.session_service_pb2_grpc import SessionServiceServicer
from milepost.session.v1.statistics_pb2 import GetStatisticsRequest, GetStatisticsResponse
from runtime.errors import CallRefused, to_status
from runtime.identity import ADMIN, caller
from session_api.adapters.paging import DEFAULT_PAGE_SIZE, decode_token, encode_token
from session_api.application.append_command import Caller
from session_api.application.batch_create_sessions import BatchCreateSessions
from session_api.application.create_demo_session import CreateDemoSession
from session_api.application.create_session import Created, CreateSession
from session_api.application.gather_statistics import GatherStatistics
from session_api.application.refusals import not_found
from session_api.application.verbs import Verbs
from session_api.gateways.sessions_sql import Sessions

Context = grpc.aio.ServicerContext[Any, Any]

# How long a read waits for `min_seq`, seconds (log.md R13).
MIN_SEQ_WAIT_S = 2.0
# What is left of a client's deadline for the answer to travel, seconds.
_DEADLINE_MARGIN_S = 0.5


@dataclass(frozen=True)
class SessionServiceAdapter(SessionServiceServicer):
    """Translates; see the proto for what each call promises."""

    create: CreateSession
    create_batch: BatchCreateSessions
    create_demo: CreateDemoSession
    verbs: Verbs
    sessions: Sessions
    statistics: GatherStatistics

    async def CreateSession(self, request: pb.CreateSessionRequest, context: Context) -> pb.CreateSessionResponse:
        """See the proto."""
        who = caller()
        session = await self.create(who.tenant, request, subject=who.subject)
        return pb.CreateSessionResponse(session=_basic(session))

    async def BatchCreateSessions(
        self, request: pb.BatchCreateSessionsRequest, context: Context
    ) -> pb.BatchCreateSessionsResponse:
        """See the proto."""
        who = caller()
        created = await self.create_batch(who.tenant, request, subject=who.subject)
        return pb.BatchCreateSessionsResponse(results=[_created(one) for one in created])

    async def CreateDemoSession(
        self, request: pb.CreateDemoSessionRequest, context: Context
    ) -> pb.CreateDemoSessionResponse:
        """See the proto."""
        who = caller()
        session = await self.create_demo(who.tenant, request, subject=who.subject)
        return pb.CreateDemoSessionResponse(session=_basic(session))

    async def GetSession(self, request: pb.GetSessionRequest, context: Context) -> pb.GetSessionResponse:
        """See the proto."""
        session = await self.sessions.get_when(
            caller().tenant,
            request.session_id,
            min_seq=request.min_seq,
            timeout_s=MIN_SEQ_WAIT_S if request.min_seq else 0,
        )
        if session is None:
            raise not_found(request.session_id)
        if session.seq < request.min_seq:
            raise CallRefused(
                errors_pb2.ERROR_REASON_NOT_STORED_YET,
                f"session {request.session_id!r} is known up to seq {session.seq} here",
                metadata={"seq": str(session.seq)},
                retry_after_s=0.5,
            )
        full = request.view == pb.SESSION_VIEW_FULL
        return pb.GetSessionResponse(session=session if full else _basic(session))

    async def ListSessions(self, request: pb.ListSessionsRequest, context: Context) -> pb.ListSessionsResponse:
        """See the proto."""
        size = request.page_size or DEFAULT_PAGE_SIZE
        after = decode_token(request.page_token)
        found = await self.sessions.page(caller().tenant, size=size + 1, after=after, wanted=request)
        page = found[:size]
        for session in page:
            # A page of long plans would be larger than a message may be.
            session.spec.ClearField("interventions")
        token = ""
        if len(found) > size:
            token = encode_token(page[-1].create_time.ToDatetime(UTC).replace(tzinfo=None), page[-1].session_id)
        return pb.ListSessionsResponse(sessions=[_basic(session) for session in page], next_page_token=token)

    async def StartSession(self, request: pb.StartSessionRequest, context: Context) -> pb.StartSessionResponse:
        """See the proto."""
        session = await self.verbs.start(_caller(request, context), request.session_id)
        return pb.StartSessionResponse(session=_basic(session))

    async def CancelSession(self, request: pb.CancelSessionRequest, context: Context) -> pb.CancelSessionResponse:
        """See the proto."""
        asker = _caller(request, context)
        session = await self.verbs.end.cancel(asker, request.session_id, comment=request.comment)
        return pb.CancelSessionResponse(session=_basic(session))

    async def TerminateSession(
        self, request: pb.TerminateSessionRequest, context: Context
    ) -> pb.TerminateSessionResponse:
        """See the proto."""
        session = await self.verbs.end.terminate(_caller(request, context), request.session_id)
        return pb.TerminateSessionResponse(session=_basic(session))

    async def SuspendSession(self, request: pb.SuspendSessionRequest, context: Context) -> pb.SuspendSessionResponse:
        """See the proto."""
        session = await self.verbs.suspend(_caller(request, context), request.session_id)
        return pb.SuspendSessionResponse(session=_basic(session))

    async def ResumeSession(self, request: pb.ResumeSessionRequest, context: Context) -> pb.ResumeSessionResponse:
        """See the proto."""
        session = await self.verbs.resume(
            _caller(request, context),
            request.session_id,
            checkpoint_id=request.checkpoint_id,
            end_time_s=request.end_time_s if request.HasField("end_time_s") else None,
        )
        return pb.ResumeSessionResponse(session=_basic(session))

    async def RestartSession(self, request: pb.RestartSessionRequest, context: Context) -> pb.RestartSessionResponse:
        """See the proto."""
        session = await self.verbs.restart(_caller(request, context), request.session_id)
        return pb.RestartSessionResponse(session=_basic(session))

    async def UpdateSession(self, request: pb.UpdateSessionRequest, context: Context) -> pb.UpdateSessionResponse:
        """See the proto."""
        session = await self.verbs.update(_caller(request, context), request)
        return pb.UpdateSessionResponse(session=_basic(session))

    async def RollbackSession(self, request: pb.RollbackSessionRequest, context: Context) -> pb.RollbackSessionResponse:
        """See the proto."""
        if request.WhichOneof("to") == "checkpoint_id":
            to = RollbackCommand(checkpoint_id=request.checkpoint_id)
        else:
            to = RollbackCommand(sim_time_s=request.sim_time_s)
        session = await self.verbs.rollback(_caller(request, context), request.session_id, to)
        return pb.RollbackSessionResponse(session=_basic(session))

    async def CreateCheckpoint(
        self, request: pb.CreateCheckpointRequest, context: Context
    ) -> pb.CreateCheckpointResponse:
        """See the proto."""
        asked = CheckpointCommand(name=request.name, pinned=request.pinned, state_file=request.state_file)
        made, session = await self.verbs.checkpoints.create(_caller(request, context), request.session_id, asked)
        return pb.CreateCheckpointResponse(checkpoint=made, session=_basic(session))

    async def PinCheckpoint(self, request: pb.PinCheckpointRequest, context: Context) -> pb.PinCheckpointResponse:
        """See the proto."""
        session = await self.verbs.checkpoints.pin(
            _caller(request, context), request.session_id, request.checkpoint_id, pinned=request.pinned
        )
        return pb.PinCheckpointResponse(session=_basic(session))

    async def DeleteCheckpoint(
        self, request: pb.DeleteCheckpointRequest, context: Context
    ) -> pb.DeleteCheckpointResponse:
        """See the proto."""
        session = await self.verbs.checkpoints.delete(
            _caller(request, context), request.session_id, request.checkpoint_id
        )
        return pb.DeleteCheckpointResponse(session=_basic(session))

    async def ForkSession(self, request: pb.ForkSessionRequest, context: Context) -> pb.ForkSessionResponse:
        """See the proto."""
        return pb.ForkSessionResponse(session=_basic(await self.verbs.fork(_caller(request, context), request)))

    async def ApplyIntervention(
        self, request: pb.ApplyInterventionRequest, context: Context
    ) -> pb.ApplyInterventionResponse:
        """See the proto."""
        asker = _caller(request, context)
        if request.validate_only:
            await self.verbs.intervene.check(asker, request.session_id, request.intervention)
            return pb.ApplyInterventionResponse()
        appended, outcome = await self.verbs.intervene(
            asker, request.session_id, request.intervention, comment=request.comment
        )
        answer = pb.ApplyInterventionResponse(command_id=appended.command_id, seq=appended.seq)
        if outcome is not None:
            answer.applied, answer.step, answer.sim_time_s = True, outcome.step, outcome.sim_time_s
            answer.seq = outcome.seq
        return answer

    async def SetPace(self, request: pb.SetPaceRequest, context: Context) -> pb.SetPaceResponse:
        """See the proto."""
        asked = SetPaceCommand(factor=request.factor, paused=request.paused)
        session = await self.verbs.pace.set(_caller(request, context), request.session_id, asked)
        return pb.SetPaceResponse(session=_basic(session))

    async def StepSession(self, request: pb.StepSessionRequest, context: Context) -> pb.StepSessionResponse:
        """See the proto."""
        asked = StepCommand(steps=request.steps)
        session = await self.verbs.pace.step(_caller(request, context), request.session_id, asked)
        return pb.StepSessionResponse(session=_basic(session))

    async def RunUntil(self, request: pb.RunUntilRequest, context: Context) -> pb.RunUntilResponse:
        """See the proto."""
        asked = RunUntilCommand(sim_time_s=request.sim_time_s)
        session = await self.verbs.pace.run_until(_caller(request, context), request.session_id, asked)
        return pb.RunUntilResponse(session=_basic(session))

    async def DeleteSession(self, request: pb.DeleteSessionRequest, context: Context) -> pb.DeleteSessionResponse:
        """See the proto."""
        session = await self.verbs.delete(_caller(request, context), request.session_id)
        return pb.DeleteSessionResponse(session=_basic(session))

    async def UndeleteSession(self, request: pb.UndeleteSessionRequest, context: Context) -> pb.UndeleteSessionResponse:
        """See the proto."""
        session = await self.verbs.delete.undo(_caller(request, context), request.session_id)
        return pb.UndeleteSessionResponse(session=_basic(session))

    async def GetSessionState(self, request: pb.GetSessionStateRequest, context: Context) -> pb.GetSessionStateResponse:
        """See the proto."""
        state, cached = await self.verbs.replay.state(
            _patience(context),
            request.session_id,
            sim_time_s=request.sim_time_s if request.HasField("sim_time_s") else None,
            run=request.run,
        )
        return pb.GetSessionStateResponse(state=state, cached=cached)

    async def VerifySession(self, request: pb.VerifySessionRequest, context: Context) -> pb.VerifySessionResponse:
        """See the proto."""
        verified = await self.verbs.replay.verify(_patience(context), request.session_id, run=request.run)
        return pb.VerifySessionResponse(
            exact=not verified.difference and not verified.diverged_step,
            records=verified.records,
            diverged_step=verified.diverged_step,
            difference=verified.difference,
        )

    async def ExplainSession(self, request: pb.ExplainSessionRequest, context: Context) -> pb.ExplainSessionResponse:
        """See the proto."""
        return await self.verbs.explain(caller().tenant, request.session_id)

    async def GetStatistics(self, request: GetStatisticsRequest, context: Context) -> GetStatisticsResponse:
        """See the proto."""
        who = caller()
        return await self.statistics(who.tenant, request, whole_fleet=who.has(ADMIN))


class _Commanding(Protocol):
    """A request that commands."""

    @property
    def request_id(self) -> str:
        """Makes a retry safe."""


def _caller(request: _Commanding, context: Context) -> Caller:
    """Who asks, with what is left of the call's deadline but for the answer's way."""
    return replace(_patience(context), request_id=request.request_id)


def _patience(context: Context) -> Caller:
    left_s = context.time_remaining()
    who = caller()
    wait_s = None if left_s is None else max(0.0, left_s - _DEADLINE_MARGIN_S)
    return Caller(who.tenant, wait_s=wait_s, subject=who.subject)


def _created(one: Created) -> pb.CreatedSession:
    if isinstance(one, CallRefused):
        return pb.CreatedSession(error=to_status(one))
    for field in ("spec", "scene"):
        one.ClearField(field)
    return pb.CreatedSession(session=_basic(one))


def _basic(session: Session) -> Session:
    """The BASIC view of a session this call owns."""
    for field in ("execution", "artifacts", "checkpoints", "attempts"):
        session.ClearField(field)
    return session
