"""Creating sessions: a batch of a thousand, many callers at once, one replica of the API and two on one PostgreSQL.

    python -m bench creates

Real services as processes, a broker and a PostgreSQL that write to disk as they do by default; no workers: sessions
are created and queued, and nothing takes them.
"""

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tests.broker import running_broker
from tests.databases import Postgres

from bench.lines import in_ms, told
from milepost.client import Milepost
from milepost.session.v1.session_pb2 import Scheduling, Session, SessionSpec
from milepost.session.v1.session_service_pb2 import CreateSessionRequest

BATCH = 1000
CALLERS = 100
CREATES = 2000
# A pool that nobody serves.
NOWHERE = Scheduling(pool="nowhere")
_START_S = 60.0
# On a machine that is busy elsewhere a figure is bad, and still a figure.
_PATIENCE_S = 300.0


async def measure() -> None:
    """Print the figures; each replica count has a database and a broker of its own."""
    server = Postgres("postgresql18").start()
    try:
        for replicas in (1, 2):
            server.execute(f"create database creates_{replicas}")
            async with _apis(server.url(f"creates_{replicas}"), replicas) as clients:
                digest = (await clients[0].sessions.create_demo(seed=1)).spec.scenario_digest
                # What is measured is neither the first connection nor the first statement.
                await _create_each(clients, digest, 200)
                print(f"  {replicas} session API{'s' if replicas > 1 else ''}, PostgreSQL")
                await _batches(clients, digest)
                await _callers(clients, digest)
    finally:
        server.remove()


async def _batches(clients: Sequence[Milepost], digest: str) -> None:
    took = []
    for _ in range(5):
        spec = SessionSpec(scenario_digest=digest, scheduling=NOWHERE)
        began = time.perf_counter()
        created = await clients[0].sessions.create_many([CreateSessionRequest(spec=spec)] * BATCH)
        took.append(time.perf_counter() - began)
        assert all(isinstance(one, Session) for one in created)
    told(f"  BatchCreateSessions of {BATCH}", f"{in_ms(took)}, {BATCH / statistics.median(took):.0f} sessions/s")


async def _callers(clients: Sequence[Milepost], digest: str) -> None:
    began = time.perf_counter()
    took = await _create_each(clients, digest, CREATES)
    whole = time.perf_counter() - began
    told(f"  CreateSession, {CALLERS} callers at once", f"{in_ms(took)}, {CREATES / whole:.0f} sessions/s")


async def _create_each(clients: Sequence[Milepost], digest: str, count: int) -> list[float]:
    """How long each took, seconds; CALLERS at once, the replicas in turn."""
    left, took = iter(range(count)), []

    async def caller(client: Milepost) -> None:
        for seed in left:
            spec = SessionSpec(scenario_digest=digest, seed=seed, scheduling=NOWHERE)
            began = time.perf_counter()
            await client.sessions.create(spec)
            took.append(time.perf_counter() - began)

    await asyncio.gather(*(caller(clients[number % len(clients)]) for number in range(CALLERS)))
    return took


@asynccontextmanager
async def _apis(database: str, replicas: int) -> AsyncIterator[list[Milepost]]:
    """A client for each replica; broker and event store beside them."""
    with tempfile.TemporaryDirectory(prefix="milepost-bench-") as name:
        folder = Path(name)
        async with AsyncExitStack() as stack, running_broker(folder / "nats") as broker:
            common = {"NATS_URL": broker.url, "LISTEN": "127.0.0.1:0", "DATABASE_URL": database}
            blobs = (folder / "blobs").as_uri()
            store = await stack.enter_async_context(
                _service(folder, "event_store", "store", common | {"BLOB_URL": blobs})
            )
            clients = []
            for number in range(replicas):
                settings = common | {"EVENT_STORE": store}
                api = await stack.enter_async_context(_service(folder, "session_api", f"api{number}", settings))
                clients.append(await stack.enter_async_context(Milepost.connect(api, store, retry_for_s=_PATIENCE_S)))
            yield clients


@asynccontextmanager
async def _service(folder: Path, module: str, name: str, settings: dict[str, str]) -> AsyncIterator[str]:
    """A process of ours; where it serves."""
    ready = folder / f"{name}.json"
    own = {"METRICS_LISTEN": "127.0.0.1:0", "READY_FILE": str(ready), **settings}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", module),
        env={**os.environ, **{f"MILEPOST_{key}": value for key, value in own.items()}},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(_START_S):
            while not ready.exists():
                assert process.returncode is None, f"{name} ended"
                await asyncio.sleep(0.05)
        yield json.loads(ready.read_text())["address"]
    finally:
        process.terminate()
        await process.wait()
