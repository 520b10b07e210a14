"""BatchCreateSessions: each item for itself, the whole batch safe to send again."""

import asyncio
import uuid
from collections import Counter

import pytest
from running_api import Api, refusal

from milepost.client import Milepost
from milepost.exceptions import InvalidArgument, NotFound, from_status
from milepost.session.v1 import session_service_pb2 as pb
from milepost.session.v1.session_pb2 import Priority, Scheduling, Session, SessionSpec, SessionState, WorkClass

pytestmark = pytest.mark.asyncio(loop_scope="module")

POOL = "sumo-1_28_0"


@pytest.fixture
def api(one_api: Api) -> Api:
    return one_api


async def wanted(api: Api, **fields: object) -> pb.CreateSessionRequest:
    """A request for a session of the demo city."""
    return pb.CreateSessionRequest(spec=SessionSpec(scenario_digest=api.scenario_digest, **fields))  # type: ignore[arg-type]


async def batch(api: Api, requests: list[pb.CreateSessionRequest], request_id: str = "") -> list[pb.CreatedSession]:
    request = pb.BatchCreateSessionsRequest(request_id=request_id, requests=requests)
    return list((await api.sessions.BatchCreateSessions(request)).results)


def reason(result: pb.CreatedSession) -> str:
    """Why an item was refused, as a client sees it."""
    return from_status(result.error).reason if result.WhichOneof("result") == "error" else ""


async def orders(api: Api) -> Counter[str]:
    info = await api.js.stream_info("WORK", subjects_filter="milepost.work.>")
    return Counter(info.state.subjects or {})


async def test_many_sessions_are_created_in_one_call_and_each_has_its_order(api: Api) -> None:
    requests = [await wanted(api, seed=seed) for seed in range(130)]
    results = await batch(api, requests)
    created = [result.session for result in results]
    assert len({session.session_id for session in created}) == len(requests)
    assert {session.state for session in created} == {SessionState.SESSION_STATE_PENDING}
    assert [(await api.get(created[n].session_id)).spec.seed for n in (0, 99, 100, 129)] == [0, 99, 100, 129]
    ordered = await orders(api)
    assert all(f"milepost.work.{POOL}.standard.default.{session.session_id}" in ordered for session in created)


@pytest.mark.any_database
async def test_the_same_batch_again_returns_the_same_sessions_and_creates_nothing(api: Api) -> None:
    requests = [await wanted(api, seed=seed) for seed in range(30)]
    key = str(uuid.uuid4())
    first, again, also = await asyncio.gather(*(batch(api, requests, key) for _ in range(3)))
    ids = [result.session.session_id for result in first]
    assert "" not in ids
    assert [[result.session.session_id for result in results] for results in (again, also)] == [ids, ids]
    requests[7].spec.seed = 4711
    changed = await batch(api, requests, key)
    assert [index for index, result in enumerate(changed) if reason(result)] == [7]
    assert reason(changed[7]) == "REQUEST_ID_REUSED"


@pytest.mark.any_database
async def test_items_that_cannot_be_are_refused_alone_and_by_their_field(api: Api) -> None:
    good = await wanted(api, seed=1)
    negative, nowhere, taken = (pb.CreateSessionRequest() for _ in range(3))
    for item in (negative, nowhere, taken):
        item.CopyFrom(good)
    negative.spec.interval_steps = -1
    nowhere.spec.scenario_digest = "0" * 64
    taken.session_id = "mine"
    no_pool, no_spec = pb.CreateSessionRequest(), pb.CreateSessionRequest()
    no_pool.CopyFrom(good)
    no_pool.spec.scheduling.pool = "a-standard"
    results = await batch(api, [good, negative, taken, nowhere, taken, no_pool, no_spec, good])
    refused = [reason(result) for result in results]
    expected = ["", "FIELD_INVALID", "", "SCENARIO_NOT_FOUND", "SESSION_EXISTS", "FIELD_INVALID", "FIELD_INVALID", ""]
    assert sorted(refused[2:5:2]) == ["", "SESSION_EXISTS"]
    refused[2], refused[4] = "", "SESSION_EXISTS"
    assert refused == expected
    assert "spec.scheduling.pool" in results[5].error.message
    assert results[0].session.session_id != results[7].session.session_id


@pytest.mark.any_database
async def test_a_batch_of_nothing_and_one_that_is_too_large_are_refused_as_a_whole(api: Api) -> None:
    item = await wanted(api)
    for requests in ([], [item] * 1001):
        refused = await refusal(api.sessions.BatchCreateSessions(pb.BatchCreateSessionsRequest(requests=requests)))
        assert (refused.reason, refused.fields) == ("FIELD_INVALID", ["requests"])


@pytest.mark.any_database
async def test_pool_class_and_priority_say_where_a_session_waits(api: Api) -> None:
    scheduling = Scheduling(pool="big", work_class=WorkClass.WORK_CLASS_BATCH, priority=Priority.PRIORITY_LOW)
    session = await api.create(session_id="s", scheduling=scheduling)
    assert session.conditions == ["waiting for a worker of pool big"]
    assert "milepost.work.big.batch_low.default.s" in await orders(api)
    explained = await api.sessions.ExplainSession(pb.ExplainSessionRequest(session_id="s"))
    assert list(explained.sentences) == ["It waits: no worker of pool big is there."]
    # It keeps its place over whatever is done with it.
    await api.sessions.SuspendSession(pb.SuspendSessionRequest(session_id="s"))
    await api.js.purge_stream("WORK", subject="milepost.work.big.>")
    await api.sessions.ResumeSession(pb.ResumeSessionRequest(session_id="s"))
    assert "milepost.work.big.batch_low.default.s" in await orders(api)
    worker = await api.worker("s").begin()
    await worker.simulate(to_step=20)
    forked = await api.sessions.ForkSession(pb.ForkSessionRequest(session_id="s", new_session_id="f", sim_time_s=25210))
    assert forked.session.spec.scheduling == scheduling
    assert "milepost.work.big.batch_low.default.f" in await orders(api)


@pytest.mark.any_database
async def test_the_client_creates_more_than_one_batch_and_tells_refusals_apart(api: Api) -> None:
    good, bad = await wanted(api, seed=1), pb.CreateSessionRequest(session_id="Not An Id")
    missing = pb.CreateSessionRequest(spec=SessionSpec(scenario_digest="0" * 64))
    async with Milepost.connect(api.address, api.address) as client:
        key = str(uuid.uuid4())
        created = await client.sessions.create_many([good, *[bad] * 1000, good, missing], request_id=key)
        kinds = Counter(type(one) for one in created)
        assert kinds == {Session: 2, InvalidArgument: 1000, NotFound: 1}
        again = await client.sessions.create_many([good, bad], request_id=key)
        assert [type(one) for one in again] == [Session, InvalidArgument]
        assert again[0] == created[0]
