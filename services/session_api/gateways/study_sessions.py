"""What the sessions of a study are doing."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from milepost.session.v1.session_pb2 import Session
from runtime.database import in_time
from session_api.gateways.tables import sessions
from session_log.domain.lifecycle import CLAIMED, ENDED

_ENDED = tuple(state.value for state in ENDED)
_CLAIMED = tuple(state.value for state in CLAIMED)
# Ids asked for at once: SQLite takes so many values in a statement, and a few more.
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class StudySessions:
    """Asks the projection."""

    engine: AsyncEngine

    @in_time
    async def ended(self, tenant: str, session_ids: Collection[str]) -> dict[str, Session]:
        """Those of some sessions that have ended, by id, FULL view."""
        return await self._found(tenant, session_ids, ended=True)

    @in_time
    async def open(self, tenant: str, session_ids: Collection[str]) -> list[str]:
        """Ids of those of some sessions that have not ended."""
        return list(await self._found(tenant, session_ids, ended=False))

    @in_time
    async def count_running(self, tenant: str, session_ids: Collection[str]) -> int:
        """How many of some sessions a worker has."""
        query = select(sessions.c.session_id).where(sessions.c.tenant == tenant, sessions.c.state.in_(_CLAIMED))
        async with self.engine.connect() as connection:
            wanted = set(session_ids)
            return sum(row.session_id in wanted for row in await connection.execute(query))

    @in_time
    async def of_study(self, tenant: str, study_id: str) -> list[str]:
        """Ids of the sessions that belong to a study, deleted ones left out."""
        query = select(sessions.c.session_id).where(
            sessions.c.tenant == tenant, sessions.c.study_id == study_id, sessions.c.deleted.is_(False)
        )
        async with self.engine.connect() as connection:
            return [row.session_id for row in await connection.execute(query.order_by(sessions.c.session_id))]

    @in_time
    async def studies_of(self, tenant: str, session_ids: Collection[str]) -> dict[str, str]:
        """Which study some sessions belong to, by session; those left out that belong to none, or are not there."""
        wanted, found = sorted(session_ids), dict[str, str]()
        async with self.engine.connect() as connection:
            for first in range(0, len(wanted), _AT_ONCE):
                query = select(sessions.c.session_id, sessions.c.study_id).where(
                    sessions.c.tenant == tenant,
                    sessions.c.session_id.in_(wanted[first : first + _AT_ONCE]),
                    sessions.c.study_id != "",
                    sessions.c.deleted.is_(False),
                )
                found |= {row.session_id: row.study_id for row in await connection.execute(query)}
        return found

    async def _found(self, tenant: str, session_ids: Collection[str], *, ended: bool) -> dict[str, Session]:
        wanted, found = sorted(session_ids), dict[str, Session]()
        state = sessions.c.state.in_(_ENDED) if ended else sessions.c.state.not_in(_ENDED)
        async with self.engine.connect() as connection:
            for first in range(0, len(wanted), _AT_ONCE):
                some = sessions.c.session_id.in_(wanted[first : first + _AT_ONCE])
                query = select(sessions.c.session_id, sessions.c.resource).where(
                    sessions.c.tenant == tenant, some, state
                )
                for row in await connection.execute(query):
                    found[row.session_id] = Session.FromString(row.resource)
        return found
