"""Sets of rows of the projection, written with one statement whatever their number.

PostgreSQL gets each column as an array: a statement that names every value costs its driver more to read than the
server to do, and one for each row is a message for each row. SQLite is in this process and takes rows one by one.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Table, bindparam, column, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from session_api.gateways.tables import outcomes, sessions

Values = dict[str, Any]
_Insert = postgresql.Insert | sqlite.Insert

# Columns that stay as a row began.
_LASTING = frozenset({"tenant", "session_id", "pool", "create_time"})


async def put_sessions(connection: AsyncConnection, rows: Sequence[Values]) -> None:
    """Rows of sessions, new or known. One that is further already, because of another replica, stays."""
    await _execute(connection, _PUT_SESSIONS, rows)


async def put_outcomes(connection: AsyncConnection, rows: Sequence[Values]) -> None:
    """What became of commands. A command has one outcome; a log that held two would keep the first."""
    await _execute(connection, _PUT_OUTCOMES, rows)


def _on_postgresql(table: Table) -> postgresql.Insert:
    columns = list(table.columns)
    arrays = [bindparam(it.name, type_=postgresql.ARRAY(it.type)) for it in columns]
    rows = func.unnest(*arrays).table_valued(*(column(it.name, it.type) for it in columns))
    given = rows.render_derived(name="given")
    return postgresql.insert(table).from_select([it.name for it in columns], select(*given.columns))


def _further(put: _Insert) -> _Insert:
    changing = {it.name: put.excluded[it.name] for it in sessions.columns if it.name not in _LASTING}
    key = [sessions.c.tenant, sessions.c.session_id]
    return put.on_conflict_do_update(index_elements=key, set_=changing, where=sessions.c.seq < put.excluded.seq)


_PUT_SESSIONS: dict[str, _Insert] = {
    "postgresql": _further(_on_postgresql(sessions)),
    "sqlite": _further(sqlite.insert(sessions)),
}
_PUT_OUTCOMES: dict[str, _Insert] = {
    "postgresql": _on_postgresql(outcomes).on_conflict_do_nothing(),
    "sqlite": sqlite.insert(outcomes).on_conflict_do_nothing(),
}


async def _execute(connection: AsyncConnection, statements: dict[str, _Insert], rows: Sequence[Values]) -> None:
    dialect = connection.dialect.name
    if dialect == "postgresql":
        await connection.execute(statements[dialect], {name: [row[name] for row in rows] for name in rows[0]})
    else:
        await connection.execute(statements[dialect], rows)
