"""Studies are deleted, and their sessions with them; a played worker simulates."""

import asyncio
import uuid
from collections.abc import Collection, Sequence
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from running_api import PATIENCE_S, Api, refusal, running_api
from sqlalchemy import update

from broker import Broker
from databases import url_of
from milepost.admin.v1 import admin_service_pb2 as admin
from milepost.event.v1.event_pb2 import SessionCompleted
from milepost.scenario.v1.scenario_pb2 import SumoOption
from milepost.session.v1 import session_service_pb2 as sessions_pb
from milepost.study.v1 import study_service_pb2 as pb
from milepost.study.v1.study_pb2 import Design, Objective, Patch, Study, StudyBase, StudySpec, StudyState, Variant
from milepost.study.v1.study_service_pb2_grpc import StudyServiceStub
from runtime.database import open_database
from runtime.settings import DEFAULT_TENANT
from session_api.gateways.tables import studies
from session_api.main import MIGRATIONS
from session_log.broker_log import last_stream_seq

pytestmark = pytest.mark.any_database


def stub(api: Api) -> StudyServiceStub:
    return StudyServiceStub(api.channel)


async def created(api: Api, *, scales: Sequence[str] = ("1",), seeds: Sequence[int] = (1, 2), **fields: str) -> Study:
    if not api.scenario_digest:
        await api.create(create_only=True)
    spec = StudySpec(
        base=StudyBase(scenario_digest=api.scenario_digest),
        variants=[
            Variant(name=f"x{scale}", patch=Patch(options=[SumoOption(name="scale", value=scale)])) for scale in scales
        ],
        seeds=seeds,
        objective=Objective(expression="arrived"),
        design=Design(map_seeds=0),
    )
    return (await stub(api).CreateStudy(pb.CreateStudyRequest(spec=spec, **fields))).study


async def sessions_of(api: Api, study_id: str, *, deleted: bool = False) -> set[str]:
    request = sessions_pb.ListSessionsRequest(study_id=study_id, show_deleted=deleted)
    return {session.session_id for session in (await api.sessions.ListSessions(request)).sessions}


async def completed(api: Api, *, sessions: int, **fields: object) -> str:
    """A study that has ended, so many of whose cells were simulated."""
    study_id = (await created(api, **fields)).study_id
    async with asyncio.timeout(PATIENCE_S):
        while len(begun := await sessions_of(api, study_id)) < sessions:
            await asyncio.sleep(0.01)
        for session_id in begun:
            worker = await api.worker(session_id).begin()
            await worker.simulate(10)
            await worker.append(SessionCompleted())
        async for update in stub(api).WatchStudy(pb.WatchStudyRequest(study_id=study_id)):
            last = update.study
    assert (last.state, last.progress.sessions) == (StudyState.STUDY_STATE_COMPLETED, sessions)
    return study_id


async def delete(api: Api, study_id: str, request_id: str = "") -> None:
    await stub(api).DeleteStudy(pb.DeleteStudyRequest(study_id=study_id, request_id=request_id))


async def listed(api: Api) -> list[str]:
    return [study.study_id for study in (await stub(api).ListStudies(pb.ListStudiesRequest())).studies]


async def left(api: Api, study_id: str, wanted: Collection[str]) -> None:
    """Waits until a study has these sessions and no others."""
    async with asyncio.timeout(PATIENCE_S):
        while await sessions_of(api, study_id) != set(wanted):
            await asyncio.sleep(0.01)


async def test_a_deleted_study_is_gone_for_every_call_and_its_sessions_are_deleted(api: Api) -> None:
    study_id = await completed(api, sessions=2, study_id="old")
    stays = await completed(api, sessions=2, scales=["1.5"], study_id="old-1")
    assert await sessions_of(api, study_id) == {"old-0-1", "old-0-2"}
    await delete(api, study_id)
    assert await listed(api) == [stays]
    for call in (
        stub(api).GetStudy(pb.GetStudyRequest(study_id=study_id)),
        stub(api).GetRanking(pb.GetRankingRequest(study_id=study_id)),
        stub(api).ListCells(pb.ListCellsRequest(study_id=study_id)),
        stub(api).CancelStudy(pb.CancelStudyRequest(study_id=study_id)),
        stub(api).DeleteStudy(pb.DeleteStudyRequest(study_id=study_id)),
        anext(aiter(stub(api).WatchStudy(pb.WatchStudyRequest(study_id=study_id)))),
    ):
        assert (await refusal(call)).reason == "STUDY_NOT_FOUND"
    await left(api, study_id, ())
    assert await sessions_of(api, study_id, deleted=True) == {"old-0-1", "old-0-2"}
    assert len(await sessions_of(api, stays)) == 2
    taken = await refusal(created(api, study_id=study_id))
    assert taken.reason == "STUDY_EXISTS", "the fence still stands"


async def test_a_study_that_runs_is_not_deleted(api: Api) -> None:
    study_id = (await created(api)).study_id
    refused = await refusal(stub(api).DeleteStudy(pb.DeleteStudyRequest(study_id=study_id)))
    assert (refused.reason, refused.metadata["from"], refused.metadata["legal_verbs"]) == (
        "INVALID_TRANSITION",
        "RUNNING",
        "cancel",
    )
    assert await listed(api) == [study_id]
    await stub(api).CancelStudy(pb.CancelStudyRequest(study_id=study_id))
    async for _ in stub(api).WatchStudy(pb.WatchStudyRequest(study_id=study_id), timeout=PATIENCE_S):
        pass
    await delete(api, study_id)
    assert await listed(api) == []


async def test_a_deletion_that_is_asked_for_again_is_answered_again(api: Api) -> None:
    study_id, request_id = await completed(api, sessions=2), str(uuid.uuid4())
    await delete(api, study_id, request_id)
    await delete(api, study_id, request_id)
    other = pb.DeleteStudyRequest(study_id="other", request_id=request_id)
    assert (await refusal(stub(api).DeleteStudy(other))).reason == "REQUEST_ID_REUSED"
    unknown = pb.DeleteStudyRequest(study_id="none", request_id=str(uuid.uuid4()))
    for _ in range(2):
        assert (await refusal(stub(api).DeleteStudy(unknown))).reason == "STUDY_NOT_FOUND"


async def test_sessions_that_answer_for_another_study_stay_until_the_last_such_study_is_deleted(api: Api) -> None:
    made = await completed(api, sessions=2, study_id="made")
    taken = await completed(api, sessions=1, scales=["1", "2"], seeds=[1], study_id="taken")
    cells = (await stub(api).ListCells(pb.ListCellsRequest(study_id=taken))).cells
    assert [(cell.session_id, cell.cached) for cell in cells] == [("made-0-1", True), ("taken-1-1", False)]
    await delete(api, made)
    await left(api, made, {"made-0-1"})
    await delete(api, taken)
    await left(api, taken, ())
    await left(api, made, ())
    # What was stored of them is there: nothing is simulated again.
    assert await completed(api, sessions=0, scales=["1", "2"], seeds=[1])


async def test_a_session_that_goes_on_or_left_its_study_is_left_alone(api: Api) -> None:
    study_id = await completed(api, sessions=3, seeds=[1, 2, 3], study_id="s")
    await api.sessions.RestartSession(sessions_pb.RestartSessionRequest(session_id="s-0-1"))
    mine = sessions_pb.UpdateSessionRequest(session_id="s-0-2", labels={"whose": "mine"})
    mine.update_mask.paths.append("labels")
    await api.sessions.UpdateSession(mine)
    assert await sessions_of(api, study_id) == {"s-0-1", "s-0-3"}
    await delete(api, study_id)
    await left(api, study_id, {"s-0-1"})
    assert not (await api.get("s-0-2")).HasField("delete_time")


async def test_cells_are_counted_by_what_became_of_them(api: Api) -> None:
    def counted() -> list[float]:
        outcomes = ("done", "cached", "failed")
        return [REGISTRY.get_sample_value("milepost_study_cells_total", {"outcome": it}) or 0 for it in outcomes]

    before = counted()
    await completed(api, sessions=2)
    await completed(api, sessions=1, scales=["1", "2"], seeds=[1])
    assert [now - then for now, then in zip(counted(), before, strict=True)] == [3, 1, 0]


async def test_sessions_of_studies_are_found_and_hidden(api: Api) -> None:
    study_id = await completed(api, sessions=2, study_id="s")
    other = (await api.create(create_only=True)).session_id

    async def shown(**fields: object) -> set[str]:
        answer = await api.sessions.ListSessions(sessions_pb.ListSessionsRequest(**fields))
        return {session.session_id for session in answer.sessions}

    cells, others = {"s-0-1", "s-0-2"}, await shown(hide_study_sessions=True)
    assert other in others
    assert await shown() == cells | others
    assert await shown(study_id=study_id) == await shown(study_id=study_id, hide_study_sessions=True) == cells
    assert await shown(study_id="none") == set()


async def test_who_died_before_it_was_noted_has_deleted_it_all_the_same(broker: Broker, tmp_path: Path) -> None:
    url = url_of(tmp_path / "api" / "api.db")
    async with running_api(tmp_path / "api", broker.url) as api:
        study_id = await completed(api, sessions=2)
        await delete(api, study_id)
        await left(api, study_id, ())
    async with open_database(url, migrations=MIGRATIONS) as engine, engine.begin() as connection:
        await connection.execute(update(studies).values(state=StudyState.STUDY_STATE_RUNNING, seq=1))
    async with running_api(tmp_path / "api", broker.url) as api:
        await api.admin.RebuildSessions(admin.RebuildSessionsRequest(), timeout=PATIENCE_S)
        assert await listed(api) == []


async def test_the_name_of_a_deleted_study_is_free_when_its_log_is_gone(broker: Broker, tmp_path: Path) -> None:
    at_once = {"purge_delay_s": 0.0, "tombstone_s": 0.0, "clean_up_s": 0.05}
    async with running_api(tmp_path / "api", broker.url, of_store=at_once) as api:
        study_id = await completed(api, sessions=2, study_id="s")
        await delete(api, study_id)
        await left(api, study_id, ())
        async with asyncio.timeout(PATIENCE_S):
            while await last_stream_seq(api.js, DEFAULT_TENANT, "study-s"):
                await asyncio.sleep(0.01)
        again = await created(api, seeds=[7], study_id=study_id)
        assert again.state == StudyState.STUDY_STATE_RUNNING
        async for update in stub(api).WatchStudy(pb.WatchStudyRequest(study_id=study_id), timeout=PATIENCE_S):
            if update.study.progress.waiting == 1:
                break
        assert await listed(api) == [study_id]
