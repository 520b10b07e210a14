"""A study of a thousand variants on ten seeds, to its end: how long a cell takes in the beginning and in the end of it.

A street, a few vehicles, a few simulated seconds: what is measured is what a study costs beside its simulations. What
grew with the number of cells that are over, or that wait, would make the last tenth dearer than the first.
"""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

from bench.lines import told
from bench.stack import Running, whole_stack
from milepost.client import Milepost
from milepost.scenario.v1.scenario_pb2 import SumoOption
from milepost.session.v1.session_pb2 import SessionSpec
from milepost.study.v1.study_pb2 import Design, Objective, Patch, Study, StudyBase, StudySpec, Variant
from milepost.study.v1.study_service_pb2 import CreateStudyRequest

VARIANTS, SEEDS = 1000, 10
_SIMULATED_S = 20
_TENTHS = 10
_TICKS = os.sysconf("SC_CLK_TCK")
_MIB = 1024 * 1024


async def measure(variants: int = VARIANTS, seeds: int = SEEDS) -> None:
    """One study, and what its processes took meanwhile."""
    # As many sessions as cores: more of them get in each other's way.
    async with whole_stack(slots=os.cpu_count()) as running:
        spec = await _spec(running.client, running.folder, variants, seeds)
        began = time.perf_counter()
        created = await running.client.studies.create(CreateStudyRequest(spec=spec))
        told(f"{variants:,} variants on {seeds} seeds, created in one call", f"{time.perf_counter() - began:.1f} s")
        study = await _followed(running, created.study_id, variants * seeds, began)
        took_s = time.perf_counter() - began
        told(
            f"{study.progress.done:,} cells, to the ranking", f"{took_s:.0f} s, {took_s / study.progress.done:.3f} each"
        )
        await _asked(running.client, study)


async def _followed(running: Running, study_id: str, cells: int, began: float) -> Study:
    """The study when it has ended; tells of each tenth of its cells."""
    tenths, before, used = 0, began, _processor_s(running)
    async for update in running.client.studies.watch(study_id):
        over = update.study.progress.done + update.study.progress.failed
        if over * _TENTHS // cells > tenths:
            tenths, now, uses = over * _TENTHS // cells, time.perf_counter(), _processor_s(running)
            shares = ", ".join(f"{name} {uses[name] - used.get(name, 0.0):.1f}" for name in sorted(uses))
            resident = _memory_bytes(running.stack.pids["session_api"]) / _MIB
            told(f"  {over:,} over", f"{now - before:.1f} s (processor: {shares}); session_api {resident:.0f} MiB")
            before, used = now, uses
    assert not update.study.progress.failed, update.study
    return update.study


async def _asked(client: Milepost, study: Study) -> None:
    """What questions about it take when it is over."""
    began = time.perf_counter()
    ranking = await client.studies.ranking(study.study_id)
    told("its ranking", f"{time.perf_counter() - began:.2f} s, {ranking.ByteSize() / _MIB:.1f} MiB")
    began = time.perf_counter()
    cells = [cell async for cell in client.studies.cells(study.study_id)]
    assert len(cells) == study.progress.cells
    told("all its cells", f"{time.perf_counter() - began:.2f} s")


async def _spec(client: Milepost, folder: Path, variants: int, seeds: int) -> StudySpec:
    config = await asyncio.to_thread(_write_street, folder / "street")
    scenario = await client.scenarios.upload(config)
    return StudySpec(
        base=StudyBase(scenario_digest=scenario.digest),
        variants=[
            Variant(
                name=f"v{number}", patch=Patch(options=[SumoOption(name="scale", value=f"{1 + number / variants:.4f}")])
            )
            for number in range(variants)
        ],
        seeds=range(1, seeds + 1),
        objective=Objective(expression="running"),
        design=Design(map_seeds=0),
        session=SessionSpec(end_time_s=_SIMULATED_S, interval_steps=_SIMULATED_S),
    )


def _processor_s(running: Running) -> dict[str, float]:
    """Processor time so far, s, of each service with all that it has started; all workers as one."""
    parents: dict[int, int] = {}
    spent: dict[int, float] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(fields[1])
            spent[int(entry.name)] = sum(map(int, fields[11:15])) / _TICKS
    names = {pid: name.partition("-")[0] for name, pid in running.stack.pids.items()}
    found = dict.fromkeys(names.values(), 0.0)
    for pid, seconds in spent.items():
        above = pid
        while above not in names and above in parents:
            above = parents[above]
        if above in names:
            found[names[above]] += seconds
    return found


def _memory_bytes(pid: int) -> int:
    resident = (Path("/proc") / str(pid) / "statm").read_text().split()[1]
    return int(resident) * os.sysconf("SC_PAGE_SIZE")


def _write_street(folder: Path) -> Path:
    """A street of three parts with a vehicle now and then; its configuration."""
    folder.mkdir()
    subprocess.run(
        [
            str(Path(sys.executable).with_name("netgenerate")),
            *("--grid", "--grid.number", "2", "--grid.length", "200", "--no-turnarounds", "true"),
            *("--seed", "1", "--output-file", str(folder / "street.net.xml")),
        ],
        check=True,
        capture_output=True,
    )
    (folder / "street.rou.xml").write_text(
        '<routes>\n    <flow id="f" begin="0" end="3600" period="exp(0.3)" from="A0A1" to="A1B1"/>\n</routes>\n'
    )
    config = folder / "street.sumocfg"
    config.write_text(
        "<configuration>\n"
        '    <input><net-file value="street.net.xml"/><route-files value="street.rou.xml"/></input>\n'
        f'    <time><begin value="0"/><end value="{_SIMULATED_S}"/></time>\n'
        "</configuration>\n"
    )
    return config
