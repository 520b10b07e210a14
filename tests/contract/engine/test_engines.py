"""Both engines keep the same promises."""

import subprocess
import xml.etree.ElementTree as ET
from importlib.util import find_spec
from pathlib import Path

import pytest
from child_runs import RESULT_ENVIRONMENT, City, Run, plan, run

from milepost.child.v1.child_pb2 import FromChild, Stop, ToChild
from milepost.event.v1.event_pb2 import IntervalClosed
from milepost.event.v1.frame_pb2 import Frame
from milepost.kpi.v1.kpi_pb2 import Kpis
from milepost.session.v1.session_pb2 import CompletionReason, Engine, KpiGoal, KpiName
from sim_worker.gateways.allocator import LIBC
from sim_worker.gateways.child_process import Child, ChildExit
from sim_worker.gateways.sumo_log import last_words
from sim_worker.gateways.zygote import Zygote

pytestmark = pytest.mark.asyncio(loop_scope="module")

EngineKind = Engine.ValueType

# Longer than all traffic of the city takes.
LATE_S = 2000.0


def completed(heard: Run) -> Kpis:
    assert heard.failed is None
    assert heard.finished is not None
    assert heard.exit == ChildExit(exit_code=0, cause=None)
    return heard.finished.results.kpis


def bare_statistics(directory: Path, arguments: list[str]) -> ET.Element:
    """What the `sumo` binary itself says at the end, run with the same arguments and environment."""
    spec = find_spec("sumo")
    assert spec is not None
    assert spec.origin is not None
    sumo = Path(spec.origin).parent / "bin" / "sumo"
    asked = ["--statistic-output", "bare.xml", "--duration-log.statistics"]
    subprocess.run([sumo, *arguments, *asked], cwd=directory, env=RESULT_ENVIRONMENT, check=True, capture_output=True)
    return ET.parse(directory / "bare.xml").getroot()


def assert_equal_to_bare(kpis: Kpis, root: ET.Element) -> None:
    places = {
        "loaded": ("vehicles", "loaded"),
        "departed": ("vehicles", "inserted"),
        "running": ("vehicles", "running"),
        "waiting": ("vehicles", "waiting"),
        "teleports": ("teleports", "total"),
        "collisions": ("safety", "collisions"),
        "emergency_stops": ("safety", "emergencyStops"),
        "emergency_brakings": ("safety", "emergencyBraking"),
        "trips": ("vehicleTripStatistics", "count"),
        "mean_route_length_m": ("vehicleTripStatistics", "routeLength"),
        "mean_trip_speed_mps": ("vehicleTripStatistics", "speed"),
        "mean_travel_time_s": ("vehicleTripStatistics", "duration"),
        "mean_waiting_time_s": ("vehicleTripStatistics", "waitingTime"),
        "mean_time_loss_s": ("vehicleTripStatistics", "timeLoss"),
        "mean_depart_delay_s": ("vehicleTripStatistics", "departDelay"),
        "total_travel_time_s": ("vehicleTripStatistics", "totalTravelTime"),
        "total_depart_delay_s": ("vehicleTripStatistics", "totalDepartDelay"),
    }
    bare = {}
    for name, (tag, attribute) in places.items():
        element = root.find(tag)
        assert element is not None
        bare[name] = float(element.attrib[attribute])
    assert {name: float(getattr(kpis, name)) for name in places} == bare
    assert bare["trips"] > 0


@pytest.mark.parametrize(
    ("name", "extra", "end_time_s"),
    [
        ("to the end", (), None),
        ("to an end time", (), 90.0),
        ("with unfinished trips", ("--tripinfo-output", "trips.xml", "--tripinfo-output.write-unfinished"), 90.0),
        ("with half steps", ("--step-length", "0.5"), 90.5),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
async def test_final_kpis_equal_those_of_the_bare_binary(
    city: City, zygote: Zygote, engine: EngineKind, *, name: str, extra: tuple[str, ...], end_time_s: float | None
) -> None:
    what = plan(engine, *extra, end_time_s=end_time_s)
    directory = city.lay_out(f"bare {name} {engine}")
    kpis = completed(await run(zygote, directory, what))
    bare = bare_statistics(city.lay_out(f"bare {name} {engine} binary"), list(what.arguments))
    assert_equal_to_bare(kpis, bare)


@pytest.mark.parametrize("name", ["statistics.csv", "statistics.xml.gz", "/dev/null"])
async def test_statistics_may_be_wanted_in_any_form(
    city: City, zygote: Zygote, engine: EngineKind, *, name: str
) -> None:
    folder = f"form {name.replace('/', ' ')} {engine}"
    heard = await run(zygote, city.lay_out(folder), plan(engine, "--statistic-output", name, end_time_s=90))
    bare = bare_statistics(city.lay_out(f"{folder} binary"), list(plan(engine, end_time_s=90).arguments))
    assert_equal_to_bare(completed(heard), bare)


async def test_a_run_ends_at_the_step_at_which_the_bare_binary_ends(
    city: City, zygote: Zygote, engine: EngineKind
) -> None:
    what = plan(engine)
    heard = await run(zygote, city.lay_out(f"empty {engine}"), what)
    completed(heard)
    assert heard.finished is not None
    assert heard.finished.results.reason == CompletionReason.COMPLETION_REASON_NETWORK_EMPTY
    performance = bare_statistics(city.lay_out(f"empty {engine} binary"), list(what.arguments)).find("performance")
    assert performance is not None
    assert heard.finished.sim_time_s == float(performance.attrib["end"])


async def test_equal_inputs_give_equal_bytes_and_another_seed_does_not(
    city: City, zygote: Zygote, engine: EngineKind
) -> None:
    runs = [
        await run(zygote, city.lay_out(f"seed {seed} {turn} {engine}"), plan(engine, seed=seed, end_time_s=60))
        for turn, seed in enumerate((7, 7, 8))
    ]
    assert runs[0].payloads == runs[1].payloads
    assert runs[0].finished == runs[1].finished
    assert runs[0].last.state_digest != runs[2].last.state_digest


async def test_both_engines_compute_the_same(city: City, zygote: Zygote) -> None:
    if zygote.ready.libsumo_missing:
        pytest.skip(f"libsumo cannot be used here: {zygote.ready.libsumo_missing}")
    inside = await run(zygote, city.lay_out("inside"), plan(Engine.ENGINE_LIBSUMO))
    beside = await run(zygote, city.lay_out("beside"), plan(Engine.ENGINE_TRACI))
    assert inside.payloads == beside.payloads
    assert inside.finished == beside.finished


async def test_intervals_follow_each_other_and_the_last_one_may_be_short(
    city: City, zygote: Zygote, engine: EngineKind
) -> None:
    heard = await run(zygote, city.lay_out(f"short {engine}"), plan(engine, end_time_s=34))
    assert [interval.step for interval in heard.intervals] == [10, 20, 30, 34]
    assert [interval.sim_time_s for interval in heard.intervals] == [10.0, 20.0, 30.0, 34.0]
    assert heard.finished is not None
    assert heard.finished.results.state_digest == heard.last.state_digest
    assert heard.last.kpis.persons == 1
    assert heard.last.kpis.running > 0


async def test_with_an_end_time_it_may_end_when_the_network_is_empty(
    city: City, zygote: Zygote, engine: EngineKind
) -> None:
    what = plan(engine, end_time_s=LATE_S)
    what.stop_when_empty = True
    heard = await run(zygote, city.lay_out(f"early {engine}"), what)
    assert completed(heard).running == 0
    assert heard.finished is not None
    assert heard.finished.results.reason == CompletionReason.COMPLETION_REASON_NETWORK_EMPTY
    assert heard.finished.sim_time_s < LATE_S


async def test_it_ends_at_the_first_interval_that_reaches_the_goal(
    city: City, zygote: Zygote, engine: EngineKind
) -> None:
    what = plan(engine)
    what.goal.CopyFrom(KpiGoal(kpi=KpiName.KPI_NAME_DEPARTED, at_least=12))
    heard = await run(zygote, city.lay_out(f"goal {engine}"), what)
    assert heard.finished is not None
    assert heard.finished.results.reason == CompletionReason.COMPLETION_REASON_KPI_GOAL
    departed = [IntervalClosed.FromString(payload).kpis.departed for payload in heard.payloads]
    assert departed[-1] >= 12 > departed[-2]


async def test_stop_ends_it_at_a_step_with_complete_outputs(city: City, zygote: Zygote, engine: EngineKind) -> None:
    asked = False

    async def stop_once(child: Child, message: FromChild) -> None:
        nonlocal asked
        if message.HasField("interval") and not asked:
            asked = True
            await child.send(ToChild(stop=Stop()))

    what = plan(engine, "--fcd-output", "fcd.xml", end_time_s=1_000_000)
    directory = city.lay_out(f"stop {engine}")
    heard = await run(zygote, directory, what, on_message=stop_once)
    completed(heard)
    assert heard.finished is not None
    assert heard.finished.results.reason == CompletionReason.COMPLETION_REASON_TERMINATED
    assert heard.intervals[-1].step == heard.finished.step
    assert len(ET.parse(directory / "fcd.xml").getroot()) == heard.finished.step


async def test_frames_are_made_only_when_asked_for(city: City, zygote: Zygote, engine: EngineKind) -> None:
    async def ask(child: Child, message: FromChild) -> None:
        if message.HasField("started"):
            await child.frame_rate(30.0)

    quiet = await run(zygote, city.lay_out(f"quiet {engine}"), plan(engine, end_time_s=500))
    watched = await run(zygote, city.lay_out(f"watched {engine}"), plan(engine, end_time_s=500), on_message=ask)
    assert quiet.frames == []
    frames = [Frame.FromString(made.frame) for made in watched.frames]
    assert frames
    for frame in frames:
        assert len(frame.ids) == len(frame.x) == len(frame.y) == len(frame.speed_mps) == len(frame.angle_deg)
    assert watched.payloads == quiet.payloads


async def test_a_scenario_that_sumo_refuses_fails_in_sumos_words(
    city: City, zygote: Zygote, engine: EngineKind
) -> None:
    directory = city.lay_out(f"broken {engine}", traffic='<routes>\n<vehicle id="v" depart="0">\n</routes>')
    heard = await run(zygote, directory, plan(engine))
    assert heard.failed is not None
    assert heard.failed.loading
    assert not heard.failed.engine_unavailable
    assert heard.exit == ChildExit(exit_code=1, cause=None)
    words = last_words(directory / "sumo.log")
    assert (words.file, words.line) == ("city.rou.xml", 3)
    assert "vehicle" in words.message


async def test_an_error_while_stepping_fails_where_it_happened(city: City, zygote: Zygote, engine: EngineKind) -> None:
    traffic = '<routes><vehicle id="v" depart="25" departLane="9"><route edges="A0B0 B0C0"/></vehicle></routes>'
    directory = city.lay_out(f"runtime {engine}", traffic=traffic)
    heard = await run(zygote, directory, plan(engine))
    assert heard.failed is not None
    assert not heard.failed.loading
    # Where SUMO was last heard of: it takes the steps of an interval at once.
    assert 20 <= heard.failed.step <= 25
    assert len(heard.intervals) == 2
    # libsumo raises the words, the binary prints them.
    assert "'v'" in last_words(directory / "sumo.log").message + heard.failed.message


async def test_the_allocator_changes_nothing(city: City, zygote: Zygote, engine: EngineKind) -> None:
    if not zygote.ready.allocator:
        pytest.skip("libtcmalloc_minimal is not installed")
    plain = await Zygote.start(allocator=LIBC)
    try:
        assert plain.ready.allocator == ""
        assert plain.ready.libm_fingerprint == zygote.ready.libm_fingerprint
        what = plan(engine, end_time_s=90.0)
        here = await run(zygote, city.lay_out(f"{engine} with another allocator"), what)
        there = await run(plain, city.lay_out(f"{engine} with the allocator of the C library"), what)
    finally:
        await plain.close()
    assert here.payloads == there.payloads
    assert completed(here) == completed(there)
