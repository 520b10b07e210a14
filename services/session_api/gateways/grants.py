"""What tenants are granted of their quotas, within a transaction of the caller's.

Race-free with any number of replicas: whoever wants something of a limited tenant holds the tenant's lock from
counting to noting what was granted, in one transaction. What is granted and not there yet is noted in `admissions` and
`uploads` and counts, until its log says that it is there or it has had all the time that it may take.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta

from sqlalchemy import and_, delete, exists, func, insert, or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from session_api.domain.quota import UNLIMITED, OverQuota, Quota
from session_api.gateways.tables import admissions, quotas, scenarios, sessions, uploads
from session_log.domain.lifecycle import ENDED

# The tenant whose quota is that of all who have none of their own.
DEFAULT = ""
# How long what was granted counts although it is not there: a session's first event, a scenario; seconds.
GRANTED_S = 60.0
# When it may be worth another try for who has too many sessions, or too much stored, seconds.
_SESSIONS_AGAIN_S = 5.0
STORED_AGAIN_S = 60.0
HOUR = timedelta(hours=1)
NAMES = tuple(field.name for field in fields(Quota))
_OPEN = and_(sessions.c.state.not_in([state.value for state in ENDED]), sessions.c.deleted.is_(False))


async def lock(connection: AsyncConnection, tenant: str, *, what: str = "quota") -> None:
    """Have a tenant's grants, or `what` else, to itself until the transaction ends."""
    if connection.dialect.name == "postgresql":
        held = text("select pg_advisory_xact_lock(hashtext(:what))")
        await connection.execute(held, {"what": f"{what} of {tenant}"})
    # SQLite's writers are one process, and there they take turns.


async def in_force(connection: AsyncConnection, tenant: str) -> tuple[Quota, bool]:
    """A tenant's quota, and whether it is its own."""
    query = select(quotas).where(quotas.c.tenant.in_((DEFAULT, tenant)))
    found = {row["tenant"]: row for row in (await connection.execute(query)).mappings()}
    row = found.get(tenant) or found.get(DEFAULT)
    return (Quota(**{name: row[name] for name in NAMES}) if row else UNLIMITED), tenant in found


@dataclass(frozen=True, slots=True)
class Room:
    """What a tenant may have more of: `left` sessions, None being any number."""

    left: int | None = None
    refusal: OverQuota | None = None
    """What is said to those beyond."""
    may_wait: bool = True
    """Whether those beyond are taken that are willing to wait."""

    def refuses(self, granted: int, *, waits: bool) -> OverQuota | None:
        """Why there is no other one when so many were granted already; None: there is."""
        if self.left is None or granted < self.left or (waits and self.may_wait):
            return None
        return self.refusal


async def room_for_sessions(connection: AsyncConnection, tenant: str, now: datetime) -> Room:
    """How many more sessions a tenant may have. Holds its lock from here on when there is a limit."""
    quota, _ = await in_force(connection, tenant)
    if quota.sessions is None and quota.stored_bytes is None:
        return Room()
    await lock(connection, tenant)
    if quota.stored_bytes is not None:
        stored = await stored_bytes(connection, tenant, now)
        if stored >= quota.stored_bytes:
            refusal = OverQuota("stored_bytes", quota.stored_bytes, stored, STORED_AGAIN_S)
            return Room(0, refusal, may_wait=False)
    if quota.sessions is None:
        return Room()
    used = await open_sessions(connection, tenant, now)
    left = max(0, quota.sessions - used)
    return Room(left, OverQuota("sessions", quota.sessions, used + left, _SESSIONS_AGAIN_S))


async def note_granted(
    connection: AsyncConnection, tenant: str, session_ids: Sequence[str], now: datetime, *, seq: int = 0
) -> None:
    """Note sessions that are about to be there, or to go on behind event `seq`; what was noted long ago goes."""
    over = or_(admissions.c.noted <= now - timedelta(seconds=GRANTED_S), admissions.c.session_id.in_(session_ids))
    await connection.execute(delete(admissions).where(admissions.c.tenant == tenant, over))
    rows = [{"tenant": tenant, "session_id": name, "seq": seq, "noted": now} for name in session_ids]
    if rows:
        await connection.execute(insert(admissions), rows)


async def open_sessions(connection: AsyncConnection, tenant: str, now: datetime) -> int:
    """Sessions that have not ended, those that are about to be there included."""
    there = exists().where(
        sessions.c.tenant == admissions.c.tenant,
        sessions.c.session_id == admissions.c.session_id,
        sessions.c.seq > admissions.c.seq,
    )
    since = now - timedelta(seconds=GRANTED_S)
    coming = select(func.count()).where(admissions.c.tenant == tenant, admissions.c.noted > since, ~there)
    known = select(func.count()).where(sessions.c.tenant == tenant, _OPEN)
    return int((await connection.execute(select(known.scalar_subquery() + coming.scalar_subquery()))).scalar_one())


async def stored_bytes(connection: AsyncConnection, tenant: str, now: datetime) -> int:
    """Scenarios, those about to be stored included, and files that sessions have left."""
    there = exists().where(scenarios.c.tenant == uploads.c.tenant, scenarios.c.digest == uploads.c.digest)
    since = now - timedelta(seconds=GRANTED_S)
    coming = select(func.coalesce(func.sum(uploads.c.size_bytes), 0)).where(
        uploads.c.tenant == tenant, uploads.c.granted > since, ~there
    )
    kept = select(func.coalesce(func.sum(scenarios.c.stored_bytes), 0)).where(scenarios.c.tenant == tenant)
    left = select(func.coalesce(func.sum(sessions.c.stored_bytes), 0)).where(sessions.c.tenant == tenant)
    parts = [part.scalar_subquery() for part in (coming, kept, left)]
    return int((await connection.execute(select(parts[0] + parts[1] + parts[2]))).scalar_one())


async def uploaded(connection: AsyncConnection, tenant: str, now: datetime) -> tuple[int, int, datetime | None]:
    """Uploads within the last hour, their bytes, and when the first of them began."""
    size = func.coalesce(func.sum(uploads.c.size_bytes), 0)
    query = select(func.count(), size, func.min(uploads.c.begun)).where(
        uploads.c.tenant == tenant, uploads.c.begun > now - HOUR
    )
    row = (await connection.execute(query)).one()
    return int(row[0]), int(row[1]), row[2]


def utc_now() -> datetime:
    """UTC, naive, as the tables have it."""
    return datetime.now(UTC).replace(tzinfo=None)
