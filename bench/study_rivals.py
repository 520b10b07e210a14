"""Studies beside SUMO's own way to run seeds (`tools/runSeeds.py`): the same runs on the same cores, in one run.

    200 runs: 20 demands x 10 seeds of an hour of Ingolstadt, and of Cologne  runSeeds, half of them | a study |
                                                            runSeeds, the other half | the same study again
    a warm-up: 10 closures x 4 seeds of Ingolstadt, in the last third         runSeeds | whole runs | shared warm-up

runSeeds starts a process for each run and leaves an XML file; a study leaves logs, verdicts and a ranking. A run of
Cologne takes a third of a second, so it shows what a session costs beside what it simulates; one of Ingolstadt takes
four. Takes about twenty minutes.
"""

import asyncio
import gzip
import os
import shutil
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from bench.lines import told
from bench.stack import stack
from milepost.client import Milepost
from milepost.intervention.v1.intervention_pb2 import Close, Intervention, Place
from milepost.scenario.v1.scenario_pb2 import SumoOption
from milepost.session.v1.session_pb2 import PlannedIntervention, SessionSpec
from milepost.study.v1.study_pb2 import Design, Objective, Patch, Study, StudyBase, StudySpec, StudyState, Variant
from milepost.study.v1.study_service_pb2 import CreateStudyRequest

SCENARIOS = Path(os.environ.get("MILEPOST_SCENARIOS", Path(__file__).parents[2] / "shared" / "scenarios"))
COLOGNE, INGOLSTADT = SCENARIOS / "resco_cologne1", SCENARIOS / "resco_ingolstadt21"
_HOUR_ENDS_S = {COLOGNE: 25200 + 3600, INGOLSTADT: 57600 + 3600}
_DEMANDS, _SEEDS = 20, 10
_BEGIN_S, _DIFFER_S, _END_S = 57600, 57600 + 800, 57600 + 1200
_CLOSURES, _FEW_SEEDS = 10, 4


async def measure() -> None:
    """Both, side by side."""
    if not COLOGNE.is_dir():
        told(f"no scenarios at {SCENARIOS}", "left out: set MILEPOST_SCENARIOS")
        return
    # A process for each core, as the tool has; more of them on a core get in each other's way.
    async with stack(slots=os.cpu_count()) as client:
        await _warm_up(client)
        for folder in (COLOGNE, INGOLSTADT):
            await _many_runs(client, folder)


async def _many_runs(client: Milepost, folder: Path) -> None:
    demands = [f"{0.8 + 0.02 * number:.2f}" for number in range(_DEMANDS)]
    variants = [Variant(name=f"x{it}", patch=Patch(options=[SumoOption(name="scale", value=it)])) for it in demands]
    seeds, end_s = range(1, 1 + _SEEDS), _HOUR_ENDS_S[folder]
    spec = await _spec(client, folder, variants, seeds, end_s)
    # The tool before and after: a machine that is faster in one hour than in the next favours neither.
    parts = [[["--scale", it] for it in demands[half::2]] for half in (0, 1)]
    by_tool = await _run_seeds(folder, seeds, parts[0], end_s=end_s)
    by_study, _ = await _study(client, spec)
    by_tool += await _run_seeds(folder, seeds, parts[1], end_s=end_s)
    again, same = await _study(client, spec)
    runs = len(demands) * len(seeds)
    assert same.progress.cached == runs
    told(f"{runs} runs of an hour of {folder.name} by runSeeds.py", f"{by_tool:.1f} s")
    told("by a study", f"{by_study:.1f} s, {by_study / by_tool:.2f} of runSeeds", "at most 1")
    told("the same study again, from stored results", f"{again:.2f} s", "seconds")


async def _warm_up(client: Milepost) -> None:
    edges = _streets(INGOLSTADT)[:_CLOSURES]
    variants = [
        Variant(
            name=f"close {edge}",
            patch=Patch(
                interventions=[
                    PlannedIntervention(
                        at_time_s=_DIFFER_S,
                        # Closed to a class that is not there: all runs are as long as those of the tool.
                        intervention=Intervention(close=Close(place=Place(edge_ids=[edge]), vehicle_classes=["tram"])),
                    )
                ]
            ),
        )
        for edge in edges
    ]
    seeds = range(1, 1 + _FEW_SEEDS)
    by_tool = await _run_seeds(INGOLSTADT, seeds, [[]] * len(variants), end_s=_END_S)
    spec = await _spec(client, INGOLSTADT, variants, seeds, _END_S)
    spec.design.no_cache = True
    spec.design.no_shared_warm_up = True
    whole, _ = await _study(client, spec)
    spec.design.no_shared_warm_up = False
    shared, study = await _study(client, spec)
    runs = len(variants) * len(seeds)
    assert study.progress.sessions == runs + len(seeds)
    told(f"{runs} runs of {_END_S - _BEGIN_S} s by runSeeds.py", f"{by_tool:.1f} s")
    told("by a study, each run whole", f"{whole:.1f} s, {whole / by_tool:.2f} of runSeeds", "at most 1")
    told(
        f"by a study, {_DIFFER_S - _BEGIN_S} s shared", f"{shared:.1f} s, {shared / by_tool:.2f} of runSeeds", "below 1"
    )


async def _spec(
    client: Milepost, folder: Path, variants: Sequence[Variant], seeds: Sequence[int], end_s: float
) -> StudySpec:
    scenario = await client.scenarios.upload(folder)
    return StudySpec(
        base=StudyBase(scenario_digest=scenario.digest),
        variants=variants,
        seeds=list(seeds),
        objective=Objective(expression="mean_time_loss_s"),
        design=Design(map_seeds=0),
        session=SessionSpec(end_time_s=end_s),
    )


async def _study(client: Milepost, spec: StudySpec) -> tuple[float, Study]:
    """Seconds from the call to the end, and the study."""
    began = time.perf_counter()
    created = await client.studies.create(CreateStudyRequest(spec=spec))
    study = await client.studies.wait(created.study_id)
    took_s = time.perf_counter() - began
    assert study.state == StudyState.STUDY_STATE_COMPLETED
    assert not study.progress.failed
    return took_s, study


async def _run_seeds(folder: Path, seeds: Sequence[int], options: Sequence[Sequence[str]], *, end_s: float) -> float:
    """Seconds that runSeeds.py takes for these seeds with each set of options, on all cores."""
    package = find_spec("sumo")
    assert package is not None
    assert package.origin is not None
    home = Path(package.origin).parent
    with tempfile.TemporaryDirectory(prefix="milepost-bench-") as name:
        root = Path(name)
        shutil.copytree(folder, root / "scene")
        configs = [_config(root / "scene", number, given, end_s) for number, given in enumerate(options)]
        command = [sys.executable, str(home / "tools" / "runSeeds.py"), "-k", ",".join(map(str, configs))]
        command += ["--seeds", f"{min(seeds)}:{max(seeds) + 1}", "--threads", str(os.cpu_count())]
        command += ["--no-step-log", "--no-warnings", "--duration-log.statistics"]
        environment = {**os.environ, "SUMO_HOME": str(home)}
        began = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=root / "scene",
            env=environment,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        await process.wait()
        took_s = time.perf_counter() - began
        written = len(list(root.rglob("*statistics.xml")))
        assert written == len(seeds) * len(options), f"{written} statistics of {len(seeds) * len(options)} runs"
    return took_s


def _config(scene: Path, number: int, options: Sequence[str], end_s: float) -> Path:
    """The scenario's configuration with some options, an end and statistics to write."""
    (source,) = (path for path in scene.glob("*.sumocfg") if not path.name.startswith("bench"))
    tree = ET.parse(source)  # noqa: S314 - a scenario of our own
    extra = {"end": f"{end_s:g}", "statistic-output": "statistics.xml"}
    extra |= {options[at].removeprefix("--"): options[at + 1] for at in range(0, len(options), 2)}
    for element in list(tree.getroot().iter()):
        for child in list(element):
            if child.tag in extra:
                element.remove(child)
    section = ET.SubElement(tree.getroot(), "bench")
    for key, value in extra.items():
        ET.SubElement(section, key, value=value)
    target = scene / f"bench{number:03}.sumocfg"
    tree.write(target)
    return target


def _streets(folder: Path) -> list[str]:
    (net,) = folder.glob("*.net.xml*")
    content = net.read_bytes()
    text = (gzip.decompress(content) if net.suffix == ".gz" else content).decode()
    return [part.split('"')[0] for part in text.split('<edge id="')[1:] if not part.startswith(":")]
