"""Work orders (log.md R7, R9) and room in the log (R5), on a real broker and a real database."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from nats.js import JetStreamContext

from broker import Broker
from databases import url_of
from milepost.errors.v1 import errors_pb2
from milepost.event.v1.event_pb2 import LogLine, SessionCancelled, SessionCreated
from milepost.event.v1.record_pb2 import EventBatch
from runtime.broker import connect, ensure_streams, jetstream
from runtime.database import open_database
from runtime.errors import CallRefused
from runtime.work_queue import DEFAULT_CLASS, Line
from session_api.application.admission import Admission
from session_api.application.place_orders import PlaceOrders
from session_api.application.reconcile_orders import ReconcileOrders
from session_api.gateways.quotas_sql import Quotas
from session_api.gateways.request_ids import Asked
from session_api.gateways.sessions_sql import Sessions
from session_api.gateways.work_orders import WorkOrders
from session_api.main import MIGRATIONS
from session_log.codec import BatchHeaders, LogMessage, events, record
from session_log.writer import LogWriter, Place

pytestmark = pytest.mark.any_database

TENANT, POOL = "t", "p"
LINE = Line(POOL, DEFAULT_CLASS, TENANT)


@pytest.fixture
async def js(broker: Broker) -> AsyncIterator[JetStreamContext]:
    client = await connect(broker.url, name="test", appends=True)
    context = jetstream(client)
    await ensure_streams(context)
    yield context
    await client.close()


@pytest.fixture
async def sessions(tmp_path: Path) -> AsyncIterator[Sessions]:
    async with open_database(url_of(tmp_path / "api.db"), migrations=MIGRATIONS) as engine:
        yield Sessions(engine)


def place(js: JetStreamContext, sessions: Sessions) -> PlaceOrders:
    return PlaceOrders(WorkOrders(js, lease_s=10), sessions, Quotas(sessions._engine, sessions))


async def orders_waiting(js: JetStreamContext) -> int:
    return (await js.stream_info("WORK")).state.messages


async def know(sessions: Sessions, name: str, *, ended: bool = False) -> None:
    payloads = [SessionCreated(auto_start=True, pool=POOL), *([SessionCancelled()] if ended else [])]
    batch = EventBatch(records=[record(payload) for payload in payloads])
    message = LogMessage(1, BatchHeaders(1, 1, 0, "n", datetime.now(UTC)), batch)
    await sessions.apply([(TENANT, event) for event in events(name, message)])


async def test_publishing_an_order_twice_is_one_order(js: JetStreamContext) -> None:
    orders = WorkOrders(js, lease_s=10)
    await asyncio.gather(*(orders.publish(LINE, "s") for _ in range(5)))
    assert await orders_waiting(js) == 1


async def test_an_order_that_is_being_worked_on_is_still_the_only_one(js: JetStreamContext) -> None:
    orders = WorkOrders(js, lease_s=10)
    await orders.publish(LINE, "s")
    subscription = await js.pull_subscribe_bind("p-standard-t", stream="WORK")
    (delivery,) = await subscription.fetch(1)
    await orders.publish(LINE, "s")
    assert await orders_waiting(js) == 1
    await delivery.ack_sync()
    await orders.publish(LINE, "s")
    assert await orders_waiting(js) == 1


async def test_more_than_a_thousand_orders_can_be_out_at_once(js: JetStreamContext) -> None:
    orders = WorkOrders(js, lease_s=60)
    await asyncio.gather(*(orders.publish(LINE, f"s{n}") for n in range(1100)))
    subscription = await js.pull_subscribe_bind("p-standard-t", stream="WORK")
    out = 0
    while out < 1100:
        out += len(await subscription.fetch(200, timeout=5))
    assert out == 1100


async def test_a_lost_order_is_published_again_and_an_ended_session_gets_none(
    js: JetStreamContext, sessions: Sessions
) -> None:
    await know(sessions, "waits")
    await know(sessions, "ended", ended=True)
    reconciling = asyncio.create_task(ReconcileOrders(sessions, place(js, sessions), period_s=0.05)())
    async with asyncio.timeout(10):
        while not await orders_waiting(js):
            await asyncio.sleep(0.01)
        await js.purge_stream("WORK")
        while not await orders_waiting(js):
            await asyncio.sleep(0.01)
    reconciling.cancel()
    last = await js.get_last_msg("WORK", "milepost.work.p.standard.t.waits")
    assert last.subject == "milepost.work.p.standard.t.waits"
    assert await orders_waiting(js) == 1


async def test_the_reconciler_outlives_a_broker_that_restarts(
    js: JetStreamContext, sessions: Sessions, broker: Broker
) -> None:
    reconciling = asyncio.create_task(ReconcileOrders(sessions, place(js, sessions), period_s=0.05)())
    await broker.restart()
    await know(sessions, "waits")
    async with asyncio.timeout(20):
        while True:
            try:
                if await orders_waiting(js):
                    break
            except Exception:  # noqa: BLE001 - the broker may still be starting
                pass
            await asyncio.sleep(0.05)
    assert not reconciling.done()
    reconciling.cancel()


async def test_a_nearly_full_log_refuses_new_sessions_while_running_ones_can_end(broker: Broker) -> None:
    client = await connect(broker.url, name="test", appends=True)
    js = jetstream(client)
    await ensure_streams(js, log_max_bytes=20_000)
    await Admission(js).require_room()
    running = LogWriter(js, tenant=TENANT, session_id="s", place=Place(), nonce=uuid.uuid4().hex)
    while (await js.stream_info("SESSIONS")).state.bytes <= 18_000:
        await running.append([record(LogLine(text="x" * 300))], run=1, attempt=1)
    with pytest.raises(CallRefused) as refused:
        await Admission(js).require_room()
    assert refused.value.reason == errors_pb2.ERROR_REASON_LOG_FULL
    assert refused.value.retry_after_s
    await running.append([record(SessionCancelled())], run=1, attempt=1, wait_when_full=False)
    await client.close()


async def test_a_broker_that_is_away_is_said_to_be_away(js: JetStreamContext, broker: Broker) -> None:
    broker.kill()
    with pytest.raises(CallRefused) as refused:
        await Admission(js).require_room()
    assert refused.value.reason == errors_pb2.ERROR_REASON_BROKER_UNAVAILABLE


async def test_a_request_id_names_one_request_for_ever(sessions: Sessions) -> None:
    uses = await asyncio.gather(*(sessions.remember(TENANT, Asked("r", f"session-{n}", bytes([n]))) for n in range(10)))
    assert len({use.session_id for use in uses}) == 1
    assert await sessions.remember(TENANT, Asked("r", "later", b"later")) == uses[0]
    assert (await sessions.remember("other", Asked("r", "theirs", b""))).session_id == "theirs"


async def test_a_read_waits_for_the_event_it_was_promised(sessions: Sessions) -> None:
    reading = asyncio.create_task(sessions.get_when(TENANT, "s", min_seq=2, timeout_s=20))
    await know(sessions, "s", ended=True)
    session = await asyncio.wait_for(reading, 10)
    assert session is not None
    assert session.seq == 2
    assert (await sessions.get_when(TENANT, "s", min_seq=3, timeout_s=0.05)).seq == 2  # type: ignore[union-attr]
