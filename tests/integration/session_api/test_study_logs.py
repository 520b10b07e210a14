"""The log of a study has many readers in one process: they share its fold, and not the right to append."""

from collections import Counter
from typing import Any

import pytest
from running_api import Api

from milepost.study.v1 import study_service_pb2 as pb
from milepost.study.v1.study_event_pb2 import CellsFinished
from milepost.study.v1.study_pb2 import Cell, CellState, Objective, StudyBase, StudySpec, Variant
from milepost.study.v1.study_service_pb2_grpc import StudyServiceStub
from runtime.blobs import Blobs
from runtime.settings import DEFAULT_TENANT
from session_api.application.study.study_logs import StudyLogs
from session_log.codec import log_of_study
from session_log.writer import LostRace

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def api(one_api: Api) -> Api:
    return one_api


async def begun(api: Api) -> str:
    """A study whose first cell nobody simulates: its log stands still."""
    spec = StudySpec(
        base=StudyBase(scenario_digest=api.scenario_digest),
        variants=[Variant(name="a"), Variant(name="b")],
        seeds=[1, 2],
        objective=Objective(expression="arrived"),
    )
    stub: Any = StudyServiceStub(api.channel)
    study_id: str = (await stub.CreateStudy(pb.CreateStudyRequest(spec=spec))).study.study_id
    async for update in stub.WatchStudy(pb.WatchStudyRequest(study_id=study_id)):
        if update.study.progress.cells:
            break
    return study_id


def logs_of(api: Api, blobs: Blobs) -> StudyLogs:
    return StudyLogs(api.js, api.reader, blobs)


def cell(seed: int) -> CellsFinished:
    return CellsFinished(cells=[Cell(variant="a", seed=seed, state=CellState.CELL_STATE_FAILED, failure="as told")])


async def told(api: Api, study_id: str) -> Counter[int]:
    """How often each seed of the cells was told of."""
    events = await api.events(log_of_study(study_id))
    return Counter(one.seed for event in events for one in event.cells_finished.cells)


async def test_a_decision_is_appended_where_it_was_made_also_when_others_read_on(api: Api) -> None:
    blobs = Blobs(api.store.blobs)
    study_id = await begun(api)
    ours, theirs = logs_of(api, blobs), logs_of(api, blobs)
    study = await ours.read(DEFAULT_TENANT, study_id)
    at = study.place

    rival = await theirs.read(DEFAULT_TENANT, study_id)
    await theirs.append(DEFAULT_TENANT, rival, [cell(1)], at=rival.place)
    # Somebody of this process asks for the study while our decision is on its way: the fold moves under it.
    assert await ours.read(DEFAULT_TENANT, study_id) is study
    assert study.place != at
    with pytest.raises(LostRace):
        await ours.append(DEFAULT_TENANT, study, [cell(1)], at=at)
    assert await told(api, study_id) == {1: 1}

    # Decided anew it is.
    await ours.append(DEFAULT_TENANT, study, [cell(2)], at=study.place)
    assert await told(api, study_id) == {1: 1, 2: 1}
    assert len(study.cells) == 2


async def test_a_place_that_nobody_here_has_seen_move_is_guarded_by_the_broker(api: Api) -> None:
    blobs = Blobs(api.store.blobs)
    study_id = await begun(api)
    ours, theirs = logs_of(api, blobs), logs_of(api, blobs)
    study, rival = await ours.read(DEFAULT_TENANT, study_id), await theirs.read(DEFAULT_TENANT, study_id)
    await theirs.append(DEFAULT_TENANT, rival, [cell(1)], at=rival.place)
    with pytest.raises(LostRace):
        await ours.append(DEFAULT_TENANT, study, [cell(1)], at=study.place)
    assert await told(api, study_id) == {1: 1}
