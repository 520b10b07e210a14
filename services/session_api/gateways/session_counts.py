"""Counts over the projection of sessions and studies, for whoever watches the whole."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from milepost.study.v1.study_pb2 import StudyState
from runtime.database import in_time
from session_api.gateways.studies_rows import DELETED
from session_api.gateways.tables import results, sessions, studies
from session_log.domain.lifecycle import State


@dataclass(frozen=True, slots=True)
class SessionCounts:
    """One query each, over an index or a table of one row per session."""

    engine: AsyncEngine
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    @in_time
    async def by_state(self) -> list[tuple[str, str, State, int]]:
        """(pool, class, state, sessions), deleted ones left out."""
        what = (sessions.c.pool, sessions.c.work_class, sessions.c.state)
        query = select(*what, func.count()).where(sessions.c.deleted.is_(False)).group_by(*what)
        async with self.engine.connect() as connection:
            found = await connection.execute(query)
            return [(pool, work_class, State(state), count) for pool, work_class, state, count in found]

    @in_time
    async def oldest_waiting_s(self) -> list[tuple[str, str, float]]:
        """(pool, class, seconds) since the session was created that waits there longest."""
        where = (sessions.c.pool, sessions.c.work_class)
        query = (
            select(*where, func.min(sessions.c.create_time))
            .where(sessions.c.state == State.PENDING.value)
            .group_by(*where)
        )
        now = self.clock().replace(tzinfo=None)
        async with self.engine.connect() as connection:
            found = await connection.execute(query)
            return [(pool, name, max(0.0, (now - created).total_seconds())) for pool, name, created in found]

    @in_time
    async def studies_by_state(self) -> list[tuple[StudyState.ValueType, int]]:
        """(state, studies), deleted ones left out."""
        query = select(studies.c.state, func.count()).where(studies.c.state != DELETED).group_by(studies.c.state)
        async with self.engine.connect() as connection:
            return [(StudyState.ValueType(state), count) for state, count in await connection.execute(query)]

    @in_time
    async def results(self) -> int:
        """Stored results."""
        async with self.engine.connect() as connection:
            return (await connection.execute(select(func.count()).select_from(results))).scalar_one()
