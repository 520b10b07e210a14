"""Anything may be killed at any moment: sessions complete, and their logs are what they would have been."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from milepost.event.v1.event_pb2 import Event, EventKind, Verdict
from milepost.event.v1.event_service_pb2 import Terminal
from milepost.session.v1.session_pb2 import SessionState
from session_logs import simulated, whole_log
from stack import RunningStack, running_stack

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

# The first 25 minutes of the bundled city, which begins at seven: long enough to be hit, short enough to repeat.
END_TIME_S = 25200.0 + 1500.0
# How long a worker may be silent, seconds.
LEASE_S = "3"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningStack]:
    """One stack for all tests here: what was killed is up again before the next one begins."""
    async with running_stack(
        tmp_path_factory.mktemp("stack"), workers=2, slots=2, environment={"MILEPOST_LEASE_S": LEASE_S}
    ) as running:
        yield running


async def at_step(stack: RunningStack, name: str, step: int) -> Event:
    """The first interval at or after a step, once it is stored."""
    async for item in stack.client.events.watch(name, kinds=[EventKind.EVENT_KIND_INTERVAL_CLOSED]):
        if isinstance(item, Event) and item.step >= step:
            return item
    raise AssertionError("the session ended before")


async def watched(stack: RunningStack, name: str) -> list[Event]:
    return [item async for item in stack.client.events.watch(name) if not isinstance(item, Terminal)]


async def assert_undisturbed(stack: RunningStack, name: str) -> list[Event]:
    """The log is gap-free, complete, and says what a session without any mishap says."""
    session = await stack.client.sessions.wait(name)
    assert session.state == SessionState.SESSION_STATE_COMPLETED, session.failure
    log = await whole_log(stack, name)
    calm = await stack.client.sessions.create_demo(seed=session.spec.seed, end_time_s=session.scene.end_time_s)
    await stack.client.sessions.wait(calm.session_id)
    assert simulated(log) == simulated(await whole_log(stack, calm.session_id))
    return log


@pytest.mark.timeout(240)
async def test_store_api_and_broker_killed_in_turn_cost_a_session_nothing(stack: RunningStack) -> None:
    session = await stack.client.sessions.create_demo(seed=1)
    name = session.session_id
    watching = asyncio.create_task(watched(stack, name))
    killed_at, killed = [], {}
    for step, victim in ((100, "nats"), (300, "nats"), (500, "session_api"), (500, "event_store")):
        await at_step(stack, name, step)
        killed[victim] = stack.kill(victim)
        killed_at.append(time.time())
        if victim == "nats":
            await stack.restarted(victim, killed[victim])
    for victim in ("session_api", "event_store"):
        await stack.restarted(victim, killed[victim])
    log = await assert_undisturbed(stack, name)
    assert max(killed_at) < log[-1].record_time.ToMicroseconds() / 1e6, "all of it happened during the run"
    assert [item for item in await watching if isinstance(item, Event)] == log, "the watcher lived through all of it"
    attempts = [event.attempt_claimed.attempt for event in log if event.HasField("attempt_claimed")]
    assert attempts == [1], "orders delivered again by the restarted broker were adopted (R8)"


@pytest.mark.timeout(240)
async def test_a_killed_workers_sessions_go_on_elsewhere_byte_for_byte(stack: RunningStack) -> None:
    sessions = [await stack.client.sessions.create_demo(seed=seed, end_time_s=END_TIME_S) for seed in (1, 2)]
    names = [session.session_id for session in sessions]
    await asyncio.gather(*(at_step(stack, name, 300) for name in names))
    victim = (await stack.client.sessions.get(names[0])).worker_id
    killed = stack.kill(victim)
    log = await assert_undisturbed(stack, names[0])
    claims = [event.attempt_claimed for event in log if event.HasField("attempt_claimed")]
    assert [claim.attempt for claim in claims] == [1, 2]
    judged = [event.recovery_judged for event in log if event.HasField("recovery_judged")]
    assert [verdict.verdict for verdict in judged] == [Verdict.VERDICT_EXACT]
    assert judged[0].intervals >= 30
    await assert_undisturbed(stack, names[1])
    await stack.restarted(victim, killed)


@pytest.mark.timeout(240)
async def test_a_worker_that_is_stopped_hands_its_sessions_over(stack: RunningStack) -> None:
    session = await stack.client.sessions.create_demo(seed=1, end_time_s=END_TIME_S)
    await at_step(stack, session.session_id, 300)
    worker = (await stack.client.sessions.get(session.session_id)).worker_id
    stopped = stack.kill(worker, signal.SIGTERM)
    log = await assert_undisturbed(stack, session.session_id)
    await stack.restarted(worker, stopped)
    kinds = [event.WhichOneof("payload") for event in log]
    assert kinds.count("handed_over") == 1
    assert kinds[kinds.index("handed_over") + 1] == "attempt_claimed"


@pytest.mark.timeout(240)
async def test_a_child_that_is_killed_costs_its_session_nothing_and_another_less(stack: RunningStack) -> None:
    struck, other = [await stack.client.sessions.create_demo(seed=seed, end_time_s=END_TIME_S) for seed in (1, 2)]
    await asyncio.gather(*(at_step(stack, one.session_id, 100) for one in (struck, other)))
    (directory,) = [path for path in stack.session_directories() if struck.session_id in path.name]
    inside = directory.resolve()
    children = [pid for pid in stack.processes() if inside in Path(f"/proc/{pid}/cwd").resolve().parents]
    assert children
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    ended = await stack.client.sessions.wait(struck.session_id)
    assert ended.state == SessionState.SESSION_STATE_COMPLETED
    assert [attempt.verdict for attempt in ended.attempts][-1] == "EXACT"
    undisturbed = await stack.client.sessions.create_demo(seed=1, end_time_s=END_TIME_S)
    await stack.client.sessions.wait(undisturbed.session_id)
    logs = [await whole_log(stack, one.session_id) for one in (struck, undisturbed)]
    assert simulated(logs[0]) == simulated(logs[1])
    assert (await stack.client.sessions.wait(other.session_id)).state == SessionState.SESSION_STATE_COMPLETED
