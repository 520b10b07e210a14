"""The database of the session API is away: calls say so and when to come again; back, everything goes on by itself."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from running_api import Api, running_api

from broker import Broker
from databases import SQLITE, Postgres
from milepost.event.v1.event_pb2 import SessionCompleted
from milepost.scenario.v1 import scenario_service_pb2 as scenarios
from milepost.session.v1 import session_service_pb2 as pb

PATIENCE_S = 30.0


@pytest.fixture
async def away_and_back(database: str, broker: Broker, tmp_path: Path) -> AsyncIterator[tuple[Api, Postgres]]:
    if database == SQLITE:
        pytest.skip("a file does not go away")
    server = Postgres(database).start()
    try:
        server.execute("create database milepost")
        async with running_api(tmp_path / "api", broker.url, database_url=server.url("milepost")) as api:
            yield api, server
    finally:
        server.remove()


async def retry_after_s(call: Any) -> float:
    """Of a call that is refused because the store is away."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    assert raised.value.code() == grpc.StatusCode.UNAVAILABLE
    status = status_pb2.Status.FromString(dict(raised.value.trailing_metadata())[rpc_status.GRPC_DETAILS_METADATA_KEY])
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    for packed in status.details:
        packed.Unpack(info)
        packed.Unpack(retry)
    assert (info.reason, info.domain) == ("STORE_UNAVAILABLE", "milepost")
    return retry.retry_delay.ToTimedelta().total_seconds()


async def test_while_the_database_is_away_calls_say_when_to_come_again(away_and_back: tuple[Api, Postgres]) -> None:
    api, server = away_and_back
    worker = await api.running(20)
    name = worker.session_id
    server.kill()
    for call in (
        api.sessions.GetSession(pb.GetSessionRequest(session_id=name), timeout=PATIENCE_S),
        api.sessions.ListSessions(pb.ListSessionsRequest(), timeout=PATIENCE_S),
        api.scenarios.ListScenarios(scenarios.ListScenariosRequest(), timeout=PATIENCE_S),
        api.sessions.CreateDemoSession(pb.CreateDemoSessionRequest(), timeout=PATIENCE_S),
        api.create(),
    ):
        assert await retry_after_s(call) > 0
    # The log goes on meanwhile, and is not behind for ever.
    await worker.append(SessionCompleted())
    server.launch()
    async with asyncio.timeout(PATIENCE_S):
        while not await _ended(api, name):
            await asyncio.sleep(0.05)
    assert (await api.create()).session_id


async def _ended(api: Api, name: str) -> bool:
    try:
        return (await api.get(name)).HasField("end_time")
    except grpc.aio.AioRpcError as error:
        if error.code() != grpc.StatusCode.UNAVAILABLE:
            raise
        return False
