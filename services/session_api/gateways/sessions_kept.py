"""The projection as a whole: sessions made anew from their logs, and those whose time is over, in SQL."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, false, insert, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from milepost.session.v1.session_pb2 import Session
from session_api.gateways.projected import Outcome, Projected
from session_api.gateways.session_writes import Key, looked_up, remove_session, whole_values
from session_api.gateways.sessions_sql import Sessions, outcome_of
from session_api.gateways.tables import outcomes, sessions

# Sessions whose time is over that are dealt with in one round.
_LIMIT = 200


@dataclass(frozen=True, slots=True)
class Row:
    """What the projection says of a session."""

    projected: Projected
    outcomes: frozenset[Outcome]
    looked_up: Mapping[str, Any]
    """Columns beside the resource, as they are or as they should be."""

    @classmethod
    def of(cls, projected: Projected, outcomes: Iterable[Outcome]) -> "Row":
        """As it should be."""
        return cls(projected, frozenset(outcomes), looked_up(projected))

    def says(self, other: "Row") -> bool:
        """Whether both say the same."""
        mine, theirs = self.projected, other.projected
        same = (mine.session, mine.pool, mine.memory()) == (theirs.session, theirs.pool, theirs.memory())
        return same and (self.outcomes, self.looked_up) == (other.outcomes, other.looked_up)


class KeptSessions:
    """Beside `Sessions`, whose transactions it shares."""

    def __init__(self, engine: AsyncEngine, sessions: Sessions) -> None:
        self._engine = engine
        self._sessions = sessions

    async def names(self) -> set[Key]:
        """All (tenant, session) of the projection."""
        async with self._engine.connect() as connection:
            rows = await connection.execute(select(sessions.c.tenant, sessions.c.session_id))
            return {(row.tenant, row.session_id) for row in rows}

    async def row(self, key: Key) -> Row | None:
        """A session's row, and the outcomes of its commands."""
        async with self._engine.connect() as connection:
            return await _row(connection, key)

    async def replace(self, key: Key, row: Row) -> bool:
        """Put a row in the place of what is there; False, and nothing changes, when that is further by now."""

        async def work(connection: AsyncConnection) -> bool:
            known = await _row(connection, key, locked=True)
            if known is not None and known.projected.session.seq > row.projected.session.seq:
                return False
            await remove_session(connection, *key)
            await connection.execute(insert(sessions).values(whole_values(key, row.projected)))
            if row.outcomes:
                listed = [{"tenant": key[0], "session_id": key[1], **asdict(outcome)} for outcome in row.outcomes]
                await connection.execute(insert(outcomes), listed)
            return True

        try:
            return await self._sessions.write(work)
        except IntegrityError:
            # Another replica began the same row in this very moment.
            return False

    async def outlived(self, now: datetime, *, keep_ended: timedelta | None) -> list[tuple[str, Session]]:
        """Ended sessions (tenant, session) whose time is over at `now` (UTC, naive), the first that ended first.

        `keep_ended` counts for those that say nothing themselves; None: they stay.
        """
        own = sessions.c.kept_until <= now
        general = (
            and_(sessions.c.kept_until.is_(None), sessions.c.ended_at <= now - keep_ended) if keep_ended else false()
        )
        query = (
            select(sessions.c.tenant, sessions.c.resource)
            .where(or_(own, general))
            .order_by(sessions.c.ended_at)
            .limit(_LIMIT)
        )
        async with self._engine.connect() as connection:
            return [(row.tenant, Session.FromString(row.resource)) for row in await connection.execute(query)]


async def _row(connection: AsyncConnection, key: Key, *, locked: bool = False) -> Row | None:
    mine = and_(sessions.c.tenant == key[0], sessions.c.session_id == key[1])
    query = select(sessions).where(mine)
    found = (await connection.execute(query.with_for_update() if locked else query)).mappings().one_or_none()
    if found is None:
        return None
    projected = Projected.of_row(found["resource"], found["pool"], found["memory"])
    settled = select(outcomes).where(outcomes.c.tenant == key[0], outcomes.c.session_id == key[1])
    return Row(
        projected,
        frozenset(outcome_of(row) for row in await connection.execute(settled)),
        {name: found[name] for name in looked_up(projected)},
    )
