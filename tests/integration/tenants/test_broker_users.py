"""deploy/nats/users.conf: with it everything works, and no service can do more on the broker than it needs."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import nats
import pytest
import pytest_asyncio
from guarded_stack import SERVICES_KEY, USERS_KEY, serving, token
from nats.aio.client import Client
from running_store import running_store

from broker import Broker, running_broker
from databases import KINDS, chosen, url_of
from milepost.client import Milepost
from milepost.credentials import Credentials
from milepost.session.v1.session_pb2 import Session, SessionSpec, SessionState
from session_api.settings import SessionApiSettings

pytestmark = pytest.mark.asyncio(loop_scope="module")

USERS = Path(__file__).parents[3] / "deploy" / "nats" / "users.conf"
PASSWORD = "s3cret/@:%"
ADDRESS_PASSWORD = "s3cret%2F%40%3A%25"
PATIENCE_S = 100.0
# When the demo city begins, s.
BEGIN_S = 25200.0
KEYS = {"auth_shared_key": USERS_KEY, "auth_service_key": SERVICES_KEY}


class Guards:
    """A broker with users."""

    def __init__(self, broker: Broker, log: Path) -> None:
        self._host = broker.url.removeprefix("nats://")
        self._log = log

    def url(self, user: str) -> str:
        return f"nats://{user}:{ADDRESS_PASSWORD}@{self._host}"

    @property
    def violations(self) -> list[str]:
        """What the broker has refused."""
        return [line for line in self._log.read_text().splitlines() if "iolation" in line]

    @asynccontextmanager
    async def as_user(self, user: str) -> AsyncIterator[tuple[Client, list[str]]]:
        """A connection, and what it was refused."""
        refused: list[str] = []

        async def note(error: Exception) -> None:
            refused.append(str(error).lower())

        servers, password = f"nats://{self._host}", PASSWORD
        client = await nats.connect(servers, user=user, password=password, error_cb=note, allow_reconnect=False)
        try:
            yield client, refused
        finally:
            await client.close()


@pytest.fixture(scope="module")
def passwords() -> Iterator[None]:
    """In the environment of the broker that is started next."""
    names = [f"MILEPOST_NATS_{name}" for name in ("EVENT_STORE", "SESSION_API", "SIM_WORKER")]
    os.environ.update(dict.fromkeys(names, json.dumps(PASSWORD)))
    yield
    for name in names:
        del os.environ[name]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def guards(tmp_path_factory: pytest.TempPathFactory, passwords: None) -> AsyncIterator[Guards]:
    """A broker that knows our services only."""
    folder = tmp_path_factory.mktemp("guards")
    async with running_broker(folder, f"include {json.dumps(os.path.relpath(USERS, folder))}") as broker:
        yield Guards(broker, folder / "nats.log")


@asynccontextmanager
async def worker(guards: Guards, store: str, folder: Path) -> AsyncIterator[None]:
    """A worker in a process of its own, stopped as it should be."""
    settings = {
        "NATS_URL": guards.url("sim_worker"),
        "LISTEN": "127.0.0.1:0",
        "METRICS_LISTEN": "127.0.0.1:0",
        "EVENT_STORE": store,
        "WORK_DIR": str(folder),
        "WORKER_ID": "guarded",
        **{name.upper(): value for name, value in KEYS.items()},
    }
    environment = {**os.environ, **{f"MILEPOST_{name}": value for name, value in settings.items()}}
    with (folder.parent / "worker.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "sim_worker", env=environment, stdout=log, stderr=log
        )
    try:
        yield
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), PATIENCE_S) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_two_tenants_are_served_by_services_with_the_least_subjects(guards: Guards, tmp_path: Path) -> None:
    refused_before = len(guards.violations)
    with chosen(KINDS[0]):
        async with running_store(tmp_path / "store", guards.url("event_store"), **KEYS) as store:
            wanted = SessionApiSettings(
                nats_url=guards.url("session_api"),
                listen="127.0.0.1:0",
                metrics_listen="127.0.0.1:0",
                database_url=url_of(tmp_path / "api.db"),
                event_store=store.address,
                ready_file=tmp_path / "api.json",
                **KEYS,
            )
            async with (
                serving(wanted) as api,
                worker(guards, store.address, tmp_path / "worker"),
                Milepost.connect(api, store.address, credentials=proof_of("north")) as north,
                Milepost.connect(api, store.address, credentials=proof_of("south")) as south,
                asyncio.timeout(PATIENCE_S),
            ):
                # One name, two tenants, one worker.
                ended = await asyncio.gather(*(run_rush(client, seed) for seed, client in enumerate((north, south), 1)))
                assert [one.spec.seed for one in ended] == [1, 2]
                assert ended[0].results.kpis != ended[1].results.kpis
                assert (await north.sessions.state("rush", sim_time_s=BEGIN_S + 30)).sim_time_s == BEGIN_S + 30
    assert guards.violations[refused_before:] == []


def proof_of(tenant: str) -> Credentials:
    return Credentials(token("ada", tenant=tenant))


async def run_rush(client: Milepost, seed: int) -> Session:
    """A minute of the demo city, watched to its end."""
    demo = await client.sessions.create_demo(seed=seed, end_time_s=BEGIN_S + 1)
    spec = SessionSpec(scenario_digest=demo.spec.scenario_digest, seed=seed, end_time_s=BEGIN_S + 60)
    await client.sessions.create(spec, session_id="rush")
    ended = await client.sessions.wait("rush")
    assert ended.state == SessionState.SESSION_STATE_COMPLETED
    return ended


FOREIGN = {
    "event_store": {
        "publish": [
            "milepost.log.north.s",
            "milepost.work.p.c.t.s",
            "milepost.worker.w.ask",
            "$JS.ACK.WORK.c.1.1.1.1.1",
        ],
        "subscribe": ["milepost.work.>", "_INBOX.session_api.>", ">"],
    },
    "session_api": {
        "publish": [
            "milepost.committed.t.s",
            "milepost.frames.t.s",
            "milepost.workers.w",
            "$JS.API.STREAM.DELETE.SESSIONS",
        ],
        "subscribe": ["_INBOX.event_store.>", "milepost.frames.>", ">"],
    },
    "sim_worker": {
        "publish": [
            "milepost.committed.t.s",
            "milepost.replay.p",
            "$JS.API.STREAM.PURGE.SESSIONS",
            "$JS.API.STREAM.DELETE.WORK",
            "$JS.API.CONSUMER.CREATE.SESSIONS",
        ],
        "subscribe": ["_INBOX.session_api.>", "milepost.workers.>", ">"],
    },
}


@pytest.mark.parametrize("user", FOREIGN)
async def test_a_service_is_refused_what_is_not_its_own(guards: Guards, user: str) -> None:
    async with guards.as_user(user) as (client, refused):
        for subject in FOREIGN[user]["publish"]:
            await client.publish(subject, b"")
        for subject in FOREIGN[user]["subscribe"]:
            await client.subscribe(subject)
        await client.flush()
        expected = [f'to "{subject.lower()}"' for way in FOREIGN[user].values() for subject in way]
        async with asyncio.timeout(PATIENCE_S):
            while len(refused) < len(expected):
                await asyncio.sleep(0.01)
        assert [words for words in expected if not any(words in said for said in refused)] == []


async def test_nobody_else_gets_in(guards: Guards) -> None:
    with pytest.raises(nats.errors.Error):
        await nats.connect(f"nats://{guards._host}", allow_reconnect=False, connect_timeout=2)
