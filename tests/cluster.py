"""A Milepost of replicas for tests: three brokers in a cluster, two session APIs, two event stores, some workers.

    async with running_cluster(tmp_path, database_url=server.url("milepost")) as cluster:
        cluster.brokers.kill(await cluster.brokers.leader("SESSIONS"))
        await cluster.replace("event_store-1")

Every process is the test's own to kill, stop and start again; it comes back at its address.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import nats
import nats.errors

from milepost.client import Milepost
from milepost.up.broker import broker_binary, serves
from milepost.up.ports import HOST, free_ports

START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 60.0
SESSIONS, WORK = "SESSIONS", "WORK"
_LOOK_S = 0.02

_CONFIG = """\
server_name: {name}
listen: "{host}:{port}"
jetstream {{ store_dir: {store}, max_file_store: 64GB, max_memory_store: 64MB }}
cluster {{ name: milepost, listen: "{host}:{route}", routes: {routes} }}
"""


class Process:
    """One process that can be ended and started again."""

    def __init__(self, command: Sequence[str], log: Path, environment: dict[str, str] | None = None) -> None:
        self._command = command
        self._log = log
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the one that runs, or ran last."""
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def launch(self) -> None:
        """Start, and wait for nothing."""
        assert not self.alive
        # Nothing runs between fork and exec: this process has gRPC's threads.
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment
            )

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process is not None and self.alive:
            self._process.kill()
            self._process.wait(10)

    async def stop(self) -> None:
        """SIGTERM, and wait."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(STOP_TIMEOUT_S):
            while self.alive:
                await asyncio.sleep(_LOOK_S)

    @property
    def last_words(self) -> str:
        return self._log.read_text(errors="replace")[-4000:] if self._log.exists() else ""


class Brokers:
    """Servers of one cluster. Named `nats-1`, `nats-2` …; their addresses stay the same over restarts."""

    def __init__(self, folder: Path, size: int = 3) -> None:
        ports = free_ports(2 * size)
        self.names = [f"nats-{number}" for number in range(1, size + 1)]
        self._ports = dict(zip(self.names, ports[:size], strict=True))
        routes = [f"nats://{HOST}:{port}" for port in ports[size:]]
        self._folder = folder
        self._processes = {}
        for name, route in zip(self.names, ports[size:], strict=True):
            home = folder / name
            home.mkdir(parents=True)
            config = home / "nats.conf"
            config.write_text(
                _CONFIG.format(
                    name=name,
                    host=HOST,
                    port=self._ports[name],
                    route=route,
                    store=json.dumps(str(home / "js")),
                    routes=json.dumps(routes),
                )
            )
            self._processes[name] = Process((str(broker_binary()), "-c", str(config)), home / "log")

    @property
    def url(self) -> str:
        """All of them."""
        return ",".join(f"nats://{HOST}:{port}" for port in self._ports.values())

    @property
    def alive(self) -> list[str]:
        return [name for name, process in self._processes.items() if process.alive]

    async def start(self, *names: str) -> None:
        """Start those (or all), and wait until each greets."""
        for name in names or self.names:
            self._processes[name].launch()
        async with asyncio.timeout(START_TIMEOUT_S):
            for name in names or self.names:
                while not await serves(self._ports[name]):
                    assert self._processes[name].alive, self._processes[name].last_words
                    await asyncio.sleep(_LOOK_S)

    def kill(self, name: str) -> None:
        self._processes[name].kill()

    def lose(self, name: str) -> None:
        """Kill it, and take its disk away: it comes back with nothing."""
        self.kill(name)
        shutil.rmtree(self._folder / name / "js")

    async def stop(self, name: str) -> None:
        await self._processes[name].stop()

    def kill_all(self) -> None:
        for process in self._processes.values():
            process.kill()

    async def leader(self, stream: str) -> str:
        """Who leads a stream; waits until somebody does."""
        while True:
            found = await self._info(stream)
            if found and found.leader in self.alive:
                return str(found.leader)
            await asyncio.sleep(_LOOK_S)

    async def level(self, timeout_s: float = 60.0) -> None:
        """Wait until every stream has a leader, and every server of it is there and has caught up."""
        async with asyncio.timeout(timeout_s):
            for stream in (SESSIONS, WORK):
                while True:
                    found = await self._info(stream)
                    others = (found.replicas or []) if found else []
                    whole = len(others) == len(self.names) - 1 and all(
                        one.current and not one.offline for one in others
                    )
                    if found and found.leader in self.alive and whole:
                        break
                    await asyncio.sleep(0.1)

    async def _info(self, stream: str) -> nats.js.api.ClusterInfo | None:
        try:
            client = await nats.connect(
                [f"nats://{HOST}:{self._ports[name]}" for name in self.alive], max_reconnect_attempts=1
            )
            try:
                return (await client.jetstream(timeout=1.0).stream_info(stream)).cluster
            finally:
                await client.close()
        except (nats.errors.Error, OSError):
            return None


@contextlib.asynccontextmanager
async def running_brokers(folder: Path, size: int = 3) -> AsyncIterator[Brokers]:
    """A cluster of brokers for the time of the body."""
    brokers = Brokers(folder, size)
    try:
        await brokers.start()
        yield brokers
    finally:
        brokers.kill_all()


class Service(Process):
    """A service of ours: `start` returns when it serves."""

    def __init__(self, name: str, module: str, folder: Path, **settings: object) -> None:
        self._ready = folder / f"{name}.json"
        settings = {"metrics_listen": f"{HOST}:0", "ready_file": self._ready, **settings}
        environment = {**os.environ, **{f"MILEPOST_{key.upper()}": str(value) for key, value in settings.items()}}
        super().__init__((sys.executable, "-m", module), folder / f"{name}.log", environment)

    async def start(self) -> None:
        self.launch()
        await self.serves()

    def launch(self) -> None:
        self._ready.unlink(missing_ok=True)
        super().launch()

    async def serves(self) -> None:
        async with asyncio.timeout(START_TIMEOUT_S):
            while not self._ready.exists():
                assert self.alive, self.last_words
                await asyncio.sleep(_LOOK_S)

    @property
    def metrics(self) -> str:
        """Where its metrics are."""
        return str(json.loads(self._ready.read_text())["metrics"])


class Cluster:
    """All of it. `client` knows every replica; `services` by name: `session_api-1`, `event_store-2`, `worker-3` …"""

    def __init__(
        self, folder: Path, brokers: Brokers, *, database_url: str, workers: int, slots: int, replicas: int = 2
    ) -> None:
        self.brokers = brokers
        self.client: Milepost
        ports = free_ports(2 * replicas)
        apis = [f"{HOST}:{port}" for port in ports[:replicas]]
        stores = [f"{HOST}:{port}" for port in ports[replicas:]]
        # gRPC's own way to name several: the next one is tried when one is gone.
        self.api, self.store = f"ipv4:{','.join(apis)}", f"ipv4:{','.join(stores)}"
        shared = {"nats_url": brokers.url, "stream_replicas": len(brokers.names), "lease_s": 4, "reconcile_s": 2}
        urls = {"database_url": database_url}
        self.services: dict[str, Service] = {}

        def add(name: str, module: str, **settings: object) -> None:
            self.services[name] = Service(name, module, folder, **shared, **settings)

        for number, address in enumerate(stores, start=1):
            blobs = (folder / "blobs").as_uri()
            add(f"event_store-{number}", "event_store", listen=address, blob_url=blobs, **urls)
        for number, address in enumerate(apis, start=1):
            add(f"session_api-{number}", "session_api", listen=address, event_store=self.store, **urls)
        for number in range(1, workers + 1):
            add(
                name := f"worker-{number}",
                "sim_worker",
                listen=f"{HOST}:0",
                event_store=self.store,
                worker_id=name,
                work_dir=folder / name,
                slots=slots,
            )

    async def replace(self, name: str) -> None:
        """Stop a process as an orchestrator does, and start its successor: one step of a rolling restart."""
        if name in self.brokers.names:
            await self.brokers.stop(name)
            await self.brokers.start(name)
            await self.brokers.level()
            return
        await self.services[name].stop()
        await self.services[name].start()

    def log(self, name: str) -> str:
        return self.services[name].last_words


@contextlib.asynccontextmanager
async def running_cluster(
    folder: Path, *, database_url: str, workers: int = 2, slots: int = 4, replicas: int = 2
) -> AsyncIterator[Cluster]:
    """A cluster that serves, and a client of it."""
    folder.mkdir(parents=True, exist_ok=True)
    async with running_brokers(folder / "brokers") as brokers:
        cluster = Cluster(folder, brokers, database_url=database_url, workers=workers, slots=slots, replicas=replicas)
        try:
            for service in cluster.services.values():
                service.launch()
            for service in cluster.services.values():
                await service.serves()
            await brokers.level()
            async with Milepost.connect(cluster.api, cluster.store, retry_for_s=60.0) as client:
                cluster.client = client
                yield cluster
        finally:
            for service in cluster.services.values():
                service.kill()
