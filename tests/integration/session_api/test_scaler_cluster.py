"""The load of a work queue with replicas: known while a majority stands, and otherwise not said to be anything."""

import asyncio
from pathlib import Path

import nats.errors
import pytest

from cluster import running_brokers
from milepost.errors.v1 import errors_pb2
from runtime.broker import connect, disconnect, ensure_streams, jetstream
from runtime.errors import CallRefused
from runtime.work_queue import Line
from session_api.gateways.wanted_slots import WantedSlots
from session_api.gateways.work_orders import WorkOrders

pytestmark = pytest.mark.any_database

POOL = "p"
PATIENCE_S = 60.0


@pytest.mark.slow
async def test_without_a_leader_the_load_is_not_known_and_with_one_it_is_what_it_was(tmp_path: Path) -> None:
    async with running_brokers(tmp_path / "brokers") as brokers, asyncio.timeout(2 * PATIENCE_S):
        client = await connect(brokers.url, name="test", appends=True)
        js = jetstream(client)
        await ensure_streams(js, replicas=3)
        await brokers.level()
        await place(WorkOrders(js, lease_s=10), ["a", "b", "c"])
        wanted = WantedSlots(js)
        assert await answers(wanted, until_known=True) == {3}
        for name in brokers.names[1:]:
            brokers.kill(name)
        # One of three: it may believe itself the leader for a while, and then says what it last knew; an answer that
        # comes too late says nothing in between.
        async with asyncio.timeout(PATIENCE_S):
            while None not in (said := await answers(wanted)):
                assert said == {3}
                # It has its own matters to see to: while it is busy it does not notice that nobody follows.
                await asyncio.sleep(1.0)
        await brokers.start(*brokers.names[1:])
        assert await answers(wanted, until_known=True) <= {None, 3}
        assert await answers(wanted, until_known=True) == {3}
        await disconnect(client)


async def answers(wanted: WantedSlots, *, until_known: bool = False) -> set[int | None]:
    """What it says, once or until it says a number; None for UNAVAILABLE."""
    said: set[int | None] = set()
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                said.add(await wanted(POOL))
                return said
            except CallRefused as refused:
                if refused.reason != errors_pb2.ERROR_REASON_BROKER_UNAVAILABLE:
                    raise
                said.add(None)
            if not until_known:
                return said


async def place(orders: WorkOrders, sessions: list[str]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        for session in sessions:
            while True:
                try:
                    await orders.publish(Line(POOL, "standard", "t"), session)
                    break
                except nats.errors.Error:
                    continue
