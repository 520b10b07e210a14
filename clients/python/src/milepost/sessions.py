"""Sessions: create, look up, wait for, ask about. What they can be told to do is in session_commands.py."""

import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime

from milepost.connection import Connection
from milepost.event.v1.event_pb2 import Event, EventKind
from milepost.event.v1.event_service_pb2 import Terminal
from milepost.events import Events
from milepost.exceptions import MilepostError, from_status
from milepost.lineage import Family, family_of
from milepost.session.v1 import session_service_pb2 as pb
from milepost.session.v1.session_pb2 import Engine, Session, SessionSpec, SessionState
from milepost.session.v1.statistics_pb2 import GetStatisticsRequest, GetStatisticsResponse
from milepost.session_calls import wish_id
from milepost.session_commands import SessionCommands
from milepost.state.v1.state_pb2 import SimulationState

END_STATES = frozenset(
    {
        SessionState.SESSION_STATE_COMPLETED,
        SessionState.SESSION_STATE_FAILED,
        SessionState.SESSION_STATE_CANCELLED,
    }
)
# Events after which a session may be in another state than before.
_TURNS = (
    EventKind.EVENT_KIND_ATTEMPT_CLAIMED,
    EventKind.EVENT_KIND_RUN_STARTED,
    EventKind.EVENT_KIND_SESSION_RECOVERED,
    EventKind.EVENT_KIND_RUN_OPENED,
    EventKind.EVENT_KIND_COMMAND_REQUESTED,
    EventKind.EVENT_KIND_COMMAND_APPLIED,
    EventKind.EVENT_KIND_COMMAND_REJECTED,
    EventKind.EVENT_KIND_SESSION_COMPLETED,
    EventKind.EVENT_KIND_SESSION_FAILED,
    EventKind.EVENT_KIND_SESSION_CANCELLED,
)
# Sessions created in one call, at most.
BATCH = 1000
# What a question that has to be simulated may take, s: as long as a day of a large city at bare SUMO's speed.
REPLAY_TIMEOUT_S = 3600.0


class Sessions(SessionCommands):
    """The verbs of SessionService. Every failure is a MilepostError; the proto names the reasons of each call."""

    def __init__(self, connection: Connection, events: Events) -> None:
        super().__init__(connection)
        self._events = events

    async def create(
        self,
        spec: SessionSpec,
        *,
        session_id: str = "",
        display_name: str = "",
        labels: Mapping[str, str] | None = None,
        create_only: bool = False,
        wait_for_quota: bool = False,
        request_id: str | None = None,
    ) -> Session:
        """Create a session and, unless `create_only`, queue it. It is durable when this returns.

        `wait_for_quota`: where the tenant has as many sessions as it may, it is taken and waits.
        `request_id` (UUID) names the wish: give your own when a retry may come from another process.
        """
        request = pb.CreateSessionRequest(
            request_id=wish_id(request_id),
            session_id=session_id,
            display_name=display_name,
            labels=labels,
            spec=spec,
            create_only=create_only,
            wait_for_quota=wait_for_quota,
        )
        return (await self._call(self._stub.CreateSession, request)).session

    async def create_many(
        self, requests: Sequence[pb.CreateSessionRequest], *, request_id: str | None = None
    ) -> list[Session | MilepostError]:
        """Create any number of sessions, BATCH at a time; for each, in order, the session or why it was refused.

        Sessions come without `spec` and `scene`. `request_id` (UUID) names the whole wish: all of it again returns the
        same sessions. Raises MilepostError when nothing of a batch was tried; those before it are created.
        """
        wish = uuid.UUID(wish_id(request_id))
        created: list[Session | MilepostError] = []
        for first in range(0, len(requests), BATCH):
            batch = pb.BatchCreateSessionsRequest(
                request_id=str(uuid.uuid5(wish, str(first))), requests=requests[first : first + BATCH]
            )
            answer = await self._call(self._stub.BatchCreateSessions, batch)
            created += [
                from_status(one.error) if one.WhichOneof("result") == "error" else one.session for one in answer.results
            ]
        return created

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
        request = pb.CreateDemoSessionRequest(
            request_id=wish_id(request_id),
            seed=seed,
            display_name=display_name,
            engine=engine,
            end_time_s=end_time_s,
        )
        return (await self._call(self._stub.CreateDemoSession, request)).session

    async def get(self, session_id: str, *, full: bool = False, min_seq: int = 0) -> Session:
        """Look a session up; `full` adds what the proto calls FULL. The answer reflects event `min_seq` at least."""
        view = pb.SessionView.SESSION_VIEW_FULL if full else pb.SessionView.SESSION_VIEW_BASIC
        request = pb.GetSessionRequest(session_id=session_id, view=view, min_seq=min_seq)
        return (await self._call(self._stub.GetSession, request)).session

    async def list(
        self,
        *,
        states: Sequence[SessionState.ValueType] = (),
        page_size: int = 0,
        show_deleted: bool = False,
        study_id: str = "",
        hide_study_sessions: bool = False,
    ) -> AsyncIterator[Session]:
        """All sessions in one of `states` (none: any), newest first, read page by page.

        `study_id`: only those of this study; `hide_study_sessions`: those of studies left out.
        """
        request = pb.ListSessionsRequest(
            page_size=page_size,
            states=states,
            show_deleted=show_deleted,
            study_id=study_id,
            hide_study_sessions=hide_study_sessions,
        )
        while True:
            response = await self._call(self._stub.ListSessions, request)
            for session in response.sessions:
                yield session
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token

    async def wait(self, session_id: str) -> Session:
        """Wait for the session's end, however long and however often it is suspended; the FULL session then."""
        return await self.wait_for(session_id)

    async def wait_for(self, session_id: str, *states: SessionState.ValueType) -> Session:
        """Wait until the session is in one of `states`, or has ended: look at the FULL session this returns.

        States it only passes through may be missed: name those that last until somebody acts, or what follows them,
        too. Waits for ever where nothing happens; bound it with `asyncio.timeout`.
        """
        wanted = END_STATES | set(states)
        session = await self.get(session_id, full=True)
        while session.state not in wanted:
            async with aclosing(self._events.watch(session_id, after_seq=session.seq, kinds=_TURNS)) as items:
                async for item in items:
                    if not isinstance(item, Event | Terminal):
                        continue
                    session = await self.get(session_id, full=True, min_seq=item.seq)
                    if session.state in wanted:
                        break
        return session

    async def run(self, spec: SessionSpec, *, display_name: str = "", request_id: str | None = None) -> Session:
        """Create a session and wait for its end."""
        session = await self.create(spec, display_name=display_name, request_id=request_id)
        return await self.wait(session.session_id)

    async def state(
        self,
        session_id: str,
        *,
        sim_time_s: float | None = None,
        run: int = 0,
        timeout_s: float = REPLAY_TIMEOUT_S,
    ) -> SimulationState:
        """The whole simulation at a simulated time (None: the latest interval) of a run (0: the latest).

        A worker simulates up to there, beside the session; the answer may take as long as that.
        """
        request = pb.GetSessionStateRequest(session_id=session_id, sim_time_s=sim_time_s, run=run)
        return (await self._call(self._stub.GetSessionState, request, timeout_s=timeout_s)).state

    async def verify(
        self, session_id: str, *, run: int = 0, timeout_s: float = REPLAY_TIMEOUT_S
    ) -> pb.VerifySessionResponse:
        """Have a run (0: the latest) simulated again from its log alone, and every record compared."""
        request = pb.VerifySessionRequest(session_id=session_id, run=run)
        return await self._call(self._stub.VerifySession, request, timeout_s=timeout_s)

    async def explain(self, session_id: str) -> pb.ExplainSessionResponse:
        """Why the session waits, why it was moved, why it is slow: in sentences."""
        return await self._call(self._stub.ExplainSession, pb.ExplainSessionRequest(session_id=session_id))

    async def family(self, session_id: str) -> Family:
        """The tree of forks the session stands in: its ancestors, and all that was forked of them."""
        return await family_of(session_id, self.get)

    async def statistics(
        self, *, since: datetime | None = None, labels: Mapping[str, str] | None = None
    ) -> GetStatisticsResponse:
        """Sessions by state, attempts by reason and worker, how long recoveries took, how fast sessions run.

        Of the sessions created since a time (with a zone) that carry all the labels.
        """
        request = GetStatisticsRequest(labels=labels)
        if since is not None:
            request.since.FromDatetime(since)
        return await self._call(self._stub.GetStatistics, request)
