"""Two session APIs on one PostgreSQL: whatever is asked of both happens once, whatever one answers the other knows."""

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
import tiny_templates
from google.protobuf.struct_pb2 import Value
from running_api import PATIENCE_S
from two_apis import Pair, running_pair

from databases import KINDS, SQLITE, chosen
from milepost.admin.v1 import admin_service_pb2 as admin
from milepost.scenario.v1.template_service_pb2 import FillTemplateRequest
from milepost.session.v1 import session_service_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="module")

TENANT = "default"
POSTGRES = [kind for kind in KINDS if kind != SQLITE]


@pytest.fixture(scope="module", params=POSTGRES, autouse=True)
def database(request: pytest.FixtureRequest) -> Any:
    """SQLite is for one process."""
    with chosen(request.param):
        yield request.param


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(database: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    async with running_pair(tmp_path_factory.mktemp("pair")) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def pair(stage: Pair) -> Pair:
    """Both run."""
    await stage.start()
    return stage


async def test_the_same_create_at_both_makes_one_session(pair: Pair) -> None:
    asked = [pair.wanted(request_id=str(uuid.uuid4()), display_name=f"n{number}") for number in range(25)]
    answers = await asyncio.gather(*(stub.CreateSession(request) for request in asked for stub in pair.both))
    names = [answer.session.session_id for answer in answers]
    assert names[::2] == names[1::2]
    assert len(set(names)) == len(asked)
    for name in names[::2]:
        kinds = await pair.api.kinds(name)
        assert kinds == ["session_created"]
    assert {name: (await pair.ordered())[name] for name in names} == dict.fromkeys(names, 1)
    # A name that only one of two requests can have.
    rivals = [pair.wanted(session_id="rival", request_id=str(uuid.uuid4())) for _ in range(2)]
    calls = [stub.CreateSession(request) for stub, request in zip(pair.both, rivals, strict=True)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    refused = [one.code() for one in outcomes if isinstance(one, grpc.aio.AioRpcError)]
    assert refused == [grpc.StatusCode.ALREADY_EXISTS]


async def test_the_same_batch_at_both_makes_its_sessions_once(pair: Pair) -> None:
    for _ in range(3):
        batch = pb.BatchCreateSessionsRequest(request_id=str(uuid.uuid4()), requests=[pair.wanted()] * 60)
        answers = await asyncio.gather(*(stub.BatchCreateSessions(batch) for stub in pair.both))
        ids = [[result.session.session_id for result in answer.results] for answer in answers]
        assert ids[0] == ids[1]
        assert len(set(ids[0])) == 60
        assert "" not in ids[0]


async def test_the_same_templates_and_scenarios_of_them_asked_of_both_are_there_once(pair: Pair) -> None:
    asked = tiny_templates.request((await tiny_templates.upload(pair.api)).digest)
    for number in range(3):
        made = await asyncio.gather(*(stub.CreateTemplate(asked) for stub in pair.templates * 2))
        assert {one.template.version for one in made} == {1}, number
        asked.description = str(number)
        made = await asyncio.gather(*(stub.CreateTemplate(asked) for stub in pair.templates * 2))
        assert len({one.template.version for one in made}) == 1
        filled = FillTemplateRequest(name="signal", parameters={"cycle_s": Value(number_value=31 + number)})
        answers = await asyncio.gather(*(stub.FillTemplate(filled) for stub in pair.templates * 2))
        assert len({one.scenario.digest for one in answers}) == 1
        asked.name = f"signal-{number}"
        asked.description = ""


async def test_what_one_answered_the_other_knows(pair: Pair) -> None:
    here, there = pair.both
    created = (await there.CreateSession(pair.wanted())).session
    request = pb.GetSessionRequest(session_id=created.session_id, min_seq=created.seq)
    assert (await here.GetSession(request)).session.state == created.state
    suspended = (await here.SuspendSession(pb.SuspendSessionRequest(session_id=created.session_id))).session
    resumed = (await there.ResumeSession(pb.ResumeSessionRequest(session_id=created.session_id))).session
    assert resumed.seq > suspended.seq
    cancelled = await here.CancelSession(pb.CancelSessionRequest(session_id=created.session_id))
    assert cancelled.session.HasField("end_time")


async def test_commands_through_both_stand_in_the_log_once_each(pair: Pair) -> None:
    worker = await pair.api.running(to_step=20)
    request_ids = [str(uuid.uuid4()) for _ in range(10)]

    async def pin(stub: Any, number: int, request_id: str) -> None:
        update = pb.UpdateSessionRequest(session_id=worker.session_id, request_id=request_id, labels={"n": str(number)})
        update.update_mask.paths.append("labels")
        await stub.UpdateSession(update)

    calls = [pin(stub, number, name) for number, name in enumerate(request_ids) for stub in pair.both]
    await asyncio.gather(*calls)
    asked = Counter(
        event.command_requested.command_id
        for event in await pair.api.events(worker.session_id)
        if event.HasField("command_requested")
    )
    assert asked == dict.fromkeys(request_ids, 1)
    sessions = [
        (await stub.GetSession(pb.GetSessionRequest(session_id=worker.session_id))).session for stub in pair.both
    ]
    assert sessions[0].etag == sessions[1].etag


async def test_no_quota_is_passed_by_asking_both(pair: Pair) -> None:
    used = (await pair.api.admin.GetQuota(admin.GetQuotaRequest(tenant=TENANT))).usage
    quota = admin.Quota(sessions=used.sessions + 9, slots=used.slots + 4)
    await pair.api.admin.SetQuota(admin.SetQuotaRequest(tenant=TENANT, quota=quota))
    try:
        calls = [stub.CreateSession(pair.wanted()) for _ in range(15) for stub in pair.both]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        refused = [one.code() for one in outcomes if isinstance(one, grpc.aio.AioRpcError)]
        assert refused == [grpc.StatusCode.RESOURCE_EXHAUSTED] * 21
        # Both look after what waits, all the time.
        for _ in range(10):
            assert sum((await pair.ordered()).values()) == used.slots + 4
            await asyncio.sleep(0.1)
    finally:
        await pair.api.admin.SetQuota(admin.SetQuotaRequest(tenant=TENANT, quota=admin.Quota()))


async def test_a_killed_api_loses_nothing_that_it_acknowledged_and_doubles_nothing(pair: Pair) -> None:
    acknowledged: dict[str, str] = {}
    broken: list[tuple[grpc.StatusCode, pb.CreateSessionRequest]] = []

    async def caller() -> None:
        while True:
            request = pair.wanted(request_id=str(uuid.uuid4()))
            try:
                answer = await pair.other.CreateSession(request)
            except grpc.aio.AioRpcError as error:
                broken.append((error.code(), request))
                return
            acknowledged[request.request_id] = answer.session.session_id

    callers = [asyncio.create_task(caller()) for _ in range(20)]
    async with asyncio.timeout(PATIENCE_S):
        while len(acknowledged) < 60:
            await asyncio.sleep(0.01)
    await pair.kill()
    await asyncio.gather(*callers)
    # Those that broke off are asked for again, at the one that is left.
    again = [(await pair.api.sessions.CreateSession(request)).session.session_id for _, request in broken]
    assert {code for code, _ in broken} == {grpc.StatusCode.UNAVAILABLE}
    names = [*acknowledged.values(), *again]
    assert len(set(names)) == len(names)
    for name in names:
        assert (await pair.api.get(name)).session_id == name
        assert await pair.api.kinds(name) == ["session_created"]
    # Also those whose API died before it queued them.
    async with asyncio.timeout(PATIENCE_S):
        while not set(names) <= set(await pair.ordered()):
            await asyncio.sleep(0.05)
    # The other comes back to where everything is known.
    await pair.start()
    listed = await pair.other.ListSessions(pb.ListSessionsRequest(page_size=500))
    assert set(names) <= {session.session_id for session in listed.sessions} or listed.next_page_token
