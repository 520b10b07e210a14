"""Counts over the projection of sessions, for whoever watches the whole."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from runtime.database import in_time
from session_api.gateways.tables import sessions
from session_log.domain.lifecycle import State


@dataclass(frozen=True, slots=True)
class SessionCounts:
    """One query each, over an index or a table of one row per session."""

    engine: AsyncEngine
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    @in_time
    async def by_pool_and_state(self) -> list[tuple[str, State, int]]:
        """(pool, state, sessions), deleted ones left out."""
        query = (
            select(sessions.c.pool, sessions.c.state, func.count())
            .where(sessions.c.deleted.is_(False))
            .group_by(sessions.c.pool, sessions.c.state)
        )
        async with self.engine.connect() as connection:
            return [(pool, State(state), count) for pool, state, count in await connection.execute(query)]

    @in_time
    async def oldest_waiting_s(self) -> list[tuple[str, float]]:
        """(pool, seconds) since the session was created that waits there longest."""
        query = (
            select(sessions.c.pool, func.min(sessions.c.create_time))
            .where(sessions.c.state == State.PENDING.value)
            .group_by(sessions.c.pool)
        )
        now = self.clock().replace(tzinfo=None)
        async with self.engine.connect() as connection:
            found = await connection.execute(query)
            return [(pool, max(0.0, (now - created).total_seconds())) for pool, created in found]
