"""The work queue as workers pull from it, on a real broker: turns, wake-ups, orders that come again."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from broker import Broker
from milepost.dispatch.v1.dispatch_pb2 import WorkOrder
from runtime.broker import connect, ensure_streams, jetstream
from runtime.work_queue import Line
from session_api.gateways.work_orders import WorkOrders
from sim_worker.gateways.order_queue import OrderQueue

POOL = "p"
PATIENCE_S = 20.0
# What is at once takes no time that anything here waits for.
AT_ONCE_S = 2.0


@pytest.fixture
async def js(broker: Broker) -> AsyncIterator[JetStreamContext]:
    client = await connect(broker.url, name="test", appends=True)
    context = jetstream(client)
    await ensure_streams(context)
    yield context
    await client.close()


@asynccontextmanager
async def queue(broker: Broker, pool: str = POOL) -> AsyncIterator[OrderQueue]:
    """One worker's."""
    client = await connect(broker.url, name="worker", appends=True, echo=False)
    try:
        pulling = OrderQueue(client, pool)
        async with pulling.listening():
            yield pulling
    finally:
        await client.close()


async def send(
    js: JetStreamContext, tenant: str, count: int = 1, work_class: str = "standard", pool: str = POOL
) -> None:
    orders, line = WorkOrders(js, lease_s=30), Line(pool, work_class, tenant)
    for number in range(count):
        await orders.publish(line, f"{tenant}-{work_class}-{number}")


async def take(pulling: OrderQueue) -> Msg:
    async with asyncio.timeout(PATIENCE_S):
        while (order := await pulling.next()) is None:
            pass
    return order


def tenant_of(order: Msg) -> str:
    return WorkOrder.FromString(order.data).tenant


async def test_a_tenant_that_comes_later_does_not_wait_for_a_thousand_orders(
    js: JetStreamContext, broker: Broker
) -> None:
    await send(js, "many", 200)
    async with queue(broker) as pulling:
        held = [await take(pulling) for _ in range(4)]
        await send(js, "few", 2)
        assert [tenant_of(await take(pulling)) for _ in range(2)] == ["few", "few"]
        assert {tenant_of(order) for order in held} == {"many"}


async def test_tenants_share_the_slots_of_all_workers_alike(js: JetStreamContext, broker: Broker) -> None:
    for tenant, count in (("a", 40), ("b", 40), ("c", 3)):
        await send(js, tenant, count)
    async with queue(broker) as one, queue(broker) as other:
        taken = Counter([tenant_of(await take(worker)) for _ in range(8) for worker in (one, other)])
    # All of the smallest, and the rest divided.
    assert taken["c"] == 3
    assert abs(taken["a"] - taken["b"]) <= 1


async def test_a_single_slot_serves_every_tenant_and_class_in_turn(js: JetStreamContext, broker: Broker) -> None:
    for work_class in ("interactive", "standard", "batch"):
        await send(js, "a", 30, work_class)
    await send(js, "b", 13, "batch_low")
    served: Counter[str] = Counter()
    async with queue(broker) as pulling:
        for _ in range(26):
            order = await take(pulling)
            served[order.subject.split(".")[3]] += 1
            await order.ack_sync()
    assert served == {"interactive": 8, "standard": 4, "batch": 1, "batch_low": 13}


async def test_urgent_orders_of_a_class_come_before_those_that_were_there(js: JetStreamContext, broker: Broker) -> None:
    for work_class in ("standard_low", "standard", "standard_high"):
        await send(js, "a", 2, work_class)
    async with queue(broker) as pulling:
        order = [(await take(pulling)).subject.split(".")[3] for _ in range(6)]
    assert order == ["standard_high"] * 2 + ["standard"] * 2 + ["standard_low"] * 2


async def test_an_idle_worker_hears_of_the_first_order_of_a_tenant_at_once(
    js: JetStreamContext, broker: Broker
) -> None:
    async with queue(broker) as pulling:
        for tenant in ("new", "newer", "newest"):
            waiting = asyncio.create_task(take(pulling))
            # It looks, finds nothing, and listens.
            while not pulling._waited_for:
                await asyncio.sleep(0.01)
            await send(js, tenant)
            async with asyncio.timeout(AT_ONCE_S):
                assert tenant_of(await waiting) == tenant


async def test_an_order_that_is_given_back_comes_to_an_idle_worker_at_once(
    js: JetStreamContext, broker: Broker
) -> None:
    await send(js, "a")
    async with queue(broker) as one, queue(broker) as other:
        order = await take(one)
        waiting = asyncio.create_task(take(other))
        while not other._open_until:
            await asyncio.sleep(0.01)
        await order.nak()
        async with asyncio.timeout(AT_ONCE_S):
            again = await waiting
        assert again.subject == order.subject
        assert again.metadata.num_delivered == 2


async def test_an_order_whose_lease_is_over_comes_although_others_have_new_ones(
    js: JetStreamContext, broker: Broker
) -> None:
    orders = WorkOrders(js, lease_s=0.5)
    await orders.publish(Line(POOL, "standard", "lost"), "s")
    async with queue(broker) as dead:
        await take(dead)
    await send(js, "many", 30)
    async with queue(broker) as pulling:
        async with asyncio.timeout(PATIENCE_S):
            while tenant_of(order := await take(pulling)) != "lost":
                await order.ack_sync()
                await send(js, "many")
    assert order.metadata.num_delivered >= 2


async def test_what_comes_when_nobody_waits_is_given_back(js: JetStreamContext, broker: Broker) -> None:
    await send(js, "a", 1)
    await send(js, "b", 1)
    async with queue(broker) as full, queue(broker) as idle:
        held = [await take(full), await take(full)]
        assert await full.next() is None
        # Its pulls at both lines are still open; nobody there waits for what they bring.
        assert full._open_until
        await send(js, "c")
        await send(js, "d")
        for order in held:
            await order.nak()
        async with asyncio.timeout(PATIENCE_S):
            taken = {tenant_of(await take(idle)) for _ in range(4)}
        assert taken == {"a", "b", "c", "d"}


async def test_pools_do_not_meet(js: JetStreamContext, broker: Broker) -> None:
    await send(js, "a", pool="other")
    async with queue(broker) as pulling:
        waiting = asyncio.create_task(take(pulling))
        await send(js, "b")
        assert tenant_of(await waiting) == "b"
    info = await js.consumer_info("WORK", Line("other", "standard", "a").consumer)
    assert (info.num_pending, info.num_ack_pending) == (1, 0)
