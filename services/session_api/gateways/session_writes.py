"""Writing the projection: events to rows, within a transaction of the caller's."""

from collections.abc import Collection, Sequence
from dataclasses import asdict
from datetime import UTC
from typing import Any

from sqlalchemy import delete, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from milepost.event.v1.event_pb2 import Event
from milepost.event.v1.event_service_pb2 import Position
from runtime.work_queue import class_token
from session_api.domain.session_ids import STUDY_LABEL
from session_api.gateways.projected import Projected
from session_api.gateways.row_sets import put_outcomes, put_sessions
from session_api.gateways.session_resource import apply
from session_api.gateways.tables import feed, outcomes, sessions

Key = tuple[str, str]


async def apply_events(
    connection: AsyncConnection, events: Sequence[tuple[str, Event]], *, from_feed: bool = False
) -> None:
    """Apply (tenant, event) pairs; one that is not the next of its session is left to the feed.

    The feed brings everything in order: what it leaves out is not kept any more.
    """
    grouped: dict[Key, list[Event]] = {}
    for tenant, event in events:
        grouped.setdefault((tenant, event.session_id), []).append(event)
    known = await _load(connection, grouped.keys())
    # Written together: a journey to the server for each session would be most of what applying costs.
    rows: list[dict[str, Any]] = []
    settled: list[dict[str, Any]] = []
    for key, group in grouped.items():
        projected = known.get(key) or Projected()
        before = projected.session.seq
        for event in group:
            if event.seq == projected.session.seq + 1 or (from_feed and projected.session.seq):
                outcome = apply(projected, event)
                if outcome is not None:
                    settled.append({"tenant": key[0], "session_id": key[1], **asdict(outcome)})
        if projected.session.seq != before:
            rows.append(whole_values(key, projected))
    # In the order in which other replicas take their locks, too.
    rows.sort(key=lambda row: (row["tenant"], row["session_id"]))
    if rows:
        await put_sessions(connection, rows)
    if settled:
        await put_outcomes(connection, settled)


async def remove_session(connection: AsyncConnection, tenant: str, session_id: str) -> None:
    """Forget a session and what became of its commands."""
    for table in (outcomes, sessions):
        await connection.execute(delete(table).where(table.c.tenant == tenant, table.c.session_id == session_id))


async def move_feed(connection: AsyncConnection, position: Position) -> None:
    """Note how far the projection has followed the store."""
    values = {"epoch": position.epoch, "stream_seq": position.stream_seq}
    known = (await connection.execute(select(feed).with_for_update())).one_or_none()
    if known is None:
        await connection.execute(insert(feed).values(one=1, **values))
    elif known.epoch != position.epoch or known.stream_seq < position.stream_seq:
        # Another replica, which follows as well, may be further.
        await connection.execute(update(feed).where(feed.c.one == 1).values(values))


def whole_values(key: Key, projected: Projected) -> dict[str, Any]:
    """A session's row."""
    return {
        "tenant": key[0],
        "session_id": key[1],
        "pool": projected.pool,
        "work_class": class_token(projected.session.spec.scheduling),
        "create_time": projected.session.create_time.ToDatetime(UTC).replace(tzinfo=None),
        **_changing(projected),
    }


def _changing(projected: Projected) -> dict[str, Any]:
    resource = projected.session.SerializeToString()
    return {"resource": resource, "memory": projected.memory(), **looked_up(projected)}


def looked_up(projected: Projected) -> dict[str, Any]:
    """Columns that queries look at: copies of what the resource says."""
    return {
        "state": projected.session.state,
        "seq": projected.session.seq,
        "deleted": projected.session.HasField("delete_time"),
        "purge_time": projected.purge_time,
        "idle_until": projected.idle_until,
        "ended_at": projected.ended_at,
        "kept_until": projected.kept_until,
        "stored_bytes": projected.stored_bytes,
        "waits_for_quota": projected.waits_for_quota and not projected.session.attempt,
        "study_id": projected.session.labels.get(STUDY_LABEL, ""),
    }


async def _load(connection: AsyncConnection, keys: Collection[Key]) -> dict[Key, Projected]:
    if not keys:
        return {}
    columns = (sessions.c.tenant, sessions.c.session_id, sessions.c.resource, sessions.c.pool, sessions.c.memory)
    query = select(*columns).where(tuple_(sessions.c.tenant, sessions.c.session_id).in_(keys))
    # Locked, in one order: a replica that knows less must not write over what another has just applied.
    query = query.order_by(sessions.c.tenant, sessions.c.session_id).with_for_update()
    return {
        (row.tenant, row.session_id): Projected.of_row(row.resource, row.pool, row.memory)
        for row in await connection.execute(query)
    }
