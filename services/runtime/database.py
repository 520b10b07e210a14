"""Opening a service's database: SQLite embedded, PostgreSQL in production, migrated to the newest schema.

SQLite is for one process: a lock file beside the database says so at once, instead of "database is locked"
later. Writers of that process take turns with a lock of their own; readers use WAL and never wait.

On PostgreSQL any number of processes share a database. Each service has a schema of its own name, so that all of them
can be given one URL; whoever migrates holds a lock, and the others find it done.
"""

import asyncio
import contextlib
import fcntl
import functools
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import structlog
from alembic import command
from alembic.config import Config
from sqlalchemy import URL, Connection, event, make_url, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from runtime.logs import configure_logs

log = structlog.get_logger()
T = TypeVar("T")
P = ParamSpec("P")
Work = Callable[[AsyncConnection], Awaitable[Any]]

# How long a statement waits for another connection's lock, milliseconds.
_SQLITE_BUSY_MS = 5000
# How long to wait for a connection, from the server or from the pool, seconds.
_CONNECT_S = 5
# How long a read may take before its caller hears that the database does not answer, seconds.
READ_S = 5.0
# Connections of a process; some more while many calls come at once.
_POOL, _POOL_MORE = 8, 8
# A process that stands still within a transaction loses it, and its locks, after so long, milliseconds.
_IDLE_IN_TRANSACTION_MS = 5_000
# How long a service that starts waits for its database, and how often it looks, seconds.
_START_S, _START_AGAIN_S = 20.0, 0.25
# Whoever migrates holds this advisory lock; any number that nobody else uses.
_MIGRATION_LOCK = 7_400_740


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
            # Trying each alone would only wait as often.
            if len(batch) == 1 or is_away(error):
                for _, done in batch:
                    _settle(done, error)
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


def is_away(error: BaseException) -> bool:
    """Whether the database is to blame for an exception: it is gone, full, refuses or does not answer in time."""
    if isinstance(error, PoolExhausted | InterfaceError):
        return True
    if not isinstance(error, DBAPIError):
        return False
    state = str(getattr(error.orig, "sqlstate", None) or "")
    # 40: two transactions met. 25P03: this process stood still within one, or the server did.
    return (isinstance(error, OperationalError) and not state.startswith("40")) or state == "25P03"


def _settle(done: "asyncio.Future[Any]", outcome: Any) -> None:
    """Give a caller its outcome, unless it has been cancelled."""
    if done.done():
        return
    if isinstance(outcome, SQLAlchemyError):
        done.set_exception(outcome)
    else:
        done.set_result(outcome)


def in_time(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """A read that raises OperationalError after READ_S, whatever the server does.

    The query is left to its fate: breaking it off asks a server that does not answer, and waits for it.
    """

    @functools.wraps(method)
    async def bounded(*args: P.args, **kwargs: P.kwargs) -> T:
        reading = asyncio.create_task(method(*args, **kwargs), name="read")
        try:
            await asyncio.wait({reading}, timeout=READ_S)
            if reading.done():
                return reading.result()
        finally:
            reading.cancel()
            reading.add_done_callback(_forget)
        raise OperationalError(None, None, TimeoutError(f"no answer within {READ_S} s"))

    return bounded


def _forget(task: "asyncio.Task[Any]") -> None:
    """Nobody wants its outcome any more."""
    if not task.cancelled():
        task.exception()


def each_alone(engine: AsyncEngine) -> AsyncEngine:
    """For reads of one query: on PostgreSQL a transaction around it would be two more journeys to the server.

    SQLite opens none for a read, and being told not to is what would be four more journeys, to its thread.
    """
    return engine if engine.dialect.name == "sqlite" else engine.execution_options(isolation_level="AUTOCOMMIT")


@asynccontextmanager
async def connected(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection of an engine with options of its own, which are set on each connection it gives.

    A cancellation in the middle of that would lose the connection to the pool: it waits until that is done.
    """
    opening = asyncio.create_task(_opened(engine), name="connect")
    try:
        connection = await asyncio.shield(opening)
    except asyncio.CancelledError:
        await asyncio.shield(_given_back(opening))
        raise
    try:
        yield connection
    finally:
        await asyncio.shield(connection.close())


async def _opened(engine: AsyncEngine) -> AsyncConnection:
    return await engine.connect()


async def _given_back(opening: "asyncio.Task[AsyncConnection]") -> None:
    with contextlib.suppress(SQLAlchemyError):
        await (await opening).close()


class DatabaseInUse(RuntimeError):
    """Another process holds this SQLite database."""


@asynccontextmanager
async def open_database(url: str, *, migrations: Path) -> AsyncIterator[AsyncEngine]:
    """The migrated database at an SQLAlchemy URL (`sqlite+aiosqlite:///file`, `postgresql://user@host/name`).

    Raises DatabaseInUse when another process has the SQLite file open, OperationalError when no database answers.
    """
    parsed = make_url(url)
    lock = _lock_file(Path(parsed.database)) if parsed.get_backend_name() == "sqlite" and parsed.database else None
    # migrations/ lies in the gateways of its service, whose name is that of the schema.
    schema = migrations.parent.parent.name
    engine = _sqlite(parsed) if parsed.get_backend_name() == "sqlite" else _postgresql(parsed, schema)
    try:
        await _migrated(engine, migrations, schema)
        yield engine
    finally:
        await asyncio.shield(engine.dispose())
        if lock is not None:
            os.close(lock)


def migrate(url: str, *, migrations: Path) -> None:
    """Migrate and come back; see open_database."""

    async def opened() -> None:
        async with open_database(url, migrations=migrations):
            log.info("migrated", schema=migrations.parent.parent.name)

    configure_logs(service=migrations.parent.parent.name, level="INFO")
    asyncio.run(opened())


def _sqlite(url: URL) -> AsyncEngine:
    engine = create_async_engine(url)
    if url.database:
        event.listen(engine.sync_engine, "connect", _durable_sqlite)
    return engine


def _postgresql(url: URL, schema: str) -> AsyncEngine:
    return create_async_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_size=_POOL,
        max_overflow=_POOL_MORE,
        pool_timeout=_CONNECT_S,
        connect_args={
            "connect_timeout": _CONNECT_S,
            "options": f"-c search_path={schema} -c idle_in_transaction_session_timeout={_IDLE_IN_TRANSACTION_MS}",
            # Of this process alone: whoever takes its lease over ends its connections by this name.
            "application_name": f"{schema}-{uuid.uuid4().hex}",
        },
    )


async def _migrated(engine: AsyncEngine, migrations: Path, schema: str) -> None:
    """Migrate; a database that is just starting is waited for."""
    for _ in range(int(_START_S / _START_AGAIN_S)):
        try:
            async with engine.begin() as connection:
                if engine.dialect.name == "postgresql":
                    await connection.execute(text(f"select pg_advisory_xact_lock({_MIGRATION_LOCK})"))
                    await connection.execute(text(f"create schema if not exists {schema}"))
                await connection.run_sync(_migrate, migrations)
        except OperationalError as error:
            log.warning("waiting for the database", error=repr(error))
            await asyncio.sleep(_START_AGAIN_S)
        else:
            return
    async with engine.connect():
        """Raises what keeps us from it."""


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
