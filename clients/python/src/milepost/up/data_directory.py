"""The directory of an embedded Milepost: what lies where, and that only one process uses it.

D/lock              held while `milepost up` runs
D/nats.conf         the broker's configuration, written anew at each start
D/nats/             the broker's streams
D/event_store.db    logs
D/blobs/            scenarios and artifacts
D/session_api.db    projection, request ids
D/workers/<name>/   directories of running sessions
D/ready/<name>      what each service says when it serves
D/logs/<name>.log   what each process says
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class DataDirectoryInUse(RuntimeError):
    """Another `milepost up` runs in this directory."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"another `milepost up` is using {path}")
        self.path = path


class DataDirectory:
    """Paths below the data directory; `ready` and `logs` exist once it is held."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.broker_config = self.path / "nats.conf"
        self.broker_store = self.path / "nats"
        self.blobs = self.path / "blobs"
        self.workers = self.path / "workers"
        self._ready = self.path / "ready"
        self._logs = self.path / "logs"

    def database_url(self, service: str) -> str:
        """SQLAlchemy URL of a service's SQLite file."""
        return f"sqlite+aiosqlite:///{self.path / service}.db"

    def ready_file(self, name: str) -> Path:
        """Where a service says that it serves."""
        return self._ready / name

    def log_file(self, name: str) -> Path:
        """Where a process's standard error goes."""
        return self._logs / f"{name}.log"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the directory, made if it is not there, until the process ends at the latest.

        Raises DataDirectoryInUse.
        """
        for folder in (self.path, self.blobs, self.workers, self._ready, self._logs):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise DataDirectoryInUse(self.path) from error
            # Left by a life that was killed; process ids come again.
            for stale in self._ready.iterdir():
                stale.unlink()
            yield
        finally:
            os.close(lock)
