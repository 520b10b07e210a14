"""Idempotency keys of requests that make sessions, within a transaction of the caller's. A truth of its own."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from session_api.gateways.tables import requests


@dataclass(frozen=True, slots=True)
class Asked:
    """A request id, and what it is used for."""

    request_id: str
    session_id: str
    request_digest: bytes


async def note(connection: AsyncConnection, tenant: str, asked: Sequence[Asked]) -> list[Asked]:
    """Note what request ids are used for; for each its first use, which may be an earlier one.

    Raises IntegrityError when another replica was first in this very moment: then it can be seen.
    """
    uses = await known(connection, tenant, [one.request_id for one in asked])
    new: dict[str, Asked] = {}
    for one in asked:
        if one.request_id not in uses:
            new.setdefault(one.request_id, one)
    if new:
        # In one order: replicas that note the same ids wait for each other, never both ways.
        rows = [{"tenant": tenant, **asdict(new[request_id])} for request_id in sorted(new)]
        await connection.execute(insert(requests), rows)
    return [uses.get(one.request_id) or new[one.request_id] for one in asked]


async def known(connection: AsyncConnection, tenant: str, request_ids: Sequence[str]) -> dict[str, Asked]:
    """Those that were used."""
    query = select(requests.c.request_id, requests.c.session_id, requests.c.request_digest).where(
        requests.c.tenant == tenant, requests.c.request_id.in_(request_ids)
    )
    return {
        row.request_id: Asked(row.request_id, row.session_id, row.request_digest)
        for row in await connection.execute(query)
    }
