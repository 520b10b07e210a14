"""Quotas, in SQL: a truth of its own, backed up. How grants are free of races: grants.py."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from datetime import datetime

from sqlalchemy import and_, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from runtime.database import in_time
from session_api.domain.quota import UNLIMITED, OverQuota, Quota, Usage
from session_api.gateways import grants
from session_api.gateways.sessions_sql import Sessions
from session_api.gateways.tables import admissions, quotas, uploads


class Quotas:
    """Sets and reads quotas; grants uploads. Sessions are granted by `room_for_sessions`, where they are noted."""

    def __init__(self, engine: AsyncEngine, shared: Sessions) -> None:
        """`shared`: whose transactions writes share."""
        self._engine = engine
        self._shared = shared
        self._turn: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def set(self, tenant: str, quota: Quota, names: Collection[str]) -> Quota:
        """Set the limits that are named; all of them as they are now."""

        async def work(connection: AsyncConnection) -> Quota:
            await grants.lock(connection, tenant)
            row = (await connection.execute(select(quotas).where(quotas.c.tenant == tenant))).mappings().one_or_none()
            known = Quota(**{name: row[name] for name in grants.NAMES}) if row else UNLIMITED
            new = replace(known, **{name: getattr(quota, name) for name in names})
            if row:
                await connection.execute(update(quotas).where(quotas.c.tenant == tenant).values(asdict(new)))
            else:
                await connection.execute(insert(quotas).values(tenant=tenant, **asdict(new)))
            return new

        return await self._shared.write(work)

    @in_time
    async def all(self) -> dict[str, Quota]:
        """Those that were set, by tenant, the default first."""
        async with self._engine.connect() as connection:
            rows = (await connection.execute(select(quotas).order_by(quotas.c.tenant))).mappings()
            return {row["tenant"]: Quota(**{name: row[name] for name in grants.NAMES}) for row in rows}

    @in_time
    async def of(self, tenant: str) -> tuple[Quota, bool]:
        """The quota in force, and whether it is the tenant's own."""
        async with self._engine.connect() as connection:
            return await grants.in_force(connection, tenant)

    @in_time
    async def usage(self, tenant: str, now: datetime) -> Usage:
        """What a tenant uses, `now` being UTC and naive; slots are left to who asks the broker."""
        async with self._engine.connect() as connection:
            count, size, _ = await grants.uploaded(connection, tenant, now)
            return Usage(
                sessions=await grants.open_sessions(connection, tenant, now),
                stored_bytes=await grants.stored_bytes(connection, tenant, now),
                uploads_per_hour=count,
                upload_bytes_per_hour=size,
            )

    @asynccontextmanager
    async def exclusively(self, tenant: str) -> AsyncIterator[None]:
        """Place a tenant's orders alone, among all replicas."""
        async with self._turn[tenant]:
            if self._engine.dialect.name != "postgresql":
                # One process.
                yield
                return
            async with self._engine.begin() as connection:
                await grants.lock(connection, tenant, what="orders")
                yield

    async def begin_upload(self, tenant: str, upload_id: str, now: datetime) -> OverQuota | None:
        """Count an upload, before anything of it was received."""

        async def work(connection: AsyncConnection) -> OverQuota | None:
            quota, _ = await grants.in_force(connection, tenant)
            if quota.uploads_per_hour is None and quota.upload_bytes_per_hour is None and quota.stored_bytes is None:
                return None
            await grants.lock(connection, tenant)
            over = delete(uploads).where(uploads.c.tenant == tenant, uploads.c.begun <= now - grants.HOUR)
            await connection.execute(over)
            count, size, oldest = await grants.uploaded(connection, tenant, now)
            again_s = (oldest + grants.HOUR - now).total_seconds() if oldest else 0.0
            for name, used in (("uploads_per_hour", count), ("upload_bytes_per_hour", size)):
                limit = getattr(quota, name)
                if limit is not None and used >= limit:
                    return OverQuota(name, limit, used, again_s)
            row = {"tenant": tenant, "upload_id": upload_id, "begun": now, "digest": "", "size_bytes": 0}
            await connection.execute(insert(uploads).values(row))
            return None

        return await self._shared.write(work)

    async def grant_scenario(
        self, tenant: str, upload_id: str, digest: str, size_bytes: int, now: datetime
    ) -> OverQuota | None:
        """Count a scenario that is about to be stored; the upload must have begun, and the scenario be new."""

        async def work(connection: AsyncConnection) -> OverQuota | None:
            quota, _ = await grants.in_force(connection, tenant)
            if quota.upload_bytes_per_hour is None and quota.stored_bytes is None:
                return None
            await grants.lock(connection, tenant)
            _, size, oldest = await grants.uploaded(connection, tenant, now)
            again_s = (oldest + grants.HOUR - now).total_seconds() if oldest else grants.STORED_AGAIN_S
            if quota.upload_bytes_per_hour is not None and size + size_bytes > quota.upload_bytes_per_hour:
                return OverQuota("upload_bytes_per_hour", quota.upload_bytes_per_hour, size, again_s)
            stored = await grants.stored_bytes(connection, tenant, now)
            if quota.stored_bytes is not None and stored + size_bytes > quota.stored_bytes:
                return OverQuota("stored_bytes", quota.stored_bytes, stored, grants.STORED_AGAIN_S)
            mine = and_(uploads.c.tenant == tenant, uploads.c.upload_id == upload_id)
            granted = {"digest": digest, "size_bytes": size_bytes, "granted": now}
            await connection.execute(update(uploads).where(mine).values(granted))
            return None

        return await self._shared.write(work)

    async def grant_again(self, tenant: str, session_id: str, seq: int, now: datetime) -> OverQuota | None:
        """Count an ended session that is about to go on behind event `seq`."""

        async def work(connection: AsyncConnection) -> OverQuota | None:
            mine = and_(admissions.c.tenant == tenant, admissions.c.session_id == session_id)
            # An earlier try of this very request, which met another writer, is no other session.
            await connection.execute(delete(admissions).where(mine))
            room = await grants.room_for_sessions(connection, tenant, now)
            refused = room.refuses(0, waits=False)
            if refused is None and room.left is not None:
                await grants.note_granted(connection, tenant, [session_id], now, seq=seq)
            return refused

        return await self._shared.write(work)
