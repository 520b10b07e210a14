"""Quotas of a tenant: what is refused and how, what waits, and that nobody gets more by asking at once."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc import error_details_pb2
from running_api import PATIENCE_S, Api, Refusal, refusal, running_api

from broker import running_broker
from databases import KINDS, chosen
from milepost.admin.v1 import admin_service_pb2 as admin
from milepost.event.v1.event_pb2 import ArtifactStored, SessionCancelled, SessionCompleted
from milepost.scenario.v1.scenario_service_pb2 import FileChunk, UploadHeader, UploadScenarioRequest
from milepost.session.v1 import session_service_pb2 as pb
from milepost.session.v1.session_pb2 import Artifact, Scheduling, Session, SessionSpec, SessionState, WorkClass

pytestmark = pytest.mark.asyncio(loop_scope="module")

TENANT = "default"
WANT_ORDERS = (
    SessionState.SESSION_STATE_PENDING,
    SessionState.SESSION_STATE_PREPARING,
    SessionState.SESSION_STATE_RUNNING,
)


@pytest.fixture(scope="module", params=KINDS, autouse=True)
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """One stack on each kind serves all tests of this module."""
    with chosen(request.param):
        yield request.param


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(database: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    folder = tmp_path_factory.mktemp("api")
    async with running_broker(folder / "nats") as broker, running_api(folder / "api", broker.url) as running:
        await running.create(create_only=True)
        yield running


async def set_quota(api: Api, tenant: str = TENANT, **limits: int) -> None:
    request = admin.SetQuotaRequest(
        tenant=tenant, quota=admin.Quota(**limits), update_mask=FieldMask(paths=list(limits))
    )
    await api.admin.SetQuota(request)


async def usage(api: Api) -> admin.QuotaUsage:
    return (await api.admin.GetQuota(admin.GetQuotaRequest(tenant=TENANT))).usage


async def ordered(api: Api) -> set[str]:
    """Sessions that have an order."""
    info = await api.js.stream_info("WORK", subjects_filter="milepost.work.>")
    return {name.rpartition(".")[2] for name in info.state.subjects or {}}


async def until_ordered(api: Api, *names: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while await ordered(api) != set(names):
            await asyncio.sleep(0.02)


async def end(api: Api, session_id: str) -> None:
    """A worker takes it, ends it and acknowledges its order."""
    worker = await api.worker(session_id).begin()
    await worker.append(SessionCompleted())
    await api.until(session_id, lambda session: session.HasField("end_time"))
    await api.js.purge_stream("WORK", subject=f"milepost.work.*.*.*.{session_id}")


async def wanted(api: Api, *, session_id: str, wait: bool = False, **spec: Any) -> Session:
    spec = {"scenario_digest": api.scenario_digest, **spec}
    request = pb.CreateSessionRequest(session_id=session_id, spec=SessionSpec(**spec), wait_for_quota=wait)
    return (await api.sessions.CreateSession(request)).session


@pytest_asyncio.fixture(loop_scope="module")
async def empty(api: Api) -> Api:
    """Its tenant has a scenario and no quota, no session that has not ended, and the order of none."""
    for tenant in [one.tenant for one in (await api.admin.ListQuotas(admin.ListQuotasRequest())).quotas]:
        await api.admin.SetQuota(admin.SetQuotaRequest(tenant=tenant))
    open_ones = pb.ListSessionsRequest(page_size=500, states=[SessionState.SESSION_STATE_CREATED, *WANT_ORDERS])
    for listed in (await api.sessions.ListSessions(open_ones)).sessions:
        worker = api.worker(listed.session_id)
        await worker.append(SessionCancelled())
        await api.until(listed.session_id, lambda session: session.HasField("end_time"))
    await api.js.purge_stream("WORK")
    return api


def details(refused: Refusal) -> tuple[list[str], float]:
    """What QuotaFailure names, and when to come again."""
    named, again_s = [], 0.0
    for packed in refused.details:
        failure, retry = error_details_pb2.QuotaFailure(), error_details_pb2.RetryInfo()
        if packed.Unpack(failure):
            named = [f"{violation.subject}: {violation.description}" for violation in failure.violations]
        if packed.Unpack(retry):
            again_s = retry.retry_delay.ToTimedelta().total_seconds()
    return named, again_s


# Before any other test gives the tenant a quota of its own.
@pytest.mark.any_database
async def test_a_quota_is_the_default_s_until_a_tenant_has_its_own(empty: Api) -> None:
    await set_quota(empty, "", sessions=0, slots=3)
    told = await empty.admin.GetQuota(admin.GetQuotaRequest(tenant=TENANT))
    assert (told.own, told.quota) == (False, admin.Quota(sessions=0, slots=3))
    assert (await refusal(wanted(empty, session_id="s"))).reason == "QUOTA_EXCEEDED"
    await set_quota(empty, slots=1)
    told = await empty.admin.GetQuota(admin.GetQuotaRequest(tenant=TENANT))
    assert (told.own, told.quota) == (True, admin.Quota(slots=1))
    await wanted(empty, session_id="s")
    # Lifted by being named and not set.
    lifted = admin.SetQuotaRequest(tenant=TENANT, update_mask=FieldMask(paths=["slots"]))
    assert (await empty.admin.SetQuota(lifted)).quota == admin.Quota()
    listed = (await empty.admin.ListQuotas(admin.ListQuotasRequest())).quotas
    assert [one.tenant for one in listed] == ["", TENANT]
    for wrong, field in (
        (admin.SetQuotaRequest(tenant="a.b"), "tenant"),
        (admin.SetQuotaRequest(quota=admin.Quota(slots=-1)), "quota.slots"),
        (admin.SetQuotaRequest(update_mask=FieldMask(paths=["slot"])), "update_mask"),
    ):
        assert (await refusal(empty.admin.SetQuota(wrong))).fields == [field]


async def test_sessions_beyond_the_quota_are_refused_with_what_is_used(empty: Api) -> None:
    await set_quota(empty, sessions=2)
    for name in ("one", "two"):
        await wanted(empty, session_id=name)
    refused = await refusal(wanted(empty, session_id="three"))
    assert refused.reason == "QUOTA_EXCEEDED"
    assert refused.metadata == {"quota": "sessions", "limit": "2", "used": "2"}
    named, again_s = details(refused)
    assert named == [f"tenant:{TENANT}: 2 of 2 sessions are in use"]
    assert again_s > 0
    await empty.sessions.CancelSession(pb.CancelSessionRequest(session_id="one"))
    assert (await wanted(empty, session_id="three")).session_id == "three"
    # One that ended and goes on is one more.
    restarted = empty.sessions.RestartSession(pb.RestartSessionRequest(session_id="one"))
    assert (await refusal(restarted)).reason == "QUOTA_EXCEEDED"
    assert (await usage(empty)).sessions == 2


async def test_nobody_gets_more_sessions_by_asking_at_once(empty: Api) -> None:
    await set_quota(empty, sessions=7)
    item = pb.CreateSessionRequest(spec=SessionSpec(scenario_digest=empty.scenario_digest))
    batches = [empty.sessions.BatchCreateSessions(pb.BatchCreateSessionsRequest(requests=[item] * 3)) for _ in range(5)]
    singles = [refusal_or(empty.sessions.CreateSession(item)) for _ in range(10)]
    answers = await asyncio.gather(*batches, *singles)
    created = sum(result.WhichOneof("result") == "session" for answer in answers[:5] for result in answer.results)
    assert created + sum(answers[5:]) == 7
    assert (await usage(empty)).sessions == 7


async def refusal_or(call: Any) -> int:
    """Whether a session was created; else it was the quota."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        refused = Refusal(error)
    else:
        return 1
    assert refused.reason == "QUOTA_EXCEEDED"
    return 0


@pytest.mark.any_database
async def test_who_says_so_waits_for_the_quota_and_goes_in_the_order_of_coming(empty: Api) -> None:
    await set_quota(empty, sessions=1)
    await wanted(empty, session_id="a")
    for name in ("b", "c"):
        assert (await wanted(empty, session_id=name, wait=True)).state == SessionState.SESSION_STATE_PENDING
    await until_ordered(empty, "a")
    explained = await empty.sessions.ExplainSession(pb.ExplainSessionRequest(session_id="b"))
    assert list(explained.sentences) == ["It waits for a quota: its tenant may have 1 session at once."]
    # A detour does not jump the queue.
    await empty.sessions.SuspendSession(pb.SuspendSessionRequest(session_id="c"))
    await empty.sessions.ResumeSession(pb.ResumeSessionRequest(session_id="c"))
    assert await ordered(empty) == {"a"}
    # Whoever does not want to wait is refused while others do.
    assert (await refusal(wanted(empty, session_id="d"))).reason == "QUOTA_EXCEEDED"
    await end(empty, "a")
    await until_ordered(empty, "b")
    await end(empty, "b")
    await until_ordered(empty, "c")


async def test_slots_refuse_nothing_and_are_filled_by_class(empty: Api) -> None:
    await set_quota(empty, slots=2)
    batch = Scheduling(work_class=WorkClass.WORK_CLASS_BATCH)
    names = [f"b{number}" for number in range(4)]
    await asyncio.gather(*(wanted(empty, session_id=name, scheduling=batch) for name in names))
    assert len(await ordered(empty)) == 2
    urgent = Scheduling(work_class=WorkClass.WORK_CLASS_INTERACTIVE)
    await wanted(empty, session_id="i", scheduling=urgent)
    explained = await empty.sessions.ExplainSession(pb.ExplainSessionRequest(session_id="i"))
    assert list(explained.sentences) == ["It waits for a quota: its tenant uses 2 of 2 slots."]
    assert (await usage(empty)).slots == 2
    running = sorted(await ordered(empty))
    await end(empty, running[0])
    await until_ordered(empty, running[1], "i")
    # More slots are filled without anything else happening.
    await set_quota(empty, slots=4)
    async with asyncio.timeout(PATIENCE_S):
        while len(await ordered(empty)) < 4:
            await asyncio.sleep(0.02)


@pytest.mark.any_database
async def test_orders_of_a_tenant_with_slots_that_are_lost_come_again(empty: Api) -> None:
    await set_quota(empty, slots=1)
    await wanted(empty, session_id="lost")
    await wanted(empty, session_id="next")
    await (await empty.worker("lost").begin()).simulate(to_step=10)
    await empty.until("lost", lambda session: session.attempt)
    await empty.js.purge_stream("WORK")
    await until_ordered(empty, "lost")


def upload(name: str, size: int, *, validate_only: bool = False) -> list[UploadScenarioRequest]:
    content = f"<configuration><!-- {name} {'x' * size} --></configuration>".encode()
    file = {"path": "run.sumocfg", "sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    header = UploadHeader(manifest={"files": [file]}, validate_only=validate_only)  # type: ignore[arg-type]
    chunk = FileChunk(path="run.sumocfg", offset=0, content=content)
    return [UploadScenarioRequest(header=header), UploadScenarioRequest(chunk=chunk)]


@pytest.mark.any_database
async def test_uploads_per_hour_count_refused_ones_too(empty: Api) -> None:
    await set_quota(empty, uploads_per_hour=2)
    for number in range(2):
        # No scenario: an upload that costs the server its look at it.
        refused = await refusal(empty.scenarios.UploadScenario(iter(upload(f"s{number}", 10))))
        assert refused.reason == "SCENARIO_INVALID"
    refused = await refusal(empty.scenarios.UploadScenario(iter(upload("s3", 10))))
    assert (refused.reason, refused.metadata["quota"]) == ("QUOTA_EXCEEDED", "uploads_per_hour")
    assert 0 < details(refused)[1] <= 3600
    assert (await usage(empty)).uploads_per_hour == 2


async def test_what_is_stored_counts_scenarios_and_files_of_sessions(empty: Api) -> None:
    before = (await usage(empty)).stored_bytes
    assert before > 0
    worker = await empty.running(10)
    await worker.append(ArtifactStored(artifact=Artifact(name="trips.xml", sha256="0" * 64, size_bytes=5_000_000)))
    await empty.until(worker.session_id, lambda session: session.artifacts)
    assert (await usage(empty)).stored_bytes == before + 5_000_000
    await set_quota(empty, stored_bytes=before + 4_000_000)
    refused = await refusal(wanted(empty, session_id="over", wait=True))
    assert (refused.reason, refused.metadata["quota"]) == ("QUOTA_EXCEEDED", "stored_bytes")
