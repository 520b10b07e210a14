"""Writing batches: COPY in its binary form on PostgreSQL, one prepared statement on SQLite."""

from collections.abc import Sequence

import psycopg
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from event_store.gateways.merged import Values
from event_store.gateways.tables import batches

_COLUMNS = [column.name for column in batches.columns]
_COPY = f"COPY batches ({', '.join(_COLUMNS)}) FROM STDIN (FORMAT BINARY)"
# The binary form wants the types as they are in the table.
_TYPES = [
    {"BIGINT": "int8", "INTEGER": "int4", "DOUBLE PRECISION": "float8", "DOUBLE": "float8", "BLOB": "bytea"}[
        str(column.type)
    ]
    for column in batches.columns
]


async def insert_batches(connection: AsyncConnection, rows: Sequence[Values]) -> int:
    """Write rows within the caller's transaction; returns the bytes of their events as stored.

    Raises IntegrityError when one of them is there already, OperationalError when the database is away.
    """
    if not rows:
        return 0
    if connection.dialect.name == "postgresql":
        await _copy(connection, rows)
    else:
        await connection.execute(insert(batches), rows)
    return sum(len(row["events"]) for row in rows)


async def _copy(connection: AsyncConnection, rows: Sequence[Values]) -> None:
    driver = (await connection.get_raw_connection()).driver_connection
    assert isinstance(driver, psycopg.AsyncConnection)
    try:
        async with driver.cursor() as cursor, cursor.copy(_COPY) as copy:
            copy.set_types(_TYPES)
            for row in rows:
                await copy.write_row([row[name] for name in _COLUMNS])
    # SQLAlchemy does not see what goes past it: its exceptions are what our callers know.
    except psycopg.IntegrityError as error:
        raise IntegrityError(_COPY, None, error) from error
    except psycopg.Error as error:
        raise OperationalError(_COPY, None, error) from error
