"""Results of runs, by what they follow from: equal inputs, equal results."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Update, delete, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from milepost.session.v1.session_pb2 import Progress, Session
from runtime.database import in_time
from session_api.gateways.grants import utc_now
from session_api.gateways.sessions_sql import Sessions
from session_api.gateways.tables import results
from session_api.gateways.upsert import upsert

# Keys asked for at once: SQLite takes so many values in a statement, and a few more.
_AT_ONCE = 500
_ROWS_AT_ONCE = _AT_ONCE // 2
# Use is noted to this: a study that asks for thousands of results again writes nothing.
_USE_UNIT = timedelta(hours=1)
# Dropped in one transaction: other writers wait meanwhile.
_DROPPED_AT_ONCE = 2000


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
        long_ago: list[tuple[str, str]] = []
        wanted, now = sorted(keys), utc_now()
        async with self.engine.connect() as connection:
            for first in range(0, len(wanted), _AT_ONCE):
                query = select(results).where(results.c.key.in_(wanted[first : first + _AT_ONCE]))
                if not self.shared:
                    query = query.where(results.c.tenant == tenant)
                for row in await connection.execute(query.order_by(results.c.tenant)):
                    own = row.tenant == tenant
                    if row.use_time < now - _USE_UNIT:
                        long_ago.append((row.tenant, row.key))
                    if own or row.key not in found:
                        found[row.key] = StoredResult(Session.FromString(row.resource), own)
        await self._used(long_ago, now)
        return found

    async def drop_unused(self, *, since: datetime) -> int:
        """Drop results that were neither stored nor asked for since then (UTC, naive); how many."""
        some = select(results.c.tenant, results.c.key).where(results.c.use_time < since).limit(_DROPPED_AT_ONCE)

        async def work(connection: AsyncConnection) -> int:
            gone = delete(results).where(tuple_(results.c.tenant, results.c.key).in_(some), results.c.use_time < since)
            return (await connection.execute(gone)).rowcount

        dropped = 0
        while count := await self.sessions.write(work):
            dropped += count
        return dropped

    async def _used(self, rows: Sequence[tuple[str, str]], now: datetime) -> None:
        for first in range(0, len(rows), _ROWS_AT_ONCE):
            some = tuple_(results.c.tenant, results.c.key).in_(rows[first : first + _ROWS_AT_ONCE])
            note = update(results).where(some).values(use_time=now)

            async def work(connection: AsyncConnection, note: Update = note) -> None:
                await connection.execute(note)

            await self.sessions.write(work)

    async def put(self, tenant: str, sessions: Mapping[str, Session]) -> None:
        """Keep what sessions came to, by key, in place of what was there."""
        if not sessions:
            return
        now: datetime = utc_now()
        rows = [
            {
                "tenant": tenant,
                "key": key,
                "resource": _kept(session).SerializeToString(),
                "create_time": now,
                "use_time": now,
            }
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
