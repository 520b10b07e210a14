"""A session from upload to results, as a client sees it."""

import asyncio
import hashlib
import shutil
import subprocess
import sys
import uuid
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from milepost.event.v1.event_pb2 import EventKind
from milepost.exceptions import MilepostError
from milepost.session.v1.session_pb2 import (
    CompletionReason,
    Engine,
    KpiGoal,
    KpiName,
    Session,
    SessionSpec,
    SessionState,
)
from scenario.demo import demo_directory
from scenario.prepare import RunOptions, prepare
from scenario.wire import scene_from_proto
from session_logs import SHARED, simulated, whole_log
from stack import RunningStack

# When the bundled city begins, s.
DEMO_BEGIN_S = 25200.0

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def run(stack: RunningStack, folder: Path, **spec: object) -> Session:
    scenario = await stack.client.scenarios.upload(folder)
    return await stack.client.sessions.run(SessionSpec(scenario_digest=scenario.digest, **spec))


def bare(session: Session, folder: Path, scratch: Path) -> dict[str, float]:
    """Statistics of the bare binary with the session's own arguments and environment, under our names."""
    root = scratch / "scene"
    shutil.copytree(folder, root)
    prepare(root, scene_from_proto(session.scene), spec=RunOptions(seed=session.spec.seed))
    arguments = [*session.execution.arguments, "--duration-log.statistics"]
    if "--statistic-output" not in arguments:
        arguments += ["--statistic-output", "statistics.xml"]
    subprocess.run(
        [Path(sys.executable).with_name("sumo"), *arguments],
        cwd=scratch,
        env=dict(pair.split("=", 1) for pair in session.execution.environment),
        check=True,
        capture_output=True,
    )
    found = ET.parse(scratch / arguments[arguments.index("--statistic-output") + 1]).getroot()

    def value(element: str, attribute: str) -> float:
        node = found.find(element)
        assert node is not None
        return float(node.attrib[attribute])

    trips = "vehicleTripStatistics"
    return {
        "loaded": value("vehicles", "loaded"),
        "departed": value("vehicles", "inserted"),
        "running": value("vehicles", "running"),
        "waiting": value("vehicles", "waiting"),
        "teleports": value("teleports", "total"),
        "collisions": value("safety", "collisions"),
        "emergency_stops": value("safety", "emergencyStops"),
        "emergency_brakings": value("safety", "emergencyBraking"),
        "trips": value(trips, "count"),
        "mean_route_length_m": value(trips, "routeLength"),
        "mean_trip_speed_mps": value(trips, "speed"),
        "mean_travel_time_s": value(trips, "duration"),
        "mean_waiting_time_s": value(trips, "waitingTime"),
        "mean_time_loss_s": value(trips, "timeLoss"),
        "mean_depart_delay_s": value(trips, "departDelay"),
        "total_travel_time_s": value(trips, "totalTravelTime"),
        "total_depart_delay_s": value(trips, "totalDepartDelay"),
    }


async def assert_equals_bare(session: Session, folder: Path, scratch: Path) -> None:
    assert session.state == SessionState.SESSION_STATE_COMPLETED, session.failure
    expected = await asyncio.to_thread(bare, session, folder, scratch)
    assert expected["departed"] > 100, "a comparison of nothing proves nothing"
    assert {name: getattr(session.results.kpis, name) for name in expected} == expected


async def test_a_city_of_ones_own_has_the_results_of_the_bare_binary(
    stack: RunningStack, city: Path, tmp_path: Path
) -> None:
    session = await run(stack, city, seed=5)
    await assert_equals_bare(session, city, tmp_path)


async def test_the_bundled_city_has_the_results_of_the_bare_binary(stack: RunningStack, tmp_path: Path) -> None:
    session = await stack.client.sessions.create_demo(seed=3, end_time_s=DEMO_BEGIN_S + 900)
    await assert_equals_bare(await stack.client.sessions.wait(session.session_id), demo_directory(), tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("bologna_acosta", marks=pytest.mark.slow),
        "resco_cologne1",
        pytest.param("resco_ingolstadt21", marks=pytest.mark.slow),
    ],
)
async def test_real_scenarios_have_the_results_of_the_bare_binary(
    stack: RunningStack, name: str, tmp_path: Path
) -> None:
    if not (SHARED / name).is_dir():
        pytest.skip(f"{name} is not in MILEPOST_SCENARIOS ({SHARED})")
    begin = 25200 if name == "resco_cologne1" else 57600 if name == "resco_ingolstadt21" else 0
    session = await run(stack, SHARED / name, seed=1, end_time_s=begin + 900.0)
    await assert_equals_bare(session, SHARED / name, tmp_path)


async def test_one_seed_gives_identical_simulation_events_and_another_does_not(stack: RunningStack, city: Path) -> None:
    first, again, other = await asyncio.gather(*(run(stack, city, seed=seed) for seed in (1, 1, 2)))
    logs = [simulated(await whole_log(stack, session.session_id)) for session in (first, again, other)]
    assert len(logs[0]) > 50
    assert logs[0] == logs[1]
    assert logs[0] != logs[2]
    assert first.results == again.results


async def test_both_engines_simulate_the_same(stack: RunningStack, city: Path) -> None:
    libsumo, traci = await asyncio.gather(
        *(
            run(stack, city, seed=1, end_time_s=200, engine=engine)
            for engine in (Engine.ENGINE_LIBSUMO, Engine.ENGINE_TRACI)
        )
    )
    assert traci.state == SessionState.SESSION_STATE_COMPLETED, traci.failure
    assert traci.execution.engine == Engine.ENGINE_TRACI
    assert traci.results == libsumo.results


async def test_a_log_tells_the_whole_story_in_order(stack: RunningStack, city: Path) -> None:
    session = await run(stack, city, seed=1, end_time_s=105)
    log = await whole_log(stack, session.session_id)
    kinds = [event.WhichOneof("payload") for event in log]
    assert kinds[0] == "session_created"
    assert log[0].session_created.spec.seed == 1
    life = [kind for kind in kinds if kind not in ("log_line", "artifact_stored")]
    assert life == [
        "session_created",
        "attempt_claimed",
        "scene_prepared",
        "run_started",
        *["interval_closed"] * 11,
        "session_completed",
    ]
    steps = [event.step for event in log if event.HasField("interval_closed")]
    assert steps == [*range(10, 101, 10), 105], "every ten steps, and the rest at the end"
    assert log[-1].session_completed.results.reason == CompletionReason.COMPLETION_REASON_END_TIME
    assert session.progress.sim_time_s == session.results.sim_time_s == 105


async def test_outputs_and_messages_are_kept_wherever_the_scenario_wanted_them(
    stack: RunningStack, city: Path, tmp_path: Path
) -> None:
    session = await run(stack, city, seed=1, end_time_s=300)
    kept = {artifact.name: artifact for artifact in session.artifacts}
    assert "sumo.log" in kept
    (means,) = [name for name in kept if name.endswith("means.xml")]
    (trips,) = [name for name in kept if name.endswith("trips.xml")]
    for name in (means, trips):
        await stack.client.artifacts.download(kept[name], tmp_path / "kept")
        content = (tmp_path / "kept").read_bytes()
        assert hashlib.sha256(content).hexdigest() == kept[name].sha256
        ET.fromstring(content)


async def test_a_network_that_is_empty_ends_the_session_when_asked(stack: RunningStack, city: Path) -> None:
    session = await run(stack, city, seed=1, stop_when_empty=True, end_time_s=100_000)
    assert session.results.reason == CompletionReason.COMPLETION_REASON_NETWORK_EMPTY
    assert session.results.kpis.running == 0
    assert session.results.sim_time_s < 100_000


async def test_a_goal_that_is_reached_ends_the_session(stack: RunningStack, city: Path) -> None:
    session = await run(stack, city, seed=1, goal=KpiGoal(kpi=KpiName.KPI_NAME_ARRIVED, at_least=30))
    assert session.results.reason == CompletionReason.COMPLETION_REASON_KPI_GOAL
    assert session.results.kpis.arrived >= 30
    log = await whole_log(stack, session.session_id)
    before = [event for event in log if event.HasField("interval_closed")][-2]
    assert before.interval_closed.kpis.arrived < 30


async def test_a_cancel_ends_a_running_session_at_once_and_is_answered_in_the_log(
    stack: RunningStack, city: Path
) -> None:
    scenario = await stack.client.scenarios.upload(city)
    spec = SessionSpec(scenario_digest=scenario.digest, seed=1, end_time_s=1e8)
    session = await stack.client.sessions.create(spec)
    async for item in stack.client.events.watch(session.session_id, kinds=[EventKind.EVENT_KIND_INTERVAL_CLOSED]):
        if getattr(item, "step", 0):
            break
    cancelled = await stack.client.sessions.cancel(session.session_id, comment="enough")
    assert cancelled.state == SessionState.SESSION_STATE_CANCELLED
    log = await whole_log(stack, session.session_id)
    requested = next(event.command_requested for event in log if event.HasField("command_requested"))
    applied = next(event.command_applied for event in log if event.HasField("command_applied"))
    assert requested.comment == "enough"
    assert applied.command_id == requested.command_id == log[-1].session_cancelled.command_id


async def test_a_session_that_is_only_recorded_waits_for_its_start(stack: RunningStack, city: Path) -> None:
    scenario = await stack.client.scenarios.upload(city)
    spec = SessionSpec(scenario_digest=scenario.digest, end_time_s=50)
    session = await stack.client.sessions.create(spec, create_only=True)
    assert session.state == SessionState.SESSION_STATE_CREATED
    started = await stack.client.sessions.start(session.session_id)
    assert started.seq > session.seq
    ended = await stack.client.sessions.wait(session.session_id)
    assert ended.state == SessionState.SESSION_STATE_COMPLETED
    with pytest.raises(MilepostError) as refused:
        await stack.client.sessions.start(session.session_id)
    assert refused.value.reason == "INVALID_TRANSITION"
    assert refused.value.metadata["from"] == "COMPLETED"


async def test_an_equal_request_is_answered_with_the_same_session_and_another_is_refused(
    stack: RunningStack, city: Path
) -> None:
    scenario = await stack.client.scenarios.upload(city)
    spec = SessionSpec(scenario_digest=scenario.digest, end_time_s=10)
    request_id = str(uuid.uuid4())
    answers = await asyncio.gather(*(stack.client.sessions.create(spec, request_id=request_id) for _ in range(5)))
    assert len({answer.session_id for answer in answers}) == 1
    with pytest.raises(MilepostError) as refused:
        await stack.client.sessions.create(
            SessionSpec(scenario_digest=scenario.digest, end_time_s=11), request_id=request_id
        )
    assert refused.value.reason == "REQUEST_ID_REUSED"


async def test_an_own_id_is_taken_once(stack: RunningStack, city: Path) -> None:
    scenario = await stack.client.scenarios.upload(city)
    spec = SessionSpec(scenario_digest=scenario.digest, end_time_s=10)
    name = f"mine-{uuid.uuid4().hex[:8]}"
    assert (await stack.client.sessions.create(spec, session_id=name)).session_id == name
    with pytest.raises(MilepostError) as refused:
        await stack.client.sessions.create(spec, session_id=name)
    assert refused.value.reason == "SESSION_EXISTS"


async def test_a_session_is_listed_and_read_with_what_it_has_reached(stack: RunningStack, city: Path) -> None:
    session = await run(stack, city, seed=9, end_time_s=60)
    listed = [one async for one in stack.client.sessions.list(page_size=3)]
    assert session.session_id in {one.session_id for one in listed}
    times = [one.create_time.ToMicroseconds() for one in listed]
    assert times == sorted(times, reverse=True)
    read = await stack.client.sessions.get(session.session_id, full=True)
    assert read.progress.real_time_factor > 1
    assert read.execution.sumo_version == "1.28.0"
    assert "--seed" in read.execution.arguments
