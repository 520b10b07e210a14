"""The projection of sessions and the idempotency keys, in SQL."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Row, case, func, or_, select, tuple_
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from milepost.event.v1.event_pb2 import Event
from milepost.event.v1.event_service_pb2 import Position
from milepost.session.v1.session_pb2 import Session
from milepost.session.v1.session_service_pb2 import ListSessionsRequest
from runtime.database import GroupCommit, in_time
from runtime.work_queue import Line
from session_api.domain.quota import OverQuota
from session_api.gateways import request_ids
from session_api.gateways.grants import utc_now
from session_api.gateways.projected import Outcome
from session_api.gateways.queue_view import Queue
from session_api.gateways.request_ids import Asked
from session_api.gateways.session_writes import Key, apply_events, move_feed, remove_session
from session_api.gateways.studies_rows import is_noted, note_studies
from session_api.gateways.tables import feed, outcomes, sessions
from session_log.codec import TERMINAL_KINDS, event_kind, study_of_log
from session_log.domain.lifecycle import WANTS_ORDER, State

T = TypeVar("T")

# How often two replicas may note the same request ids in the same moment.
_MEETINGS = 10
_ALL = ListSessionsRequest()


@dataclass(frozen=True, slots=True)
class WantedOrder:
    """A session whose state wants a work order."""

    line: Line
    session_id: str
    state: State
    held: bool
    """Whether it was taken beyond the quota of sessions, and was never claimed so far."""


class Sessions:
    """Reads and writes; writers of this process share transactions, readers never wait for them."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._writes = GroupCommit(engine)
        self._waiting: dict[Key, set[asyncio.Event]] = {}
        self._ends: set[asyncio.Event] = set()

    async def remember(self, tenant: str, asked: Asked) -> Asked | OverQuota:
        """Note what a request id is used for; returns the first use when there was one before."""
        (use,) = await self.remember_all(tenant, [asked])
        return use

    async def remember_all(self, tenant: str, asked: Sequence[Asked]) -> list[Asked | OverQuota]:
        """As `remember`, for each; the quota of sessions is for those that come first."""

        async def work(connection: AsyncConnection) -> list[Asked | OverQuota]:
            return await request_ids.note(connection, tenant, asked, utc_now())

        for _ in range(_MEETINGS):
            with contextlib.suppress(IntegrityError):
                return await self._writes.run(work)
            # Another replica was first in this very moment: now it can be seen.
        return await self._writes.run(work)

    @in_time
    async def recall(self, tenant: str, request_id: str) -> Asked | None:
        """What a request id was used for, if it was."""
        async with self._engine.connect() as connection:
            return (await request_ids.known(connection, tenant, [request_id])).get(request_id)

    async def apply(
        self,
        events: Sequence[tuple[str, Event]],
        *,
        position: Position | None = None,
    ) -> None:
        """Apply (tenant, event) pairs, in order per session, and with them the place of the feed.

        Idempotent by `seq`. An event beyond the next one of a session is left to the feed, which brings all.
        """
        of_sessions = [one for one in events if study_of_log(one[1].session_id) is None]
        of_studies = [one for one in events if is_noted(one[1])]

        async def work(connection: AsyncConnection) -> None:
            await apply_events(connection, of_sessions, from_feed=position is not None)
            await note_studies(connection, of_studies)
            if position is not None:
                await move_feed(connection, position)

        await self._writes.run(work)
        for key in {(tenant, event.session_id) for tenant, event in of_sessions}:
            for changed in self._waiting.get(key, ()):
                changed.set()
        if any(event_kind(event) in TERMINAL_KINDS for _, event in of_sessions):
            for some_end in self._ends:
                some_end.set()

    async def write(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Do `work` in a transaction that this process's writers share; its result once that is durable."""
        return await self._writes.run(work)

    async def remove(self, tenant: str, session_id: str) -> None:
        """Forget a session; its request ids are kept for ever."""
        await self._writes.run(lambda connection: remove_session(connection, tenant, session_id))

    @in_time
    async def position(self) -> Position | None:
        """How far the projection has followed the store."""
        async with self._engine.connect() as connection:
            row = (await connection.execute(select(feed))).one_or_none()
        return Position(epoch=row.epoch, stream_seq=row.stream_seq) if row else None

    @in_time
    async def get(self, tenant: str, session_id: str) -> Session | None:
        """A session, FULL view."""
        query = select(sessions.c.resource).where(sessions.c.tenant == tenant, sessions.c.session_id == session_id)
        async with self._engine.connect() as connection:
            row = (await connection.execute(query)).one_or_none()
        return Session.FromString(row.resource) if row else None

    @in_time
    async def get_all(self, tenant: str, session_ids: Collection[str]) -> dict[str, Session]:
        """Those of some sessions that are known, by id, FULL view."""
        query = select(sessions.c.session_id, sessions.c.resource).where(
            sessions.c.tenant == tenant, sessions.c.session_id.in_(session_ids)
        )
        async with self._engine.connect() as connection:
            return {row.session_id: Session.FromString(row.resource) for row in await connection.execute(query)}

    async def get_when(
        self,
        tenant: str,
        session_id: str,
        *,
        min_seq: int,
        timeout_s: float,
        until: Callable[[Session], bool] = lambda _: True,
    ) -> Session | None:
        """A session once it reflects `min_seq` and `until` holds; the latest known when time is up."""

        async def look() -> Session | None:
            found = await self.get(tenant, session_id)
            return found if found is not None and found.seq >= min_seq and until(found) else None

        return await self._when((tenant, session_id), look, timeout_s) or await self.get(tenant, session_id)

    async def outcome_when(self, tenant: str, session_id: str, command_id: str, *, timeout_s: float) -> Outcome | None:
        """What became of a command, once it is known; None when time is up."""
        query = select(outcomes).where(
            outcomes.c.tenant == tenant, outcomes.c.session_id == session_id, outcomes.c.command_id == command_id
        )

        async def look() -> Outcome | None:
            async with self._engine.connect() as connection:
                row = (await connection.execute(query)).one_or_none()
            return outcome_of(row) if row else None

        return await self._when((tenant, session_id), look, timeout_s)

    async def _when(self, key: Key, look: Callable[[], Awaitable[T | None]], timeout_s: float) -> T | None:
        """What `look` finds, looked for anew after every change of the session; None when time is up."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        async with self._changes(key) as changed:
            while (found := await look()) is None:
                try:
                    # The waits alone are bounded: a query that is cut off costs its connection.
                    async with asyncio.timeout_at(deadline):
                        await changed.wait()
                except TimeoutError:
                    return None
                changed.clear()
            return found

    @contextlib.asynccontextmanager
    async def _changes(self, key: Key) -> AsyncIterator[asyncio.Event]:
        changed = asyncio.Event()
        self._waiting.setdefault(key, set()).add(changed)
        try:
            yield changed
        finally:
            self._waiting[key].discard(changed)
            if not self._waiting[key]:
                del self._waiting[key]

    @contextlib.contextmanager
    def ends(self) -> Iterator[asyncio.Event]:
        """Set whenever any session has ended."""
        some_end = asyncio.Event()
        self._ends.add(some_end)
        try:
            yield some_end
        finally:
            self._ends.discard(some_end)

    @in_time
    async def page(
        self,
        tenant: str,
        *,
        size: int,
        after: tuple[datetime, str] | None,
        wanted: ListSessionsRequest = _ALL,
    ) -> list[Session]:
        """Those `wanted`, whatever page that asks for, newest first, after a (create time, id)."""
        query = (
            select(sessions.c.resource)
            .where(sessions.c.tenant == tenant)
            .order_by(sessions.c.create_time.desc(), sessions.c.session_id.desc())
            .limit(size)
        )
        if after is not None:
            query = query.where(tuple_(sessions.c.create_time, sessions.c.session_id) < tuple_(*after))
        if wanted.states:
            query = query.where(sessions.c.state.in_(wanted.states))
        if wanted.study_id or wanted.hide_study_sessions:
            query = query.where(sessions.c.study_id == wanted.study_id)
        if not wanted.show_deleted:
            query = query.where(sessions.c.deleted.is_(False))
        async with self._engine.connect() as connection:
            return [Session.FromString(row.resource) for row in await connection.execute(query)]

    @in_time
    async def wanting_orders(self, tenant: str | None = None) -> list[WantedOrder]:
        """Sessions whose state wants a work order (log.md R9), the oldest first; of one tenant or of all."""
        columns = (sessions.c.pool, sessions.c.work_class, sessions.c.tenant, sessions.c.session_id)
        query = select(*columns, sessions.c.state, sessions.c.waits_for_quota).where(
            sessions.c.state.in_([state.value for state in WANTS_ORDER])
        )
        if tenant is not None:
            query = query.where(sessions.c.tenant == tenant)
        async with self._engine.connect() as connection:
            found = await connection.execute(query.order_by(sessions.c.create_time, sessions.c.session_id))
            return [
                WantedOrder(
                    Line(row.pool, row.work_class, row.tenant),
                    row.session_id,
                    State(row.state),
                    held=row.waits_for_quota,
                )
                for row in found
            ]

    @in_time
    async def queue(self, session: Session, tenant: str) -> Queue:
        """The line a session stands in, and who waits for its pool."""
        columns = (sessions.c.pool, sessions.c.work_class, sessions.c.create_time)
        pending = sessions.c.state == State.PENDING.value
        async with self._engine.connect() as connection:
            mine = (
                await connection.execute(
                    select(*columns).where(sessions.c.tenant == tenant, sessions.c.session_id == session.session_id)
                )
            ).one()
            earlier = case((sessions.c.create_time < mine.create_time, 1), else_=0)
            line = (sessions.c.tenant, sessions.c.work_class)
            counted = (
                select(
                    sessions.c.tenant,
                    sessions.c.work_class,
                    func.count().label("all"),
                    func.sum(earlier).label("earlier"),
                )
                .where(pending, sessions.c.pool == mine.pool)
                .group_by(*line)
            )
            rows = (await connection.execute(counted)).all()
        return Queue.of(Line(mine.pool, mine.work_class, tenant), rows)

    @in_time
    async def overdue(self, now: datetime) -> list[tuple[str, Session]]:
        """Sessions (tenant, session) whose `purge_time` or idle TTL is over at `now` (UTC, naive)."""
        query = select(sessions.c.tenant, sessions.c.resource).where(
            or_(sessions.c.purge_time <= now, sessions.c.idle_until <= now)
        )
        async with self._engine.connect() as connection:
            return [(row.tenant, Session.FromString(row.resource)) for row in await connection.execute(query)]


def outcome_of(row: Row[*tuple[Any, ...]]) -> Outcome:
    """A row of `outcomes`."""
    return Outcome(row.command_id, row.seq, row.step, row.sim_time_s, row.applied, message=row.message, field=row.field)
