"""Opening a service's database: SQLite embedded, PostgreSQL in production, migrated to the newest schema.

SQLite is for one process: a lock file beside the database says so at once, instead of "database is locked"
later. Writers of that process take turns with a lock of their own; readers use WAL and never wait.
"""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, event, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

T = TypeVar("T")
Work = Callable[[AsyncConnection], Awaitable[Any]]

# How long a statement waits for another connection's lock, milliseconds.
_SQLITE_BUSY_MS = 5000


class GroupCommit:
    """Writes of this process: what waits while a transaction commits shares the next one, and its fsync.

    Works of one transaction see each other. One that raises is tried again alone, and raises to its caller alone.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._turn = asyncio.Lock()
        self._waiting: list[tuple[Work, asyncio.Future[Any]]] = []

    async def run(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Do `work` in a transaction; its result once that is durable."""
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((work, done))
        async with self._turn:
            # Whoever has the turn commits for all who wait.
            if not done.done():
                batch, self._waiting = self._waiting, []
                await asyncio.shield(self._commit(batch))
        return await done

    async def _commit(self, batch: list[tuple[Work, asyncio.Future[Any]]]) -> None:
        try:
            async with self._engine.begin() as connection:
                results = [await work(connection) for work, _ in batch]
        except SQLAlchemyError as error:
            if len(batch) == 1:
                _settle(batch[0][1], error)
                return
            for item in batch:
                await self._commit([item])
        except BaseException:
            # A defect in one work: nobody may wait for ever.
            for _, done in batch:
                done.cancel()
            raise
        else:
            for (_, done), result in zip(batch, results, strict=True):
                _settle(done, result)


def _settle(done: "asyncio.Future[Any]", outcome: Any) -> None:
    """Give a caller its outcome, unless it has been cancelled."""
    if done.done():
        return
    if isinstance(outcome, SQLAlchemyError):
        done.set_exception(outcome)
    else:
        done.set_result(outcome)


class DatabaseInUse(RuntimeError):
    """Another process holds this SQLite database."""


@asynccontextmanager
async def open_database(url: str, *, migrations: Path) -> AsyncIterator[AsyncEngine]:
    """The migrated database at an SQLAlchemy URL (`sqlite+aiosqlite:///file`, `postgresql+psycopg://…`).

    Raises DatabaseInUse when another process has the SQLite file open.
    """
    parsed = make_url(url)
    lock = _lock_file(Path(parsed.database)) if parsed.get_backend_name() == "sqlite" and parsed.database else None
    engine = create_async_engine(parsed)
    if lock is not None:
        event.listen(engine.sync_engine, "connect", _durable_sqlite)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_migrate, migrations)
        yield engine
    finally:
        await asyncio.shield(engine.dispose())
        if lock is not None:
            os.close(lock)


def _lock_file(database: Path) -> int:
    database.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(database.with_name(database.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise DatabaseInUse(f"{database} is in use by another process") from error
    return descriptor


def _durable_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute(f"PRAGMA busy_timeout={_SQLITE_BUSY_MS}")
    cursor.close()


def _migrate(connection: Connection, migrations: Path) -> None:
    config = Config()
    config.set_main_option("script_location", str(migrations))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
