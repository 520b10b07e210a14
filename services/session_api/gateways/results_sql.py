"""Results of runs, by what they follow from: equal inputs, equal results."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from milepost.session.v1.session_pb2 import Progress, Session
from runtime.database import in_time
from session_api.gateways.grants import utc_now
from session_api.gateways.sessions_sql import Sessions
from session_api.gateways.tables import results
from session_api.gateways.upsert import upsert

# Keys asked for at once: SQLite takes so many values in a statement, and a few more.
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class StoredResult:
    """What a run came to."""

    session: Session
    """Its id, results, phases and execution."""
    own: bool
    """Whether it was the tenant's own."""


@dataclass(frozen=True, slots=True)
class Results:
    """Looks up and keeps."""

    engine: AsyncEngine
    sessions: Sessions
    shared: bool
    """Whether results of other tenants are taken, too."""

    @in_time
    async def find(self, tenant: str, keys: Collection[str]) -> dict[str, StoredResult]:
        """Those that are known, by key; the tenant's own before others'."""
        found: dict[str, StoredResult] = {}
        wanted = sorted(keys)
        async with self.engine.connect() as connection:
            for first in range(0, len(wanted), _AT_ONCE):
                query = select(results).where(results.c.key.in_(wanted[first : first + _AT_ONCE]))
                if not self.shared:
                    query = query.where(results.c.tenant == tenant)
                for row in await connection.execute(query.order_by(results.c.tenant)):
                    own = row.tenant == tenant
                    if own or row.key not in found:
                        found[row.key] = StoredResult(Session.FromString(row.resource), own)
        return found

    async def put(self, tenant: str, sessions: Mapping[str, Session]) -> None:
        """Keep what sessions came to, by key, in place of what was there."""
        if not sessions:
            return
        now: datetime = utc_now()
        rows = [
            {"tenant": tenant, "key": key, "resource": _kept(session).SerializeToString(), "create_time": now}
            for key, session in sorted(sessions.items())
        ]

        async def work(connection: AsyncConnection) -> None:
            await upsert(connection, results, rows)

        await self.sessions.write(work)


def _kept(session: Session) -> Session:
    """What later studies need of it."""
    return Session(
        session_id=session.session_id,
        results=session.results,
        phases=session.phases,
        execution=session.execution,
        progress=Progress(begin_time_s=session.progress.begin_time_s),
    )
