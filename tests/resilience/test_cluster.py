"""Replicas of everything: whichever broker, store, API or worker goes, sessions complete as if nothing had been."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cluster import SESSIONS, WORK, Cluster, running_cluster
from databases import Postgres
from resilience.load import load


@asynccontextmanager
async def replicas(folder: Path, *, workers: int, slots: int) -> AsyncIterator[Cluster]:
    """All of it, on a PostgreSQL of its own."""
    server = Postgres("postgresql18").start()
    try:
        server.execute("create database milepost")
        url = server.url("milepost")
        async with running_cluster(folder, database_url=url, workers=workers, slots=slots) as cluster:
            yield cluster
    finally:
        server.remove()


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_sessions_outlive_the_leader_of_their_logs_and_a_server_that_is_lost(tmp_path: Path) -> None:
    async with replicas(tmp_path / "cluster", workers=1, slots=4) as cluster:
        async with load(cluster.client, cluster.store, sessions=4, length_s=1500, pace=60) as running:
            victim = await cluster.brokers.leader(SESSIONS)
            cluster.brokers.kill(victim)
            await running.grow()
            await cluster.brokers.start(victim)
            await cluster.brokers.level()
            assert await running.running() == 4, "all of it happened while they ran"
        sessions, _, found = await running.judged()
        assert found == []
        assert {len(session.attempts) for session in sessions} == {1}, "a broker that goes costs no attempt"


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_everything_is_replaced_one_by_one_under_load_and_nothing_is_lost(tmp_path: Path) -> None:
    async with replicas(tmp_path / "cluster", workers=3, slots=4) as cluster:
        async with load(cluster.client, cluster.store, sessions=8, length_s=7200, pace=60) as running:
            for name in (*cluster.brokers.names, *cluster.services):
                await cluster.replace(name)
                await running.grow()
            assert await running.running() == 8, "all of it happened while they ran"
        _, _, found = await running.judged()
        assert found == []


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_fifty_sessions_outlive_their_leaders_one_after_the_other(tmp_path: Path) -> None:
    async with replicas(tmp_path / "cluster", workers=2, slots=25) as cluster:
        async with load(cluster.client, cluster.store, sessions=50, length_s=1800, pace=10) as running:
            for stream in (SESSIONS, WORK, SESSIONS):
                victim = await cluster.brokers.leader(stream)
                cluster.brokers.kill(victim)
                await running.grow()
                await cluster.brokers.start(victim)
                await cluster.brokers.level()
            assert await running.running() > 0, "it happened while they ran"
        _, _, found = await running.judged()
        assert found == []
