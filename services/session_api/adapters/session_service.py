"""`milepost.session.v1.SessionService` over the use cases."""

from dataclasses import dataclass
from datetime import UTC
from typing import Any

import grpc

from milepost.errors.v1 import errors_pb2
from milepost.event.v1.event_pb2 import CancelCommand, CommandRequested, StartCommand
from milepost.session.v1 import session_service_pb2 as pb
from milepost.session.v1.session_pb2 import Session
from milepost.session.v1.session_service_pb2_grpc import SessionServiceServicer
from runtime.errors import CallRefused
from runtime.settings import DEFAULT_TENANT
from session_api.adapters.paging import DEFAULT_PAGE_SIZE, decode_token, encode_token
from session_api.application.command_session import CommandSession
from session_api.application.create_demo_session import CreateDemoSession
from session_api.application.create_session import CreateSession
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
    create_demo: CreateDemoSession
    command: CommandSession
    sessions: Sessions

    async def CreateSession(self, request: pb.CreateSessionRequest, context: Context) -> pb.CreateSessionResponse:
        """See the proto."""
        return pb.CreateSessionResponse(session=_basic(await self.create(DEFAULT_TENANT, request)))

    async def CreateDemoSession(
        self, request: pb.CreateDemoSessionRequest, context: Context
    ) -> pb.CreateDemoSessionResponse:
        """See the proto."""
        return pb.CreateDemoSessionResponse(session=_basic(await self.create_demo(DEFAULT_TENANT, request)))

    async def GetSession(self, request: pb.GetSessionRequest, context: Context) -> pb.GetSessionResponse:
        """See the proto."""
        session = await self.sessions.get_when(
            DEFAULT_TENANT,
            request.session_id,
            min_seq=request.min_seq,
            timeout_s=MIN_SEQ_WAIT_S if request.min_seq else 0,
        )
        if session is None:
            raise CallRefused(
                errors_pb2.ERROR_REASON_SESSION_NOT_FOUND,
                f"no session {request.session_id!r}",
                metadata={"session_id": request.session_id},
            )
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
        found = await self.sessions.page(
            DEFAULT_TENANT, size=size + 1, after=decode_token(request.page_token), states=request.states
        )
        page = found[:size]
        token = ""
        if len(found) > size:
            token = encode_token(page[-1].create_time.ToDatetime(UTC).replace(tzinfo=None), page[-1].session_id)
        return pb.ListSessionsResponse(sessions=[_basic(session) for session in page], next_page_token=token)

    async def StartSession(self, request: pb.StartSessionRequest, context: Context) -> pb.StartSessionResponse:
        """See the proto."""
        command = CommandRequested(start=StartCommand())
        session = await self._command(request.session_id, command, request.request_id, context)
        return pb.StartSessionResponse(session=_basic(session))

    async def CancelSession(self, request: pb.CancelSessionRequest, context: Context) -> pb.CancelSessionResponse:
        """See the proto."""
        command = CommandRequested(cancel=CancelCommand(), comment=request.comment)
        session = await self._command(request.session_id, command, request.request_id, context)
        return pb.CancelSessionResponse(session=_basic(session))

    async def _command(self, session_id: str, command: CommandRequested, request_id: str, context: Context) -> Session:
        left_s = context.time_remaining()
        return await self.command(
            DEFAULT_TENANT,
            session_id,
            command,
            request_id=request_id,
            wait_s=None if left_s is None else max(0.0, left_s - _DEADLINE_MARGIN_S),
        )


def _basic(session: Session) -> Session:
    """The BASIC view of a session this call owns."""
    session.ClearField("execution")
    session.ClearField("artifacts")
    return session
