"""Two session APIs, one of which dies, and a worker: a study is run by both, and every run of it happens once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from two_apis import Pair, running_pair

from databases import KINDS, SQLITE, chosen
from milepost.scenario.v1.scenario_pb2 import SumoOption
from milepost.session.v1 import session_service_pb2 as sessions_pb
from milepost.session.v1.session_pb2 import Session, SessionSpec
from milepost.study.v1 import study_service_pb2 as pb
from milepost.study.v1.study_pb2 import Design, Objective, Patch, Ranking, StudyBase, StudySpec, StudyState, Variant
from runtime.process import Lifetime
from session_log.codec import log_of_study
from sim_worker import main as sim_worker
from sim_worker.settings import SimWorkerSettings

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]

BEGIN_S = 25200.0
# Less demand, fewer vehicles under way: their true order, best first.
SCALES = ("0.4", "0.7", "1")
SEEDS = range(1, 4)
PATIENCE_S = 90.0


@pytest.fixture(scope="module", params=[kind for kind in KINDS if kind != SQLITE], autouse=True)
def database(request: pytest.FixtureRequest) -> Any:
    """SQLite is for one process."""
    with chosen(request.param):
        yield request.param


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(database: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    """Both APIs and a worker."""
    folder = tmp_path_factory.mktemp("pair")
    async with running_pair(folder) as made:
        settings = SimWorkerSettings(
            nats_url=made.nats_url,
            listen="127.0.0.1:0",
            metrics_listen="127.0.0.1:0",
            event_store=made.api.store.address,
            work_dir=folder / "worker",
            worker_id="w1",
            slots=2,
        )
        lifetime = Lifetime(settings, "")
        worker = asyncio.create_task(sim_worker.serve(settings, lifetime))
        try:
            yield made
        finally:
            lifetime.stop.set()
            await worker


@pytest_asyncio.fixture(loop_scope="module")
async def pair(stage: Pair) -> Pair:
    """Both run."""
    await stage.start()
    return stage


def spec_of(pair: Pair) -> StudySpec:
    return StudySpec(
        base=StudyBase(scenario_digest=pair.api.scenario_digest),
        variants=[
            Variant(name=f"x{scale}", patch=Patch(options=[SumoOption(name="scale", value=scale)]))
            for scale in reversed(SCALES)
        ],
        seeds=list(SEEDS),
        objective=Objective(expression="running"),
        design=Design(no_cache=True, map_seeds=0),
        session=SessionSpec(end_time_s=BEGIN_S + 120),
    )


async def run(pair: Pair, *, meanwhile: Callable[[], Awaitable[None]] | None = None) -> str:
    """A study that the other API began and both run, to its end; `meanwhile` when some of its cells are over."""
    here, there = pair.studies
    request = pb.CreateStudyRequest(spec=spec_of(pair))
    study_id: str = (await there.CreateStudy(request)).study.study_id
    watched = here.WatchStudy(pb.WatchStudyRequest(study_id=study_id), timeout=PATIENCE_S)
    here_too = False
    async for update in watched:
        here_too |= any(task.get_name() == f"study {study_id}" for task in asyncio.all_tasks())
        if meanwhile and here_too and update.study.progress.done >= 3:
            assert not update.study.HasField("end_time")
            await meanwhile()
            meanwhile = None
    assert update.study.state == StudyState.STUDY_STATE_COMPLETED
    assert here_too
    assert meanwhile is None
    return study_id


async def sessions_of(pair: Pair, study_id: str) -> list[Session]:
    page = await pair.api.sessions.ListSessions(sessions_pb.ListSessionsRequest(page_size=500))
    assert not page.next_page_token
    return [one for one in page.sessions if one.labels.get("milepost.study") == study_id]


async def assert_each_cell_was_simulated_once(pair: Pair, study_id: str) -> None:
    cells = {(f"x{scale}", seed): 1 for scale in SCALES for seed in SEEDS}
    told = await pair.api.events(log_of_study(study_id))
    assert Counter((cell.variant, cell.seed) for event in told for cell in event.cells_finished.cells) == cells
    sessions = await sessions_of(pair, study_id)
    assert Counter((one.labels["milepost.variant"], int(one.labels["milepost.seed"])) for one in sessions) == cells
    for session in sessions:
        kinds = await pair.api.kinds(session.session_id)
        assert (kinds.count("run_started"), kinds[-1]) == (1, "session_completed")


async def ranking_of(stub: Any, study_id: str) -> Ranking:
    """What it says, without whose it is."""
    ranking: Ranking = (await stub.GetRanking(pb.GetRankingRequest(study_id=study_id))).ranking
    assert ranking.study_id == study_id
    for of_this_study in ("study_id", "seq"):
        ranking.ClearField(of_this_study)
    return ranking


async def test_both_run_one_study_and_each_cell_of_it_once_also_when_one_is_killed(pair: Pair) -> None:
    calm = await run(pair)
    await assert_each_cell_was_simulated_once(pair, calm)
    here, there = pair.studies
    ranking = await ranking_of(here, calm)
    assert [one.name for one in ranking.variants] == [f"x{scale}" for scale in SCALES]
    assert await ranking_of(there, calm) == ranking

    disturbed = await run(pair, meanwhile=pair.kill)
    await assert_each_cell_was_simulated_once(pair, disturbed)
    assert await ranking_of(here, disturbed) == ranking
    # Who comes back knows the end of it.
    await pair.start()
    assert await ranking_of(pair.studies[1], disturbed) == ranking
