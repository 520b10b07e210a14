"""Sessions: create, command, look up, wait for."""

import uuid
from collections.abc import AsyncIterator, Mapping, Sequence

from milepost.connection import Connection
from milepost.event.v1.event_pb2 import EventKind
from milepost.event.v1.event_service_pb2 import Terminal
from milepost.events import Events
from milepost.session.v1.session_pb2 import Engine, Session, SessionSpec, SessionState
from milepost.session.v1.session_service_pb2 import (
    CancelSessionRequest,
    CreateDemoSessionRequest,
    CreateSessionRequest,
    GetSessionRequest,
    ListSessionsRequest,
    SessionView,
    StartSessionRequest,
)
from milepost.session.v1.session_service_pb2_grpc import SessionServiceStub

ENDS = (
    EventKind.EVENT_KIND_SESSION_COMPLETED,
    EventKind.EVENT_KIND_SESSION_FAILED,
    EventKind.EVENT_KIND_SESSION_CANCELLED,
)


class Sessions:
    """The verbs of SessionService. Every failure is a MilepostError; the proto names the reasons of each call."""

    def __init__(self, connection: Connection, events: Events) -> None:
        self._connection = connection
        self._events = events
        self._stub = SessionServiceStub(connection.channel)

    async def create(
        self,
        spec: SessionSpec,
        *,
        session_id: str = "",
        display_name: str = "",
        labels: Mapping[str, str] | None = None,
        create_only: bool = False,
        request_id: str | None = None,
    ) -> Session:
        """Create a session and, unless `create_only`, queue it. It is durable when this returns.

        `request_id` (UUID) names the wish: give your own when a retry may come from another process.
        """
        request = CreateSessionRequest(
            request_id=request_id or str(uuid.uuid4()),
            session_id=session_id,
            display_name=display_name,
            labels=labels,
            spec=spec,
            create_only=create_only,
        )
        response = await self._connection.call(lambda timeout_s: self._stub.CreateSession(request, timeout=timeout_s))
        return response.session

    async def create_demo(
        self,
        *,
        seed: int,
        display_name: str = "",
        engine: Engine.ValueType = Engine.ENGINE_UNSPECIFIED,
        end_time_s: float | None = None,
        request_id: str | None = None,
    ) -> Session:
        """Create a session of the bundled city and queue it."""
        request = CreateDemoSessionRequest(
            request_id=request_id or str(uuid.uuid4()),
            seed=seed,
            display_name=display_name,
            engine=engine,
            end_time_s=end_time_s,
        )
        response = await self._connection.call(
            lambda timeout_s: self._stub.CreateDemoSession(request, timeout=timeout_s)
        )
        return response.session

    async def get(self, session_id: str, *, full: bool = False, min_seq: int = 0) -> Session:
        """Look a session up; `full` adds `execution` and `artifacts`. The answer reflects event `min_seq` at least."""
        view = SessionView.SESSION_VIEW_FULL if full else SessionView.SESSION_VIEW_BASIC
        request = GetSessionRequest(session_id=session_id, view=view, min_seq=min_seq)
        response = await self._connection.call(lambda timeout_s: self._stub.GetSession(request, timeout=timeout_s))
        return response.session

    async def list(
        self, *, states: Sequence[SessionState.ValueType] = (), page_size: int = 0
    ) -> AsyncIterator[Session]:
        """All sessions in one of `states` (none: any), newest first, read page by page."""
        request = ListSessionsRequest(page_size=page_size, states=states)
        while True:
            response = await self._connection.call(
                lambda timeout_s: self._stub.ListSessions(request, timeout=timeout_s)
            )
            for session in response.sessions:
                yield session
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token

    async def start(self, session_id: str, *, request_id: str | None = None) -> Session:
        """Queue a session that was created with `create_only`."""
        request = StartSessionRequest(session_id=session_id, request_id=request_id or str(uuid.uuid4()))
        response = await self._connection.call(lambda timeout_s: self._stub.StartSession(request, timeout=timeout_s))
        return response.session

    async def cancel(self, session_id: str, *, comment: str = "", request_id: str | None = None) -> Session:
        """End a session at once. CANCELLED, or TERMINATING when its worker takes longer than this call may."""
        request = CancelSessionRequest(
            session_id=session_id, request_id=request_id or str(uuid.uuid4()), comment=comment
        )
        response = await self._connection.call(lambda timeout_s: self._stub.CancelSession(request, timeout=timeout_s))
        return response.session

    async def wait(self, session_id: str) -> Session:
        """Wait for the session's end, however long; the FULL session, in one of its three end states."""
        end_seq = 0
        async for item in self._events.watch(session_id, kinds=ENDS):
            if isinstance(item, Terminal):
                end_seq = item.seq
        return await self.get(session_id, full=True, min_seq=end_seq)

    async def run(self, spec: SessionSpec, *, display_name: str = "", request_id: str | None = None) -> Session:
        """Create a session and wait for its end."""
        session = await self.create(spec, display_name=display_name, request_id=request_id)
        return await self.wait(session.session_id)
