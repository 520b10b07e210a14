"""A study in the middle of which everything is killed ends with the ranking of an undisturbed one."""

import os
import signal
from pathlib import Path

import pytest

from eventually import eventually
from milepost.client import Milepost
from milepost.scenario.v1.scenario_pb2 import SumoOption
from milepost.session.v1.session_pb2 import SessionSpec
from milepost.study.v1.study_pb2 import (
    Design,
    Objective,
    Patch,
    RacingDesign,
    Ranking,
    Study,
    StudyBase,
    StudySpec,
    StudyState,
    Variant,
)
from milepost.study.v1.study_service_pb2 import CreateStudyRequest
from resilience.lasting_stack import LastingStack, lasting_stack
from scenario.demo import demo_directory

pytestmark = [pytest.mark.slow, pytest.mark.asyncio]

BEGIN_S = 25200.0
VARIANTS, SEEDS = 4, 4
# How long a stack may take to serve again on a busy machine, seconds.
RESTART_S = 90.0


async def kill_everything(stack: LastingStack) -> None:
    """SIGKILL, all at once, and wait until the next life serves."""
    now, lives = await stack.up(), stack.lives
    for pid in (*now.pids.values(), now.process.pid):
        os.kill(pid, signal.SIGKILL)
    await now.process.wait()
    await eventually(lambda: stack.lives > lives and stack.now is not None, timeout_s=RESTART_S)


def told(ranking: Ranking) -> Ranking:
    """What a ranking says, without whose it is."""
    same = Ranking()
    same.CopyFrom(ranking)
    same.ClearField("study_id")
    same.ClearField("seq")
    return same


@pytest.mark.timeout(240)
async def test_a_study_killed_in_the_middle_ends_with_the_same_ranking(tmp_path: Path) -> None:
    # Nothing stored: the second is to be simulated like the first.
    design = Design(racing=RacingDesign(first_seeds=2), no_cache=True, map_seeds=1)
    async with (
        lasting_stack(tmp_path, workers=1, slots=3, environment={"MILEPOST_LEASE_S": "3"}) as stack,
        Milepost.connect(stack.api, stack.store) as client,
    ):
        scenario = await client.scenarios.upload(demo_directory())
        spec = StudySpec(
            base=StudyBase(scenario_digest=scenario.digest),
            variants=[
                Variant(name=f"v{number}", patch=Patch(options=[SumoOption(name="scale", value=f"{1 + number / 20}")]))
                for number in range(VARIANTS)
            ],
            seeds=list(range(1, SEEDS + 1)),
            objective=Objective(expression="mean_time_loss_s"),
            design=design,
            session=SessionSpec(end_time_s=BEGIN_S + 120),
        )
        disturbed = await client.studies.create(CreateStudyRequest(spec=spec))
        for done in (2, VARIANTS + 1):
            await _until_done(client, disturbed, done)
            await kill_everything(stack)
        first = await client.studies.wait(disturbed.study_id)
        calm = await client.studies.create(CreateStudyRequest(spec=spec))
        second = await client.studies.wait(calm.study_id)
        assert first.state == second.state == StudyState.STUDY_STATE_COMPLETED
        assert (first.end, first.answer) == (second.end, second.answer)
        rankings = [told(await client.studies.ranking(one.study_id)) for one in (first, second)]
        assert rankings[0] == rankings[1]
        cells = [[cell async for cell in client.studies.cells(one.study_id)] for one in (first, second)]
        assert [(cell.variant, cell.seed, cell.value) for cell in cells[0]] == [
            (cell.variant, cell.seed, cell.value) for cell in cells[1]
        ]
        assert first.progress.sessions == second.progress.sessions, "nothing was simulated twice"


async def _until_done(client: Milepost, study: Study, done: int) -> None:
    async for update in client.studies.watch(study.study_id):
        if update.study.progress.done >= done or update.study.HasField("end_time"):
            assert not update.study.HasField("end_time"), "it was to be killed before its end"
            return
