"""An event store that serves, in this process or in one of its own, and logs to put into it.

    async with running_store(folder, broker.url) as store:
        log = Log(js, "s1")
        await log.append(*lines("a", "b"))
        async with store.watching("s1") as watch: ...

In this process a store is stopped as SIGTERM would (`stop`); one of its own can be killed.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from prometheus_client import REGISTRY

from databases import hold, url_of
from event_store.main import serve
from event_store.settings import EventStoreSettings
from integration.event_store.store_calls import PATIENCE_S, Store, Watch, refusal
from integration.event_store.store_logs import Log, as_records, completed, created, interval, lines, reopened
from runtime.process import Lifetime

__all__ = [
    "PATIENCE_S",
    "Log",
    "Store",
    "StoreProcess",
    "Watch",
    "as_records",
    "completed",
    "created",
    "ingestion_held_up",
    "interval",
    "lines",
    "metric",
    "refusal",
    "reopened",
    "running_store",
    "settings_of",
]


def metric(name: str) -> float:
    """A metric of the store in this process."""
    return REGISTRY.get_sample_value(name) or 0.0


@contextlib.asynccontextmanager
async def ingestion_held_up(folder: Path) -> AsyncIterator[Callable[[], None]]:
    """Somebody else holds what the ingester needs until the body ends or calls what it gets; readers go on.

    Waits for it without blocking: the store runs on this very loop and may be about to commit.
    """
    async with asyncio.timeout(10):
        while (release := hold(folder / "events.db", "event_store.position")) is None:
            await asyncio.sleep(0.01)
    try:
        yield release
    finally:
        release()


def settings_of(folder: Path, nats_url: str, **changed: Any) -> EventStoreSettings:
    folder.mkdir(parents=True, exist_ok=True)
    if "database_url" not in changed:
        changed["database_url"] = url_of(folder / "events.db")
    return EventStoreSettings(
        nats_url=nats_url,
        listen="127.0.0.1:0",
        metrics_listen="127.0.0.1:0",
        blob_url=f"file://{folder / 'blobs'}",
        ready_file=folder / "ready.json",
        **changed,
    )


@contextlib.asynccontextmanager
async def running_store(folder: Path, nats_url: str, **changed: Any) -> AsyncIterator[Store]:
    """A store in this process."""
    settings = settings_of(folder, nats_url, **changed)
    ready = settings.ready_file
    assert ready is not None
    ready.unlink(missing_ok=True)
    lifetime = Lifetime(settings, "")
    serving = asyncio.create_task(serve(settings, lifetime))
    store = None
    try:
        await _exists(ready, serving)
        store = Store(json.loads(ready.read_text())["address"])
        store.stop = lifetime.stop
        yield store
    finally:
        lifetime.stop.set()
        if store is not None:
            await store.channel.close()
        await asyncio.wait_for(serving, PATIENCE_S)


class StoreProcess:
    """A store in a process of its own; where it serves is known when it has started."""

    def __init__(self, folder: Path, nats_url: str, **changed: Any) -> None:
        self._settings = settings_of(folder, nats_url, **changed)
        self._log = folder / "log"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> Store:
        """Start it."""
        ready = self._settings.ready_file
        assert ready is not None
        ready.unlink(missing_ok=True)
        said = self._settings.model_dump(exclude_none=True)
        named = {f"MILEPOST_{name.upper()}": str(value) for name, value in said.items()}
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "event_store", env={**os.environ, **named}, stdout=log, stderr=log
            )
        died = asyncio.create_task(self._process.wait())
        await _exists(ready, died)
        died.cancel()
        return Store(json.loads(ready.read_text())["address"])

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    @property
    def memory_bytes(self) -> int:
        """What it has in memory now."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))

    async def end(self, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal and wait for the end; the exit code."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(number)
        return await asyncio.wait_for(self._process.wait(), PATIENCE_S)


async def _exists(path: Path, running: asyncio.Task[Any]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not path.exists():
            await asyncio.wait({running}, timeout=0.01)
            if running.done():
                running.result()
                raise AssertionError("ended before it was ready")
