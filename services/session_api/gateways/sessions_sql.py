"""The projection of sessions and the idempotency keys, in SQL."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import and_, insert, select, tuple_, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from milepost.event.v1.event_pb2 import Event
from milepost.event.v1.event_service_pb2 import Position
from milepost.session.v1.session_pb2 import Session
from runtime.database import GroupCommit
from session_api.gateways.session_resource import apply
from session_api.gateways.tables import feed, requests, sessions
from session_log.domain.lifecycle import WANTS_ORDER


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a request id was used for."""

    session_id: str
    request_digest: bytes


@dataclass(frozen=True, slots=True)
class WantedOrder:
    """A session whose state wants a work order."""

    tenant: str
    session_id: str
    pool: str


class Sessions:
    """Reads and writes; writers of this process share transactions, readers never wait for them."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._writes = GroupCommit(engine)
        self._changed = asyncio.Condition()

    async def remember(self, tenant: str, request_id: str, session_id: str, request_digest: bytes) -> Remembered:
        """Note what a request id is used for; returns the first use when there was one before."""
        row = {
            "tenant": tenant,
            "request_id": request_id,
            "session_id": session_id,
            "request_digest": request_digest,
        }

        async def work(connection: AsyncConnection) -> Remembered:
            known = await _remembered(connection, tenant, request_id)
            if known is None:
                await connection.execute(insert(requests).values(row))
            return known or Remembered(session_id, request_digest)

        try:
            return await self._writes.run(work)
        except IntegrityError:
            # Another replica was first in this very moment.
            async with self._engine.connect() as connection:
                known = await _remembered(connection, tenant, request_id)
            assert known is not None
            return known

    async def apply(
        self,
        events: Sequence[tuple[str, Event]],
        *,
        position: Position | None = None,
    ) -> None:
        """Apply (tenant, event) pairs, in order per session, and with them the place of the feed.

        Idempotent by `seq`. An event beyond the next one of a session is left to the feed, which brings all.
        """

        async def work(connection: AsyncConnection) -> None:
            await _apply(connection, events)
            if position is not None:
                await _move_feed(connection, position)

        await self._writes.run(work)
        async with self._changed:
            self._changed.notify_all()

    async def position(self) -> Position | None:
        """How far the projection has followed the store."""
        async with self._engine.connect() as connection:
            row = (await connection.execute(select(feed))).one_or_none()
        return Position(epoch=row.epoch, stream_seq=row.stream_seq) if row else None

    async def get(self, tenant: str, session_id: str) -> Session | None:
        """A session, FULL view."""
        query = select(sessions.c.resource).where(sessions.c.tenant == tenant, sessions.c.session_id == session_id)
        async with self._engine.connect() as connection:
            row = (await connection.execute(query)).one_or_none()
        return Session.FromString(row.resource) if row else None

    async def get_when(
        self, tenant: str, session_id: str, *, min_seq: int, timeout_s: float, ended: bool = False
    ) -> Session | None:
        """A session once it reflects `min_seq` (and has ended, if asked); the latest known when time is up."""

        def enough(found: Session | None) -> bool:
            return found is not None and found.seq >= min_seq and (not ended or found.HasField("end_time"))

        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    async with self._changed:
                        # Read under the condition: no change can be missed between the look and the wait.
                        found = await self.get(tenant, session_id)
                        if enough(found):
                            return found
                        await self._changed.wait()
        except TimeoutError:
            return await self.get(tenant, session_id)

    async def page(
        self, tenant: str, *, size: int, after: tuple[datetime, str] | None, states: Collection[int]
    ) -> list[Session]:
        """Sessions, newest first, after a (create time, id)."""
        query = (
            select(sessions.c.resource)
            .where(sessions.c.tenant == tenant)
            .order_by(sessions.c.create_time.desc(), sessions.c.session_id.desc())
            .limit(size)
        )
        if after is not None:
            query = query.where(tuple_(sessions.c.create_time, sessions.c.session_id) < tuple_(*after))
        if states:
            query = query.where(sessions.c.state.in_(states))
        async with self._engine.connect() as connection:
            return [Session.FromString(row.resource) for row in await connection.execute(query)]

    async def wanting_orders(self) -> list[WantedOrder]:
        """All sessions whose state wants a work order (log.md R9)."""
        query = select(sessions.c.tenant, sessions.c.session_id, sessions.c.pool).where(
            sessions.c.state.in_([state.value for state in WANTS_ORDER])
        )
        async with self._engine.connect() as connection:
            return [WantedOrder(row.tenant, row.session_id, row.pool) for row in await connection.execute(query)]


async def _remembered(connection: AsyncConnection, tenant: str, request_id: str) -> Remembered | None:
    query = select(requests.c.session_id, requests.c.request_digest).where(
        requests.c.tenant == tenant, requests.c.request_id == request_id
    )
    row = (await connection.execute(query)).one_or_none()
    return Remembered(row.session_id, row.request_digest) if row else None


async def _apply(connection: AsyncConnection, events: Sequence[tuple[str, Event]]) -> None:
    grouped: dict[tuple[str, str], list[Event]] = {}
    for tenant, event in events:
        grouped.setdefault((tenant, event.session_id), []).append(event)
    known = await _load(connection, grouped.keys())
    for key, group in grouped.items():
        session = Session.FromString(known[key]) if key in known else Session()
        before = session.seq
        for event in group:
            if event.seq == session.seq + 1:
                apply(session, event)
        if session.seq == before:
            continue
        changed = {"state": session.state, "seq": session.seq, "resource": session.SerializeToString()}
        if key in known:
            where = and_(sessions.c.tenant == key[0], sessions.c.session_id == key[1])
            await connection.execute(update(sessions).where(where).values(changed))
        else:
            created = group[0].session_created
            row = {
                "tenant": key[0],
                "session_id": key[1],
                "pool": created.pool,
                "create_time": session.create_time.ToDatetime(UTC).replace(tzinfo=None),
                **changed,
            }
            await connection.execute(insert(sessions).values(row))


async def _load(connection: AsyncConnection, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], bytes]:
    if not keys:
        return {}
    query = select(sessions.c.tenant, sessions.c.session_id, sessions.c.resource).where(
        tuple_(sessions.c.tenant, sessions.c.session_id).in_(keys)
    )
    return {(row.tenant, row.session_id): row.resource for row in await connection.execute(query)}


async def _move_feed(connection: AsyncConnection, position: Position) -> None:
    values = {"epoch": position.epoch, "stream_seq": position.stream_seq}
    moved = await connection.execute(update(feed).where(feed.c.one == 1).values(values))
    if not moved.rowcount:
        await connection.execute(insert(feed).values(one=1, **values))
