"""Studies as the API records them, without anybody to run a session: on every kind of database."""

import asyncio
import uuid
from pathlib import Path

import grpc
import pytest
from running_api import PATIENCE_S, Api, refusal, running_api
from sqlalchemy import delete

from broker import Broker
from databases import url_of
from milepost.admin.v1 import admin_service_pb2 as admin
from milepost.scenario.v1.scenario_pb2 import SumoOption
from milepost.session.v1 import session_service_pb2 as sessions_pb
from milepost.session.v1.session_pb2 import SessionState
from milepost.study.v1 import study_service_pb2 as pb
from milepost.study.v1.study_pb2 import Objective, Patch, Study, StudyBase, StudySpec, StudyState, Variant
from milepost.study.v1.study_service_pb2_grpc import StudyServiceStub
from runtime.database import open_database
from session_api.application.study.create_study import INLINE_PLAN_BYTES
from session_api.gateways.tables import studies
from session_api.main import MIGRATIONS

pytestmark = pytest.mark.any_database


def stub(api: Api) -> StudyServiceStub:
    return StudyServiceStub(api.channel)


async def request_of(api: Api, *, variants: int = 2, **fields: object) -> pb.CreateStudyRequest:
    if not api.scenario_digest:
        await api.create(create_only=True)
    spec = StudySpec(
        base=StudyBase(scenario_digest=api.scenario_digest),
        variants=[
            Variant(name=f"v{number}", patch=Patch(options=[SumoOption(name="scale", value=f"{1 + number / 1000}")]))
            for number in range(variants)
        ],
        seeds=[2, 1],
        objective=Objective(expression="arrived"),
    )
    return pb.CreateStudyRequest(spec=spec, **fields)


async def listed(api: Api) -> list[Study]:
    return list((await stub(api).ListStudies(pb.ListStudiesRequest())).studies)


async def test_a_study_is_created_once_whoever_asks_again(api: Api) -> None:
    request = await request_of(api, request_id=str(uuid.uuid4()), display_name="once")
    first = (await stub(api).CreateStudy(request)).study
    assert first.state == StudyState.STUDY_STATE_RUNNING
    assert (await stub(api).CreateStudy(request)).study.study_id == first.study_id
    assert [study.study_id for study in await listed(api)] == [first.study_id]
    request.display_name = "twice"
    assert (await refusal(stub(api).CreateStudy(request))).reason == "REQUEST_ID_REUSED"
    taken = await request_of(api, study_id=first.study_id)
    assert (await refusal(stub(api).CreateStudy(taken))).reason == "STUDY_EXISTS"
    whole = (await stub(api).GetStudy(pb.GetStudyRequest(study_id=first.study_id, view=pb.STUDY_VIEW_FULL))).study
    assert [variant.name for variant in whole.variants] == ["v0", "v1"]
    assert len({variant.version for variant in whole.variants}) == 2


async def test_what_is_only_checked_leaves_nothing(api: Api) -> None:
    answer = await stub(api).CreateStudy(await request_of(api, validate_only=True))
    assert answer.study.study_id == ""
    assert await listed(api) == []


async def test_a_large_plan_is_a_blob_and_read_again(broker: Broker, tmp_path: Path) -> None:
    async with running_api(tmp_path / "api", broker.url) as api:
        created = (await stub(api).CreateStudy(await request_of(api, variants=500))).study
        asked = pb.GetStudyRequest(study_id=created.study_id, view=pb.STUDY_VIEW_FULL)
        whole = (await stub(api).GetStudy(asked)).study
        assert whole.ByteSize() > INLINE_PLAN_BYTES
        assert [variant.name for variant in whole.variants] == [f"v{number}" for number in range(500)]
    # Whoever was not there when it began folds the log and fetches the blob.
    async with running_api(tmp_path / "api", broker.url) as again:
        assert (await stub(again).GetStudy(asked)).study.variants == whole.variants


async def test_its_sessions_wait_and_are_cancelled_with_it(api: Api) -> None:
    created = (await stub(api).CreateStudy(await request_of(api))).study
    found: list[SessionState.ValueType] = []

    async def look() -> list[SessionState.ValueType]:
        page = await api.sessions.ListSessions(sessions_pb.ListSessionsRequest(page_size=500))
        return [one.state for one in page.sessions if one.labels.get("milepost.study") == created.study_id]

    async for update in stub(api).WatchStudy(pb.WatchStudyRequest(study_id=created.study_id), timeout=PATIENCE_S):
        if update.study.progress.waiting == 4 and len(found := await look()) == 4:
            break
    assert found == [SessionState.SESSION_STATE_PENDING] * 4
    cancelled = (await stub(api).CancelStudy(pb.CancelStudyRequest(study_id=created.study_id, comment="enough"))).study
    assert cancelled.state == StudyState.STUDY_STATE_CANCELLING
    *_, last = [
        update
        async for update in stub(api).WatchStudy(pb.WatchStudyRequest(study_id=created.study_id), timeout=PATIENCE_S)
    ]
    assert last.study.state == StudyState.STUDY_STATE_CANCELLED
    assert await look() == [SessionState.SESSION_STATE_CANCELLED] * 4
    ranking = (await stub(api).GetRanking(pb.GetRankingRequest(study_id=created.study_id))).ranking
    assert not ranking.decided


async def test_pages_and_what_is_not_there(api: Api) -> None:
    ids = [(await stub(api).CreateStudy(await request_of(api))).study.study_id for _ in range(3)]
    first = await stub(api).ListStudies(pb.ListStudiesRequest(page_size=2))
    second = await stub(api).ListStudies(pb.ListStudiesRequest(page_size=2, page_token=first.next_page_token))
    assert {study.study_id for study in (*first.studies, *second.studies)} == set(ids)
    assert not second.next_page_token
    for call in (
        stub(api).GetStudy(pb.GetStudyRequest(study_id="none")),
        stub(api).GetRanking(pb.GetRankingRequest(study_id="none")),
        stub(api).ListCells(pb.ListCellsRequest(study_id="none")),
        stub(api).CancelStudy(pb.CancelStudyRequest(study_id="none")),
    ):
        assert (await refusal(call)).reason == "STUDY_NOT_FOUND"
    bad = pb.ListCellsRequest(study_id=ids[0], page_token="x")
    assert (await refusal(stub(api).ListCells(bad))).reason == "PAGE_TOKEN_INVALID"


async def test_a_list_that_was_lost_is_made_anew_from_the_logs(broker: Broker, tmp_path: Path) -> None:
    url = url_of(tmp_path / "api" / "api.db")
    async with running_api(tmp_path / "api", broker.url) as api:
        created = (await stub(api).CreateStudy(await request_of(api, display_name="kept"))).study
        await stub(api).CancelStudy(pb.CancelStudyRequest(study_id=created.study_id))
        async for _ in stub(api).WatchStudy(pb.WatchStudyRequest(study_id=created.study_id), timeout=PATIENCE_S):
            pass
    async with open_database(url, migrations=MIGRATIONS) as engine, engine.begin() as connection:
        await connection.execute(delete(studies))
    async with running_api(tmp_path / "api", broker.url) as api:
        assert await listed(api) == []
        await api.admin.RebuildSessions(admin.RebuildSessionsRequest(), timeout=PATIENCE_S)
        (there,) = await listed(api)
        assert (there.study_id, there.display_name) == (created.study_id, "kept")
        # Whoever runs studies looks at it, and notes how it went on.
        async with asyncio.timeout(PATIENCE_S):
            while (await listed(api))[0].state != StudyState.STUDY_STATE_CANCELLED:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("name", ["study-mine", "Mine", "x" * 41])
async def test_ids_are_those_that_a_log_can_be_named_by(api: Api, name: str) -> None:
    refused = await refusal(stub(api).CreateStudy(await request_of(api, study_id=name)))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
