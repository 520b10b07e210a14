"""Real scenarios through the whole library, and the same trajectories as SUMO gives without it."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from scenario.demo import CONFIG, demo_directory
from scenario.demo.make_city import make_city
from scenario.inspect import inspect
from scenario.model import Scene
from scenario.prepare import PreparedScene, RunOptions

Prepared = Callable[..., tuple[Path, PreparedScene]]
Sumo = Callable[..., str]
# Long enough for signals, queues and detectors' first intervals.
SIMULATED_S = 300.0
COMPARED = ("--tripinfo-output", "trips.xml", "--tripinfo-output.write-unfinished", "--statistic-output", "all.xml")
SESSION_OPTIONS = (
    *("-X", "never", "--xml-validation.net", "never", "--xml-validation.routes", "never", "--route-steps", "0"),
    *("--threads", "1", "--device.rerouting.threads", "0", "--device.tripinfo.probability", "1", "--no-step-log"),
)
# Both carry the time and the arguments of the run in a comment; statistics also how long it took.
UNEQUAL = re.compile(r"<!--.*?-->|<performance[^>]*/>", re.DOTALL)


def scene_of(folder: Path, config: str = "run.sumocfg") -> Scene:
    inspection = inspect(folder, config)
    assert inspection.errors == ()
    assert inspection.scene is not None
    return inspection.scene


def results(folder: Path) -> list[str]:
    return [UNEQUAL.sub("", (folder / name).read_text()) for name in ("trips.xml", "all.xml")]


def test_a_shared_scenario_drives_the_same_prepared_as_from_its_own_configuration(
    shared: Path, prepared: Prepared, sumo: Sumo, tmp_path: Path
) -> None:
    scene = scene_of(shared)
    end_time_s = scene.begin_time_s + SIMULATED_S
    session_directory, ready = prepared(shared, scene, RunOptions(seed=11, end_time_s=end_time_s))
    original = tmp_path / "original"
    original.mkdir()
    for source in shared.iterdir():
        (original / source.name).write_bytes(source.read_bytes())

    sumo(session_directory, *ready.arguments, *COMPARED)
    own_run = ("-c", "run.sumocfg", *SESSION_OPTIONS, "--seed", "11", "--end", f"{end_time_s:g}")
    sumo(original, *own_run, *COMPARED)

    assert results(session_directory) == results(original)
    assert results(original)[0].count("<tripinfo ") > 20, "something drives"
    for output in ready.outputs:
        assert (session_directory / output.path).stat().st_size > 0


def test_another_seed_drives_differently(prepared: Prepared, sumo: Sumo, tmp_path: Path) -> None:
    scene = scene_of(demo_directory(), CONFIG)
    seen = []
    for seed in (1, 2):
        spec = RunOptions(seed=seed, end_time_s=scene.begin_time_s + 60)
        session_directory, ready = prepared(demo_directory(), scene, spec)
        sumo(session_directory, *ready.arguments, *COMPARED[:3])
        seen.append(UNEQUAL.sub("", (session_directory / "trips.xml").read_text()))
        session_directory.rename(tmp_path / f"seed-{seed}")

    assert seen[0] != seen[1]


@pytest.mark.slow
def test_the_demo_city_is_clean_and_busy_and_never_stuck(prepared: Prepared, sumo: Sumo) -> None:
    inspection = inspect(demo_directory(), CONFIG)
    assert inspection.scene is not None
    assert {warning.rule for warning in inspection.warnings} == {"output-redirected"}
    session_directory, ready = prepared(demo_directory(), inspection.scene, RunOptions(seed=1))

    printed = sumo(session_directory, *ready.arguments, "--summary-output", "summary.xml")

    running = [int(count) for count in re.findall(r' running="(\d+)"', (session_directory / "summary.xml").read_text())]
    statistics = (session_directory / "outputs/statistics.xml").read_text()
    assert printed.strip() == "", "no warning of SUMO's"
    assert 300 <= max(running) <= 700
    assert running[-1] < 50, "the peak is over and has drained"
    assert 'teleports total="0"' in statistics
    assert 'collisions="0"' in statistics
    for output in ready.outputs:
        assert (session_directory / output.path).stat().st_size > 0


def test_the_demo_city_has_buses_that_stop_and_signals_of_both_kinds() -> None:
    city = inflated(demo_directory())
    net, routes = city["milton.net.xml.gz"], city["milton.rou.xml.gz"]

    assert {'type="actuated"', 'type="static"'} <= set(re.findall(r'<tlLogic [^>]*(type="\w+")', net))
    assert set(re.findall(r'line="(\w+)"', routes)) == {"line1", "line2"}
    assert routes.count("<stop ") > 50


def test_the_committed_city_is_what_its_plan_makes(tmp_path: Path) -> None:
    make_city(tmp_path)

    committed, made = inflated(demo_directory()), inflated(tmp_path)
    assert made.keys() == committed.keys()
    # Zlib and the last digit of a coordinate may differ between machines; the plan may not.
    for name, parts in {
        "milton.net.xml.gz": r'<(?:edge|tlLogic|junction) id="[^"]*"',
        "milton.rou.xml.gz": r'<vehicle id="[^"]*" type="[^"]*" depart="[^"]*"',
        "scenery.add.xml.gz": r'<(?:poly|poi) id="[^"]*"',
        "stops.add.xml": r".+",
        "detectors.add.xml": r".+",
        CONFIG: r".+",
    }.items():
        assert re.findall(parts, made[name]) == re.findall(parts, committed[name])
        assert re.findall(parts, made[name])
    assert sum(path.stat().st_size for path in demo_directory().iterdir()) < 1_500_000


def inflated(folder: Path) -> dict[str, str]:
    """The files of a folder by name, as text."""
    contents = {path.name: path.read_bytes() for path in folder.iterdir()}
    return {
        name: (gzip.decompress(content) if name.endswith(".gz") else content).decode()
        for name, content in contents.items()
    }
