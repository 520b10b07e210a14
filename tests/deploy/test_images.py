"""The images as they are deployed: built, run hardened on one machine, told to stop and killed in the middle."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import pytest
import pytest_asyncio

from deploy.engine import SERVICES, Composed, Engine, composed
from milepost.client import Milepost
from milepost.credentials import Credentials
from milepost.event.v1.event_pb2 import Event, EventKind
from milepost.session.v1.session_pb2 import Session, SessionState

pytestmark = [pytest.mark.images, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(1800)]

SECRETS = {"MILEPOST_AUTH_SHARED_KEY": "u" * 32, "MILEPOST_AUTH_SERVICE_KEY": "s" * 32, "NATS_PASSWORD": "secret"}
# Of the bundled city's day, which begins at seven; seconds.
END_TIME_S = 25200.0 + 3000.0
HALFWAY_STEP = 1000
USER = 10001
# Containers share the machine with whoever else there is.
PATIENCE_S = 300.0


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return Engine(tmp_path_factory.mktemp("engine"))


@pytest.fixture(scope="module")
def images(engine: Engine) -> dict[str, str]:
    return engine.build()


@pytest.fixture(scope="module")
def stack(engine: Engine, images: dict[str, str]) -> Iterator[Composed]:
    with composed(engine, images, SECRETS) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(stack: Composed) -> AsyncIterator[Milepost]:
    expires = datetime.now(UTC) + timedelta(hours=2)
    claims = {"sub": "ada", "tenant": "north", "exp": expires}
    token = Credentials(token=jwt.encode(claims, SECRETS["MILEPOST_AUTH_SHARED_KEY"], "HS256"))
    addresses = stack.session_api, stack.event_store
    async with Milepost.connect(*addresses, credentials=token, retry_for_s=PATIENCE_S) as connected:
        yield connected


async def at_step(client: Milepost, session_id: str, step: int) -> None:
    async for item in client.events.watch(session_id, kinds=[EventKind.EVENT_KIND_INTERVAL_CLOSED]):
        if isinstance(item, Event) and item.step >= step:
            return
    raise AssertionError("the session ended before")


async def log_of(client: Milepost, session_id: str) -> list[Event]:
    return [event async for event in client.events.read(session_id)]


def container_of(stack: Composed, log: list[Event]) -> str:
    """The worker that claimed a session last; its name begins with its host's, which is the container's id."""
    claims = [event.attempt_claimed.worker_id for event in log if event.HasField("attempt_claimed")]
    container_id = claims[-1].rpartition("-")[0]
    return stack.engine.podman("inspect", container_id, "--format", "{{.Name}}").stdout.strip()


async def interrupted(client: Milepost, seed: int) -> tuple[Session, list[Event]]:
    """A session in the middle of its run, and its log so far."""
    session = await client.sessions.create_demo(seed=seed, end_time_s=END_TIME_S)
    async with asyncio.timeout(PATIENCE_S):
        await at_step(client, session.session_id, HALFWAY_STEP)
    return session, await log_of(client, session.session_id)


async def completed(client: Milepost, session: Session) -> list[Event]:
    async with asyncio.timeout(PATIENCE_S):
        ended = await client.sessions.wait(session.session_id)
    assert ended.state == SessionState.SESSION_STATE_COMPLETED, ended.failure
    return await log_of(client, session.session_id)


def test_an_image_runs_as_a_numbered_user_and_holds_no_tools_of_developers(
    engine: Engine, images: dict[str, str]
) -> None:
    for service in SERVICES:
        settings = json.loads(engine.podman("image", "inspect", images[service]).stdout)[0]["Config"]
        assert settings["User"] == f"{USER}:{USER}"
        assert settings["Entrypoint"] == ["tini", "--"]
        assert f"SERVICE={service}" in settings["Env"]
    installed = engine.podman(
        *("run", "--rm", "--ulimit", "host", "--no-healthcheck", "--network", "none", images["sim_worker"]),
        *("python", "-c", "from importlib.metadata import distributions as d; print(*(x.name for x in d()))"),
    ).stdout.split()
    pinned = {line.split("==")[0] for line in Path("deploy/requirements.lock").read_text().splitlines() if "==" in line}
    assert {name.lower().replace("_", "-") for name in installed} - pinned <= {
        "milepost",
        "milepost-services",
        "setuptools",
    }
    assert "pytest" not in installed


async def test_every_container_is_hardened_and_says_that_it_serves(stack: Composed, client: Milepost) -> None:
    await client.reachable(PATIENCE_S)
    names = stack.containers()
    assert len(names) == 6, "broker, store, API, two workers, and a gateway, for podman-compose knows no profiles"
    for name in names:
        status = dict(line.split(":\t", 1) for line in stack.inside(name, "cat", "/proc/1/status").stdout.splitlines())
        assert int(status["CapBnd"], 16) == int(status["CapPrm"], 16) == 0, name
        assert status["NoNewPrivs"].strip() == "1"
        assert status["Seccomp"].strip() == "2"
        assert stack.inside(name, "touch", "/opt/milepost/anything").returncode != 0, "the root is read-only"
        if "nats" not in name:
            assert status["Uid"].split()[0] == str(USER)
            assert stack.inside(name, "python", "-m", "runtime.probe").returncode == 0


async def test_a_worker_told_to_stop_hands_its_session_over_and_exits_with_zero(
    stack: Composed, client: Milepost
) -> None:
    session, so_far = await interrupted(client, seed=1)
    worker = container_of(stack, so_far)
    await asyncio.to_thread(stack.engine.podman, "stop", "--time", "45", worker)
    assert stack.exit_code(worker) == 0
    log = await completed(client, session)
    assert [event for event in log if event.HasField("handed_over")], "no lease had to run out"
    assert container_of(stack, log) != worker
    stack.engine.podman("start", worker)


async def test_a_session_whose_worker_is_killed_completes_on_the_other(stack: Composed, client: Milepost) -> None:
    session, so_far = await interrupted(client, seed=2)
    worker = container_of(stack, so_far)
    await asyncio.to_thread(stack.engine.podman, "kill", "--signal", "KILL", worker)
    log = await completed(client, session)
    assert container_of(stack, log) != worker
    attempts = [event.attempt_claimed.attempt for event in log if event.HasField("attempt_claimed")]
    assert attempts == [1, 2]


async def test_services_told_to_stop_end_with_zero_and_go_on_where_they_were(stack: Composed, client: Milepost) -> None:
    before = [item.session_id async for item in client.sessions.list()]
    for service in ("session-api", "event-store"):
        await asyncio.to_thread(stack.engine.podman, "stop", "--time", "30", stack.name(service))
        assert stack.exit_code(stack.name(service)) == 0
    for service in ("event-store", "session-api"):
        stack.engine.podman("start", stack.name(service))
    assert [item.session_id async for item in client.sessions.list()] == before
