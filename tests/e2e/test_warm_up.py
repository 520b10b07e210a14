"""Many sessions from one warm-up: forks of a session that has stopped equal sessions that never did."""

import asyncio
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from milepost.event.v1.event_pb2 import StartKind
from milepost.intervention.v1.intervention_pb2 import Intervention, Place, SetSpeedLimit
from milepost.session.v1.session_pb2 import (
    CompletionReason,
    EdgeData,
    PhaseKind,
    PhaseStatus,
    PlannedIntervention,
    PlannedPhase,
    Session,
    SessionSpec,
)
from session_logs import simulated, whole_log
from stack import RunningStack

pytestmark = pytest.mark.asyncio(loop_scope="session")

WARM_S, MEASURE_S = 155.0, 300.0


@pytest.fixture(scope="session")
def endless(city: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The city, its flows without ends: how many depart depends on the end that SUMO is told."""
    folder = tmp_path_factory.mktemp("endless") / "city"
    shutil.copytree(city, folder)
    routes = folder / "city.rou.xml"
    routes.write_text(routes.read_text().replace(' end="500"', ""))
    return folder


def slow(folder: Path, at_s: float, speed_mps: float) -> PlannedIntervention:
    net = (folder / "city.net.xml").read_text()
    edges = [part.split('"')[0] for part in net.split('<edge id="')[1:] if not part.startswith(":")][::3]
    change = SetSpeedLimit(place=Place(edge_ids=edges), speed_mps=speed_mps)
    return PlannedIntervention(at_time_s=at_s, intervention=Intervention(set_speed_limit=change))


def spec(digest: str, *interventions: PlannedIntervention, **others: object) -> SessionSpec:
    plan = [
        PlannedPhase(name="warm", kind=PhaseKind.PHASE_KIND_WARM_UP, duration_s=WARM_S),
        PlannedPhase(name="measure", kind=PhaseKind.PHASE_KIND_MEASURE, duration_s=MEASURE_S),
    ]
    return SessionSpec(scenario_digest=digest, seed=4, plan=plan, interventions=interventions, **others)  # type: ignore[arg-type]


async def behind(stack: RunningStack, session_id: str, step: float) -> list[tuple[int, int, float, bytes]]:
    """What a session's log holds of the simulation behind a step, its end included."""
    return [item for item in simulated(await whole_log(stack, session_id)) if item[1] > step]


# At the end of a phase; in the middle of a phase and of an interval.
@pytest.mark.parametrize("stop_s", [WARM_S, pytest.param(203.0, marks=pytest.mark.slow)])
async def test_forks_of_a_warm_up_wake_its_copy_and_equal_undisturbed_sessions(
    stack: RunningStack, endless: Path, stop_s: float
) -> None:
    sessions = stack.client.sessions
    digest = (await stack.client.scenarios.upload(endless)).digest
    before, later = slow(endless, 100, 9.0), slow(endless, 300, 2.0)
    trunk = await sessions.run(spec(digest, before, later, stop_time_s=stop_s, linger_s=300))
    assert (trunk.results.reason, trunk.progress.sim_time_s) == (CompletionReason.COMPLETION_REASON_END_TIME, stop_s)
    # At the very step of the fork, nothing, something later, and what was planned anyway.
    plans = {"now": [slow(endless, stop_s, 4.0)], "none": [], "later": [slow(endless, 250, 4.0)]}

    async def forked(name: str) -> str:
        fork = await sessions.fork(trunk.session_id, planned_interventions=plans[name], replan=True)
        return (await sessions.wait(fork.session_id)).session_id

    forks = dict(zip(plans, await asyncio.gather(*map(forked, plans)), strict=True))
    forks["kept"] = (await sessions.wait((await sessions.fork(trunk.session_id)).session_id)).session_id
    plans["kept"] = [later]
    wholes = await asyncio.gather(*(sessions.run(spec(digest, before, *planned)) for planned in plans.values()))
    for name, whole in zip(plans, wholes, strict=True):
        log = await whole_log(stack, forks[name])
        started = [event.run_started for event in log if event.HasField("run_started")]
        assert [one.start for one in started] == [StartKind.START_KIND_MEMORY_SNAPSHOT], name
        assert await behind(stack, forks[name], stop_s) == await behind(stack, whole.session_id, stop_s), name
        fork = await sessions.get(forks[name], full=True)
        assert fork.results == whole.results
        assert fork.phases[1] == whole.phases[1] or stop_s > WARM_S
        assert fork.phases[1].kpis == whole.phases[1].kpis
        assert fork.phases[1].status == PhaseStatus.PHASE_STATUS_DONE
        assert (fork.spec.linger_s, fork.spec.HasField("stop_time_s")) == (0.0, False)
    results = [whole.results.state_digest for whole in wholes]
    assert len(set(results)) == len(plans)
    # From its own log alone, and from the origin.
    for name in (forks["now"], trunk.session_id):
        assert not (await sessions.verify(name)).difference


@pytest.mark.slow
async def test_a_fork_of_a_session_that_ended_within_its_plan_goes_on_with_the_plan(
    stack: RunningStack, city: Path
) -> None:
    sessions = stack.client.sessions
    digest = (await stack.client.scenarios.upload(city)).digest
    change = slow(city, 233, 4.0)
    whole = await sessions.run(spec(digest, change))
    for end_s in (WARM_S, 233.0, 250.0):
        # One that is planned for the very end is not applied by then; a fork applies it, once.
        trunk = await sessions.run(spec(digest, change, end_time_s=end_s, linger_s=300))
        fork = await sessions.fork(trunk.session_id, end_time_s=WARM_S + MEASURE_S)
        fork = await sessions.wait(fork.session_id)
        assert await behind(stack, fork.session_id, end_s) == await behind(stack, whole.session_id, end_s), end_s
        assert fork.results == whole.results
        assert fork.phases[1].kpis == whole.phases[1].kpis


@pytest.mark.slow
async def test_edge_data_is_an_artifact_and_changes_nothing_that_is_simulated(
    stack: RunningStack, endless: Path, tmp_path: Path
) -> None:
    sessions = stack.client.sessions
    digest = (await stack.client.scenarios.upload(endless)).digest
    wanted = EdgeData(interval_s=100, begin_time_s=50)
    plain, told, trunk = await asyncio.gather(
        sessions.run(spec(digest)),
        sessions.run(spec(digest, edge_data=wanted)),
        sessions.run(spec(digest, edge_data=wanted, stop_time_s=203, linger_s=300)),
    )
    logs = [await whole_log(stack, one.session_id) for one in (plain, told)]
    assert simulated(logs[0]) == simulated(logs[1])
    assert "outputs/edges.xml" not in {artifact.name for artifact in plain.artifacts}
    # A fork's process goes on counting where the warm-up stopped.
    fork = await sessions.wait((await sessions.fork(trunk.session_id)).session_id)
    found = [await edges(stack, one, tmp_path) for one in (told, fork)]
    assert [interval.attrib["begin"] for interval in found[0]] == ["50.00", "150.00", "250.00", "350.00", "450.00"]
    assert ET.tostring(found[0]) == ET.tostring(found[1])
    assert all(float(edge.attrib["sampledSeconds"]) > 0 for edge in found[0].iter("edge"))


async def edges(stack: RunningStack, session: Session, folder: Path) -> ET.Element:
    """The artifact of that very name."""
    (artifact,) = [one for one in session.artifacts if one.name == "outputs/edges.xml"]
    target = folder / session.session_id
    await stack.client.artifacts.download(artifact, target)
    return ET.parse(target).getroot()
