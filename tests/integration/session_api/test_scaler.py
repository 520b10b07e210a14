"""The external scaler as KEDA's operator calls it, on a real broker."""

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import grpc
import pytest
from running_api import PATIENCE_S, Api, refusal, running_api

from broker import Broker
from externalscaler import externalscaler_pb2 as pb
from externalscaler.externalscaler_pb2_grpc import ExternalScalerStub
from runtime.work_queue import Line
from session_api.gateways.work_orders import WorkOrders

pytestmark = pytest.mark.any_database

POOL = "sumo-1_28_0"
# As a ScaledObject has it: KEDA passes its own keys on.
METADATA = {"scalerAddress": "session-api:7400", "pool": POOL, "slotsPerWorker": "1.5"}


def ref(**metadata: str) -> pb.ScaledObjectRef:
    return pb.ScaledObjectRef(name="workers", namespace="milepost", scalerMetadata=METADATA | metadata)


def asked(**metadata: str) -> pb.GetMetricsRequest:
    return pb.GetMetricsRequest(scaledObjectRef=ref(**metadata))


async def slots(scaler: Any, **metadata: str) -> float:
    (value,) = (await scaler.GetMetrics(asked(**metadata))).metricValues
    assert value.metricValue == value.metricValueFloat
    return value.metricValueFloat


async def test_slots_wanted_are_those_that_wait_and_those_that_run(api: Api) -> None:
    scaler = ExternalScalerStub(api.channel)
    assert await slots(scaler) == 0
    assert not (await scaler.IsActive(ref())).result
    orders = WorkOrders(api.js, lease_s=10)
    one, two = Line(POOL, "standard", "one"), Line(POOL, "batch_low", "two")
    await orders.publish_all([(one, "a"), (one, "b"), (two, "a"), (Line("other", "standard", "one"), "a")])
    assert await slots(scaler) == 3
    assert await slots(scaler, pool="other") == 1
    subscription = await api.js.pull_subscribe_bind(one.consumer, stream="WORK")
    (running,) = await subscription.fetch(1)
    assert await slots(scaler) == 3
    assert (await scaler.IsActive(ref())).result
    await running.ack_sync()
    assert await slots(scaler) == 2


async def test_the_metric_is_named_after_the_pool_and_its_target_is_what_a_worker_takes(api: Api) -> None:
    scaler = ExternalScalerStub(api.channel)
    (spec,) = (await scaler.GetMetricSpec(ref())).metricSpecs
    assert (spec.metricName, spec.targetSize, spec.targetSizeFloat) == (f"milepost-slots-{POOL}", 2, 1.5)
    request = asked()
    request.metricName = spec.metricName
    (value,) = (await scaler.GetMetrics(request)).metricValues
    assert value.metricName == spec.metricName


async def test_metadata_that_means_nothing_is_refused_by_every_call(api: Api) -> None:
    scaler = ExternalScalerStub(api.channel)
    for key, value in (
        ("slotsPerWorker", "many"),
        ("slotsPerWorker", "0"),
        ("slotsPerWorker", "nan"),
        ("pool", "sumo.1"),
        ("pool", ""),
        ("slotPerWorker", "2"),
    ):
        for call in (
            scaler.IsActive(ref(**{key: value})),
            scaler.GetMetricSpec(ref(**{key: value})),
            scaler.GetMetrics(asked(**{key: value})),
            first(scaler.StreamIsActive(ref(**{key: value}))),
            first(scaler.StreamMetricSpec(ref(**{key: value}))),
        ):
            refused = await refusal(call)
            assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
            assert refused.fields == [f"scalerMetadata.{key}"]


async def test_what_a_worker_takes_must_be_said_and_the_metric_be_the_pools(api: Api) -> None:
    scaler = ExternalScalerStub(api.channel)
    assert (await refusal(scaler.IsActive(pb.ScaledObjectRef()))).fields == ["scalerMetadata.slotsPerWorker"]
    request = pb.GetMetricsRequest(scaledObjectRef=ref(), metricName="milepost-slots-other")
    assert (await refusal(scaler.GetMetrics(request))).fields == ["metricName"]


async def test_a_load_that_is_not_known_is_never_none(api: Api, broker: Broker) -> None:
    scaler = ExternalScalerStub(api.channel)
    await WorkOrders(api.js, lease_s=10).publish(Line(POOL, "standard", "one"), "a")
    stream = scaler.StreamIsActive(ref())
    assert (await first(stream)).result
    broker.kill()
    for call in (scaler.GetMetrics(asked()), scaler.IsActive(ref())):
        refused = await refusal(call)
        assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "BROKER_UNAVAILABLE")
    pushed = asyncio.create_task(first(stream))
    await broker.start()
    async with asyncio.timeout(PATIENCE_S):
        while (code := await status(scaler.GetMetrics(asked()))) is not grpc.StatusCode.OK:
            assert code is grpc.StatusCode.UNAVAILABLE
    assert await slots(scaler) == 1
    # What was true before the outage is true after it: there was nothing to push, and the stream stands.
    assert not pushed.done()
    await api.js.delete_stream("WORK")
    assert (await refusal(scaler.IsActive(ref()))).code is grpc.StatusCode.UNAVAILABLE
    assert not pushed.done()
    pushed.cancel()


async def test_changes_are_pushed_and_a_server_that_stops_ends_the_streams_well(broker: Broker, tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as outlives:
        async with running_api(tmp_path / "api", broker.url) as api:
            scaler = ExternalScalerStub(await outlives.enter_async_context(grpc.aio.insecure_channel(api.address)))
            active, specs = scaler.StreamIsActive(ref()), scaler.StreamMetricSpec(ref())
            assert not (await first(active)).result
            assert (await first(specs)).metricSpecs[0].targetSizeFloat == 1.5
            await WorkOrders(api.js, lease_s=10).publish(Line(POOL, "standard", "one"), "a")
            assert (await asyncio.wait_for(first(active), PATIENCE_S)).result
            await api.js.purge_stream("WORK")
            assert not (await asyncio.wait_for(first(active), PATIENCE_S)).result
            ends = asyncio.gather(*(last(stream) for stream in (active, specs)))
        assert await asyncio.wait_for(ends, PATIENCE_S) == [grpc.StatusCode.OK] * 2


async def first(stream: Any) -> Any:
    """The next message. An error of the call is raised."""
    message = await stream.read()
    assert message is not grpc.aio.EOF
    return message


async def last(stream: Any) -> grpc.StatusCode:
    """Its status, once it has ended without another message."""
    assert await stream.read() is grpc.aio.EOF
    return await stream.code()


async def status(call: Any) -> grpc.StatusCode:
    return await call.code()
