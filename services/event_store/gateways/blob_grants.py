"""Whose blobs are, in SQL: equal content is stored once, and seen only by tenants that have sent it themselves."""

from collections.abc import Sequence

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from event_store.gateways.event_rows import KEYS_PER_QUERY, portions
from event_store.gateways.keeping_tables import blob_grants


async def granted(connection: AsyncConnection, tenant: str, digests: Sequence[str]) -> list[str]:
    """Those of `digests` that a tenant may know of, sorted."""
    found: list[str] = []
    for some in portions(sorted(set(digests)), KEYS_PER_QUERY):
        mine = blob_grants.c.tenant == tenant, blob_grants.c.sha256.in_(some)
        query = select(blob_grants.c.sha256).where(*mine).order_by(blob_grants.c.sha256)
        found += [row.sha256 for row in await connection.execute(query)]
    return found


async def grant(connection: AsyncConnection, tenant: str, sha256: str) -> None:
    """Let a tenant have a blob. Raises IntegrityError when another replica does so in this very moment."""
    if not await granted(connection, tenant, [sha256]):
        await connection.execute(insert(blob_grants).values(tenant=tenant, sha256=sha256))


async def forget(connection: AsyncConnection, digests: Sequence[str]) -> None:
    """Nobody has these any more."""
    await connection.execute(delete(blob_grants).where(blob_grants.c.sha256.in_(digests)))
