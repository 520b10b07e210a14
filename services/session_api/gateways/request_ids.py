"""Idempotency keys of requests that make sessions, within a transaction of the caller's. A truth of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from session_api.domain.quota import OverQuota
from session_api.gateways.grants import note_granted, room_for_sessions
from session_api.gateways.tables import requests


@dataclass(frozen=True, slots=True)
class Asked:
    """A request id, and what it is used for."""

    request_id: str
    session_id: str
    request_digest: bytes
    waits: bool = False
    """Whether the session may have to wait until the tenant's quota has room for it."""


async def note(
    connection: AsyncConnection, tenant: str, asked: Sequence[Asked], now: datetime
) -> list[Asked | OverQuota]:
    """Note what request ids are used for; for each its first use, which may be an earlier one, or why it is refused.

    The sessions of new ones count against the tenant's quota, in their order. Raises IntegrityError when another
    replica was first in this very moment: then it can be seen.
    """
    uses: dict[str, Asked | OverQuota] = {**await known(connection, tenant, [one.request_id for one in asked])}
    new = list({one.request_id: one for one in reversed(asked) if one.request_id not in uses}.values())[::-1]
    if new:
        room = await room_for_sessions(connection, tenant, now)
        granted: list[Asked] = []
        for one in new:
            refused = room.refuses(len(granted), waits=one.waits)
            if refused is None:
                granted.append(one)
            uses[one.request_id] = refused or one
        # In one order: replicas that note the same ids wait for each other, never both ways.
        rows = [
            {
                "tenant": tenant,
                "request_id": one.request_id,
                "session_id": one.session_id,
                "request_digest": one.request_digest,
            }
            for one in sorted(granted, key=lambda one: one.request_id)
        ]
        if rows:
            await connection.execute(insert(requests), rows)
        if room.left is not None:
            await note_granted(connection, tenant, [one.session_id for one in granted], now)
    return [uses[one.request_id] for one in asked]


async def known(connection: AsyncConnection, tenant: str, request_ids: Sequence[str]) -> dict[str, Asked]:
    """Those that were used."""
    query = select(requests.c.request_id, requests.c.session_id, requests.c.request_digest).where(
        requests.c.tenant == tenant, requests.c.request_id.in_(request_ids)
    )
    return {
        row.request_id: Asked(row.request_id, row.session_id, row.request_digest)
        for row in await connection.execute(query)
    }
