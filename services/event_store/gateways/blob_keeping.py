"""Which blobs are kept, in SQL: holds, the files of manifests, and what nothing keeps (log.md R16).

    stored ── doom: nothing keeps it, asked anew in the very transaction ──► doomed ── erase ──► gone
      ▲                                                                         │
      └──────────────── upload: erases what is doomed, then stores ◄────────────┘

Why nothing that is wanted is doomed: whoever names a blob in a log uploads it, or finds it stored, before, and that
renews its lease; the collector waits until everything the broker held at its start is stored, and takes only leases
that were over by then. So a name given while the lease ran stands in `blob_references`.
"""

import asyncio
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, delete, exists, func, insert, not_, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from event_store.gateways.blob_folder import LEASE, SizedBlob, microseconds, renewed
from event_store.gateways.blob_grants import granted
from event_store.gateways.event_rows import portions
from event_store.gateways.keeping_tables import blob_holds, blob_references, manifest_files, unnoted_logs
from event_store.gateways.references import SCENARIO
from event_store.gateways.tables import blobs

# Blobs doomed in one transaction: others that write wait meanwhile.
DOOMED_AT_ONCE = 500


class BlobKeeping:
    """Decides by the tables alone; the bytes are the folder's."""

    def __init__(self, engine: AsyncEngine, writing: asyncio.Lock, lease: timedelta = LEASE) -> None:
        """`writing` is taken by every writer of blobs; where the database has one writer at a time, by all."""
        self._lease = lease
        self._engine = engine
        self._writing = writing

    async def hold(self, tenant: str, holder: str, digests: Collection[str], *, now: datetime) -> set[str]:
        """Let a holder keep these and nothing else; returns those the tenant has not stored: then nothing changed.

        What it let go keeps a lease: an event on its way may name it.
        """
        wanted = sorted(set(digests))
        async with self._writing, self._engine.begin() as connection:
            mine = blob_holds.c.holder == holder
            before = {row.sha256 for row in await connection.execute(select(blob_holds.c.sha256).where(mine))}
            own = await granted(connection, tenant, wanted)
            found = await renewed(connection, sorted({*before, *own}), until=now + self._lease)
            if missing := set(wanted) - found:
                return missing
            await connection.execute(delete(blob_holds).where(mine))
            if wanted:
                await connection.execute(insert(blob_holds), [{"holder": holder, "sha256": one} for one in wanted])
        return set()

    async def all_noted(self) -> bool:
        """Whether the references of every stored log are in the tables (they are not right after an upgrade)."""
        async with self._engine.connect() as connection:
            return (await connection.execute(select(unnoted_logs).limit(1))).first() is None

    async def unread_manifests(self) -> dict[str, bool]:
        """Scenarios that logs name and whose files are not known here yet, and whether they are stored."""
        async with self._engine.connect() as connection:
            unread = await _unread(connection)
            query = select(blobs.c.sha256).where(not_(blobs.c.doomed), blobs.c.sha256.in_(unread))
            stored = {row.sha256 for row in await connection.execute(query)}
        return {manifest: manifest in stored for manifest in unread}

    async def note_files(self, manifest: str, files: Collection[str]) -> None:
        """The files of a scenario; the manifest is one of them, so that it counts as read."""
        rows = [{"manifest": manifest, "sha256": sha256} for sha256 in sorted({manifest, *files})]
        async with self._writing, self._engine.begin() as connection:
            await connection.execute(delete(manifest_files).where(manifest_files.c.manifest == manifest))
            await connection.execute(insert(manifest_files), rows)

    async def unkept(self, *, leased_until: datetime) -> list[SizedBlob]:
        """Blobs whose lease was over at `leased_until` and that nothing else keeps."""
        query = select(blobs.c.sha256, blobs.c.size_bytes).where(_nothing_keeps(leased_until))
        async with self._engine.connect() as connection:
            return [SizedBlob(*row) for row in await connection.execute(query)]

    async def total(self) -> tuple[int, int]:
        """How many blobs are kept, and the bytes of their content."""
        query = select(func.count(), func.coalesce(func.sum(blobs.c.size_bytes), 0)).where(blobs.c.doomed.is_(False))
        async with self._engine.connect() as connection:
            count, size_bytes = (await connection.execute(query)).one()
        return int(count), int(size_bytes)

    async def doom(self, digests: Sequence[str], *, leased_until: datetime, lost: Collection[str]) -> int:
        """Doom those that still nothing keeps; returns how many.

        Stops when a log names a scenario whose files are unknown here, apart from those that are `lost`.
        """
        doomed = 0
        for some in portions(digests, DOOMED_AT_ONCE):
            async with self._writing, self._engine.begin() as connection:
                if set(await _unread(connection)) - set(lost):
                    return doomed
                still = and_(blobs.c.sha256.in_(some), _nothing_keeps(leased_until))
                doomed += (await connection.execute(update(blobs).where(still).values(doomed=True))).rowcount
        return doomed


def _nothing_keeps(leased_until: datetime) -> ColumnElement[bool]:
    named, held, part = blob_references, blob_holds, manifest_files
    of_scenario = exists().where(
        part.c.sha256 == blobs.c.sha256, named.c.sha256 == part.c.manifest, named.c.name == SCENARIO
    )
    return and_(
        not_(blobs.c.doomed),
        blobs.c.lease_until_us <= microseconds(leased_until),
        not_(or_(exists().where(named.c.sha256 == blobs.c.sha256), exists().where(held.c.sha256 == blobs.c.sha256))),
        not_(of_scenario),
    )


async def _unread(connection: AsyncConnection) -> list[str]:
    known = exists().where(manifest_files.c.manifest == blob_references.c.sha256)
    query = select(blob_references.c.sha256).where(blob_references.c.name == SCENARIO, not_(known)).distinct()
    return [row.sha256 for row in await connection.execute(query)]
