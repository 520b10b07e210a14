"""Whose turn it is to ingest, among the processes of one PostgreSQL database (log.md R11).

A row with an expiry and not an advisory lock: a process that stands still would keep its connection, and the lock.
Every statement commits by itself, so that nobody can stand still while holding the row. The lease only spares the
others work in vain; that no two write is the position's doing (event_appends).
"""

from sqlalchemy import BigInteger, cast, extract, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from event_store.gateways.tables import ingest_lease

# How long the turn lasts after the last sign of life, seconds.
LEASE_S = 3.0

_lease = ingest_lease.c
_me = func.current_setting("application_name")
_now_us = cast(extract("epoch", func.clock_timestamp()) * 1_000_000, BigInteger)
_until_us = _now_us + int(LEASE_S * 1_000_000)

_BEGIN = insert(ingest_lease).values(one=1, holder="", until_us=0).on_conflict_do_nothing()
_LOOK = select(ingest_lease, (_lease.holder == _me).label("mine"), (_lease.until_us < _now_us).label("over"))
_TAKE = update(ingest_lease).values(holder=_me, until_us=_until_us)
_RENEW = update(ingest_lease).where(_lease.holder == _me).values(until_us=_until_us)
_RELEASE = update(ingest_lease).where(_lease.holder == _me).values(holder="", until_us=0)
_END_CONNECTIONS = text("select pg_terminate_backend(pid) from pg_stat_activity where application_name = :holder")


class IngestLease:
    """This process's share in it; its name is that of its connections (runtime.database)."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._alone = engine.dialect.name == "sqlite"

    async def take(self) -> bool:
        """Whether it is this process's turn now. Raises SQLAlchemyError."""
        if self._alone:
            return True
        async with self._engine.connect() as connection:
            await connection.execute(_BEGIN)
            found = (await connection.execute(_LOOK)).one()
            if not found.mine and not found.over:
                return False
            unchanged = (_lease.holder == found.holder, _lease.until_us == found.until_us)
            if (await connection.execute(_TAKE.where(*unchanged))).rowcount != 1:
                return False
            if found.holder and not found.mine:
                # It may stand still in the middle of a transaction, and would keep us from writing.
                await connection.execute(_END_CONNECTIONS, {"holder": found.holder})
            return True

    async def renew(self) -> bool:
        """Whether it still is this process's turn; it lasts from now on. Raises SQLAlchemyError."""
        if self._alone:
            return True
        async with self._engine.connect() as connection:
            return (await connection.execute(_RENEW)).rowcount == 1

    async def release(self) -> None:
        """Let another process take its turn at once. Raises SQLAlchemyError."""
        if not self._alone:
            async with self._engine.connect() as connection:
                await connection.execute(_RELEASE)
