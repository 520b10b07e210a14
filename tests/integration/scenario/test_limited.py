"""Inspection in a process of its own: whatever happens there is a finding, and nothing stays behind."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from scenario.inspect import inspect
from scenario.limited import inspect_limited
from scenario.limits import MIB, InspectionLimits

DEADLINE_S = 20.0


def processes_on(root: Path) -> list[Path]:
    """Processes that were started for this folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(root).encode() in (process / "cmdline").read_bytes():
                found.append(process)
        except OSError:
            continue
    return found


async def until_a_process_inspects(root: Path) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not processes_on(root):
        assert time.monotonic() < deadline
        await asyncio.sleep(0)


@pytest.fixture
def busy(tiny: Path) -> Path:
    """A scenario that keeps any reader busy for seconds."""
    (tiny / "tiny.add.xml").write_text("<a>" + "<b/>" * (40 * MIB // 4) + "</a>")
    return tiny


async def test_it_reports_what_inspect_reports(tiny: Path) -> None:
    assert await inspect_limited(tiny, "run.sumocfg") == inspect(tiny, "run.sumocfg")


async def test_it_reports_errors_with_file_and_line(tiny: Path) -> None:
    (tiny / "tiny.rou.xml").write_text('<routes>\n<route id="r" edges="nowhere"/>\n</routes>')

    inspection = await inspect_limited(tiny, "run.sumocfg")

    assert inspection == inspect(tiny, "run.sumocfg")
    assert (inspection.errors[0].file, inspection.errors[0].line) == ("tiny.rou.xml", 2)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (InspectionLimits(cpu_s=1), "1 s of CPU time"),
        (InspectionLimits(wall_s=0.3), "0.3 s"),
        (InspectionLimits(memory_bytes=24 * MIB), "bytes of memory"),
        (InspectionLimits(report_bytes=10), "10 bytes"),
    ],
)
async def test_whatever_it_runs_out_of_is_a_finding(busy: Path, limits: InspectionLimits, words: str) -> None:
    root = busy if limits.report_bytes > 10 else busy.parent

    inspection = await inspect_limited(root, "run.sumocfg", limits)

    assert inspection.scene is None
    assert [finding.rule for finding in inspection.errors] == ["inspection-exhausted"]
    assert words in inspection.errors[0].message
    assert processes_on(root) == []


async def test_cancelling_kills_the_process(busy: Path) -> None:
    task = asyncio.create_task(inspect_limited(busy, "run.sumocfg"))
    await until_a_process_inspects(busy)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert processes_on(busy) == []


async def test_several_inspections_run_side_by_side(tiny: Path) -> None:
    reports = await asyncio.gather(*(inspect_limited(tiny, "run.sumocfg") for _ in range(4)))

    assert all(report.errors == () for report in reports)


async def test_the_environment_is_not_handed_on(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # An environment that breaks any Python which gets it.
    monkeypatch.setenv("PYTHONHOME", "/nowhere")

    assert (await inspect_limited(tiny, "run.sumocfg")).errors == ()
