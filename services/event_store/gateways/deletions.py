"""Logs of deleted sessions, in SQL: how they go, a step at a time.

    DELETED ── no reader finds it ──► HIDDEN ── events, references deleted ──► EMPTY ── fence goes ──► FREED ──► gone
       └─ until here SessionUndeleted ends it (references.py)           (the tombstone)

The row of `logs` stays to the end: with it the store tells a session that was deleted from one it has not met yet.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from sqlalchemy import Update, and_, column, delete, exists, func, select, table, update
from sqlalchemy.ext.asyncio import AsyncEngine

from event_store.gateways.blob_folder import microseconds
from event_store.gateways.keeping_tables import blob_references, deletions, unnoted_logs
from event_store.gateways.tables import batches, logs

# Batches deleted in one transaction: ingestion waits meanwhile.
ROWS_AT_ONCE = 500
# The events of the first release, which migration 0002 carried over and left where they were.
_events = table("events", column("log_key"))
# Logs looked at in one round.
_LIMIT = 200


class Stage(IntEnum):
    """How far the store is with a deleted session."""

    DELETED = 0
    HIDDEN = 1
    EMPTY = 2
    FREED = 3


@dataclass(frozen=True, slots=True)
class Deletion:
    """A log on its way out."""

    log_key: int
    tenant: str
    session_id: str
    fence_stream_seq: int
    """The last message of the log on the broker. A log that begins anew under the name stands beyond it."""


class Deletions:
    """Every step is a transaction that may be done again."""

    def __init__(self, engine: AsyncEngine, writing: asyncio.Lock) -> None:
        """`writing` is taken by every writer of the database."""
        self._engine = engine
        self._writing = writing

    async def due(self, stage: Stage, *, purged_before: datetime, stored_before: datetime) -> list[Deletion]:
        """Logs at a stage whose purge time is over, and to which nothing was added for long enough (R4)."""
        fence = logs.c.head_stream_seq if stage == Stage.DELETED else deletions.c.fence_stream_seq
        query = (
            select(logs.c.log_key, logs.c.tenant, logs.c.session_id, fence)
            .join(deletions, deletions.c.log_key == logs.c.log_key)
            .where(
                deletions.c.stage == stage,
                deletions.c.purge_us <= microseconds(purged_before),
                logs.c.head_stored_us <= microseconds(stored_before),
            )
            .order_by(logs.c.log_key)
            .limit(_LIMIT)
        )
        async with self._engine.connect() as connection:
            return [Deletion(*row) for row in await connection.execute(query)]

    async def is_gone(self, tenant: str, session_id: str) -> bool:
        """Whether this name is that of a deleted session, and nothing else yet."""
        query = (
            select(logs.c.log_key)
            .join(deletions, deletions.c.log_key == logs.c.log_key)
            .where(logs.c.tenant == tenant, logs.c.session_id == session_id, deletions.c.stage > Stage.DELETED)
        )
        async with self._engine.connect() as connection:
            return (await connection.execute(query)).first() is not None

    async def hide(self, item: Deletion) -> bool:
        """Let no reader find it any more; False when something was added to the log meanwhile."""
        as_stored = and_(logs.c.log_key == item.log_key, logs.c.head_stream_seq == item.fence_stream_seq)
        async with self._writing, self._engine.begin() as connection:
            marked = exists().where(deletions.c.log_key == item.log_key, deletions.c.stage == Stage.DELETED)
            hidden = await connection.execute(
                update(logs).where(as_stored, marked).values(head_seq=0, head_kind=0, oldest_seq=1)
            )
            if hidden.rowcount:
                await connection.execute(_at(item, Stage.HIDDEN).values(fence_stream_seq=item.fence_stream_seq))
            return bool(hidden.rowcount)

    async def empty(self, item: Deletion) -> int:
        """Delete the events of a hidden log, and what it kept; returns the number of rows."""
        mine, rows = batches.c.log_key == item.log_key, 0
        while True:
            some = select(batches.c.last_seq).where(mine).order_by(batches.c.last_seq).limit(ROWS_AT_ONCE).subquery()
            async with self._writing, self._engine.begin() as connection:
                upto = (await connection.execute(select(func.max(some.c.last_seq)))).scalar_one()
                if upto is None:
                    for named in (blob_references, unnoted_logs, _events):
                        await connection.execute(delete(named).where(named.c.log_key == item.log_key))
                    await connection.execute(_at(item, Stage.EMPTY))
                    return rows
                rows += (await connection.execute(delete(batches).where(mine, batches.c.last_seq <= upto))).rowcount

    async def lift(self, item: Deletion, *, fence_stream_seq: int) -> None:
        """Note that the broker's messages up to the fence may go, the fence itself included."""
        async with self._writing, self._engine.begin() as connection:
            await connection.execute(_at(item, Stage.FREED).values(fence_stream_seq=fence_stream_seq))

    async def free(self, item: Deletion) -> None:
        """Forget the name. A log that has begun under it meanwhile keeps its row."""
        async with self._writing, self._engine.begin() as connection:
            await connection.execute(delete(deletions).where(deletions.c.log_key == item.log_key))
            await connection.execute(delete(logs).where(logs.c.log_key == item.log_key, logs.c.head_seq == 0))


def _at(item: Deletion, stage: Stage) -> Update:
    """From the stage before, and from no other: replicas may do the same at the same time."""
    before = (deletions.c.log_key == item.log_key, deletions.c.stage == stage - 1)
    return update(deletions).where(*before).values(stage=stage)
