"""Fifty running sessions lose their PostgreSQL again and again: nothing is lost, nobody has to do anything."""

import asyncio
import time
from pathlib import Path

import pytest

from databases import Postgres
from milepost.exceptions import Unavailable
from milepost.session.v1.session_pb2 import Session, SessionState
from session_logs import simulated, whole_log
from stack import RunningStack, running_stack

SESSIONS = 50
# How long the database stays away, seconds; longer than a lease of the ingester.
AWAY_S = 5.0
# So long after the last fault calls may still be refused, seconds; from then on the projection is never further behind
# than this, a few seconds of which mean that nothing was stored.
RECOVERED_S, BEHIND_S = 30.0, 15.0


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_fifty_sessions_outlive_a_database_that_is_killed_refuses_and_stands_still(tmp_path: Path) -> None:
    server = Postgres("postgresql18").start()
    try:
        server.execute("create database milepost")
        environment = {"MILEPOST_DATABASE": server.url("milepost")}
        async with running_stack(tmp_path / "stack", slots=SESSIONS, environment=environment) as stack:
            sessions = stack.client.sessions
            ids = [(await sessions.create_demo(seed=seed % 2)).session_id for seed in range(SESSIONS)]
            await _all_began(server)
            server.kill()
            await asyncio.sleep(AWAY_S)
            server.start()
            await _grew(server)
            server.execute("alter database milepost with allow_connections false")
            server.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = 'milepost'")
            await asyncio.sleep(AWAY_S)
            server.execute("alter database milepost with allow_connections true")
            await _grew(server)
            server.pause()
            await asyncio.sleep(AWAY_S)
            server.go_on()
            # Most of them still ran when the last fault was over.
            async with asyncio.timeout(480), asyncio.TaskGroup() as tasks:
                recovered = time.monotonic() + RECOVERED_S
                level = tasks.create_task(_stays_level(stack, recovered))
                ended = [await _waited_for(stack, session_id, recovered) for session_id in ids]
                level.cancel()
            assert {session.state for session in ended} == {SessionState.SESSION_STATE_COMPLETED}
            logs = [simulated(await whole_log(stack, session_id)) for session_id in ids]
            assert all(log == logs[number % 2] for number, log in enumerate(logs))
    finally:
        server.remove()


async def _waited_for(stack: RunningStack, session_id: str, recovered: float) -> Session:
    """Fifty sessions that catch up at once make everything late, but not for long."""
    while True:
        try:
            return await stack.client.sessions.wait(session_id)
        except Unavailable:
            if time.monotonic() > recovered:
                raise


async def _stays_level(stack: RunningStack, recovered: float) -> None:
    """What session_api says of sessions is what the store has, until cancelled."""
    await asyncio.sleep(max(0.0, recovered - time.monotonic()))
    while True:
        behind = (await stack.client.sessions.statistics()).behind_store.ToTimedelta().total_seconds()
        assert behind < BEHIND_S
        await asyncio.sleep(1)


async def _all_began(server: Postgres) -> None:
    async with asyncio.timeout(120):
        while _stored(server, "select count(distinct log_key) from event_store.batches where last_step > 0") < SESSIONS:
            await asyncio.sleep(0.1)


async def _grew(server: Postgres) -> None:
    """Ingestion goes on by itself."""
    events = "select coalesce(sum(event_count), 0) from event_store.batches"
    before = _stored(server, events)
    async with asyncio.timeout(60):
        while _stored(server, events) == before:
            await asyncio.sleep(0.1)


def _stored(server: Postgres, query: str) -> int:
    return int(str(server.execute(query, "milepost")[0][0]))
