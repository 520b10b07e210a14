"""Rows that are there afterwards whether they were there before or not, whichever replica was first."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection


async def upsert(
    connection: AsyncConnection,
    table: Table,
    rows: Sequence[dict[str, Any]],
    *,
    lasting: Collection[str] = (),
    rising: str | None = None,
) -> None:
    """Put whole rows, by primary key. Columns in `lasting` stay as a row began; of `rising` a row with more stays."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    put = dialect.insert(table)
    key = [column.name for column in table.primary_key]
    changing = {
        name: put.excluded[name] for name in (column.name for column in table.columns) if name not in {*key, *lasting}
    }
    further = table.c[rising] <= put.excluded[rising] if rising else None
    await connection.execute(put.on_conflict_do_update(index_elements=key, set_=changing, where=further), rows)
