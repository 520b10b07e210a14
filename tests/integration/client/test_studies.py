"""`milepost study` against a running stack: from a file to a ranking; what is wrong leaves nothing behind."""

import asyncio
import signal
from pathlib import Path

import pytest

from milepost.exceptions import MilepostError
from milepost.studies.written import written_study
from milepost.study.v1.study_pb2 import CellState, Standing, StudyState
from stack import start_milepost

pytestmark = pytest.mark.asyncio(loop_scope="session")

STUDY = """\
name: Slower in the east
base: {scenario: grid}
session:
  plan: [{name: warm, kind: warm_up, duration_s: 60}, {name: rush, kind: measure, duration_s: 240}]
seeds: 1-3
objective:
  minimise: mean_travel_time_s
  subject_to: [collisions <= 0]
  phase: rush
variants:
  - {name: as it is}
  - name: slow
    interventions: [{at_s: 100, set_speed_limit: {place: {edge_ids: [A0B0, B0C0]}, speed_mps: 3}}]
  - {name: patient, options: {time-to-teleport: 600}}
  - {name: crowded, files: {cars.rou.xml: crowd.rou.xml}}
"""
CROWD = '<routes><flow id="east" begin="0" end="200" period="1" from="A0B0" to="C2D2"/></routes>'


@pytest.fixture
def study(city: Path) -> Path:
    """A file beside the city's folder."""
    path = city.parent / "study.yaml"
    path.write_text(STUDY)
    path.with_name("crowd.rou.xml").write_text(CROWD)
    return path


async def test_a_file_becomes_a_ranking_and_the_same_again_comes_from_stored_results(milepost, stack, study):
    ran = await milepost("study", "run", study, "--id", "slower")
    ranking = await stack.client.studies.ranking("slower")
    cells = [cell async for cell in stack.client.studies.cells("slower", page_size=2)]
    watched = await milepost("study", "watch", "slower", "--output", "json")
    page = study.with_name("study.html")
    reported = await milepost("study", "report", "slower", "-o", page)
    again = study.with_name("again.yaml")
    again.write_text(written_study(await stack.client.studies.get("slower", full=True)))
    repeated = await milepost("study", "run", again, "--id", "slower-again", "--output", "json")

    assert ran.exit_code == 0
    assert ran.out.splitlines()[:2] == ["study slower: completed: all cells are over; 12/12 done", ranking.answer]
    means = {one.name: one.mean for one in ranking.variants}
    assert means["slow"] > means["as it is"] + 5
    # Nobody waits for as long as patience lasts without it: these are the same runs.
    assert means["patient"] == means["as it is"]
    assert [(cell.variant, cell.seed) for cell in cells] == [
        (variant, seed) for variant in ("as it is", "slow", "patient", "crowded") for seed in (1, 2, 3)
    ]
    assert {cell.kpis.departed > 90 for cell in cells if cell.variant == "crowded"} == {True}
    assert {cell.kpis.departed > 90 for cell in cells if cell.variant != "crowded"} == {False}
    assert all(cell.state == CellState.CELL_STATE_DONE for cell in cells)
    assert watched.lines[-1]["study"]["state"] == "STUDY_STATE_COMPLETED"
    assert (reported.exit_code, reported.out) == (0, f"report: {page}\n")
    assert all(word in page.read_text() for word in (ranking.answer, "Where it changes", "<polyline", "A0B0"))
    progress = repeated.json["study"]["progress"]
    assert (progress["done"], progress["cached"], progress["simulated_s"]) == ("12", "12", 0)
    assert [one["name"] for one in repeated.json["ranking"]["variants"]] == [one.name for one in ranking.variants]
    assert [one["mean"] for one in repeated.json["ranking"]["variants"]] == [one.mean for one in ranking.variants]


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ("minimise: mean_travel_time_s", "minimise: mean_travel_tide_s", ("7:13", "mean_travel_time_s")),
        ("minimise: mean_travel_time_s", "minimise: arrived / (trips - trips)", ("7:13", "never defined")),
        ("collisions <= 0", "1 <= 2", ("8:16", "no KPI")),
        ("collisions <= 0", "crashes <= 0", ("8:16", "crashes")),
        ("phase: rush", "phase: hour", ("9:10", "hour")),
        ("seeds: 1-3", "seeds: []", ("5:1", "at least one seed")),
        ("[A0B0, B0C0]", "[A0B0, Z9Z8]", ("13:76", "Z9Z8")),
        ("speed_mps: 3", "speed_mps: -3", ("13:95", "greater than 0")),
        ("time-to-teleport: 600", "time-to-teleprot: 600", ("14:", "time-to-teleprot")),
        ("options: {time-to-teleport: 600}", "parameters: {cycle_s: 30}", ("14:", "template")),
        ("options: {time-to-teleport: 600}", "files: {none.xml: study.yaml}", ("14:", "none.xml")),
        ("{scenario: grid}", "{template: none}", ("2:18", "none")),
        ("{scenario: grid}", "{session: {id: nobody, at_s: 5}}", ("2:22", "nobody")),
        ("{scenario: grid}", "{scenario: .}", ("2:18", ".sumocfg")),
    ],
)
async def test_what_is_wrong_is_told_with_its_place_and_nothing_is_left_behind(stack, study, old, new, finding):
    client, (place, word) = stack.client, finding
    study.write_text(STUDY.replace(old, new))
    before = [one.study_id async for one in client.studies.list()]

    with pytest.raises(MilepostError) as refused:
        await client.studies.create_from(study)

    found = [f"{one.field}: {one.description}" for one in refused.value.violations]
    assert any(one.startswith(f"study.yaml:{place}") and word in one for one in found), found
    assert [one.study_id async for one in client.studies.list()] == before


@pytest.mark.slow
async def test_an_interrupted_run_goes_on_and_can_be_cancelled(milepost, stack, study):
    study.write_text(STUDY.replace("duration_s: 240", "duration_s: 1e8"))
    environment = {"MILEPOST_SERVER": stack.ready["session_api"]}
    process = await start_milepost("study", "run", study, "--id", "endless", environment=environment)
    told = b""
    async with asyncio.timeout(30):
        while b" running" not in told:
            told += await process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()

    listed = await milepost("study", "list", "--output", "json")
    cancelled = await milepost("study", "cancel", "endless", "--comment", "enough")
    ended = await milepost("study", "watch", "endless")
    ranking = await stack.client.studies.ranking("endless")

    assert process.returncode == 130
    assert "milepost study watch endless" in err.decode()
    assert {one["study_id"]: one["state"] for one in listed.json["studies"]}["endless"] == "STUDY_STATE_RUNNING"
    assert (cancelled.exit_code, cancelled.out) == (0, "study endless: cancelled\n")
    assert ended.exit_code == 1
    assert (await stack.client.studies.get("endless")).state == StudyState.STUDY_STATE_CANCELLED
    assert {one.standing for one in ranking.variants} <= {Standing.STANDING_FAILED, Standing.STANDING_CONTENDING}


@pytest.mark.slow
async def test_parameters_of_the_file_make_a_template_that_a_refusal_takes_away(stack, study):
    client = stack.client
    text = STUDY.replace("name: Slower in the east", "name: Periods\ntemplate_name: grid-periods")
    # Values are bound in the file that this one replaces.
    text = text.replace("  - {name: crowded, files: {cars.rou.xml: crowd.rou.xml}}\n", "")
    text += """\
parameters:
  period_s: {default: 4, min: 2, max: 20}
bindings:
  - {file: cars.rou.xml, select: "flow[@id='east']", attribute: period, value: period_s}
grid:
  period_s: [2, 60]
"""
    study.write_text(text)
    with pytest.raises(MilepostError) as refused:
        await client.studies.create_from(study)
    kept = [one.name async for one in client.templates.list()]

    study.write_text(text.replace("60", "8").replace("duration_s: 8", "duration_s: 60"))
    created = await client.studies.create_from(study)
    ended = await client.studies.wait(created.study_id)
    cells = [cell async for cell in client.studies.cells(created.study_id)]

    [found] = refused.value.violations
    assert found.field == "study.yaml:21:17"
    assert found.description.startswith("grid.period_s[1]: ")
    assert "20" in found.description
    assert "grid-periods" not in kept
    assert ended.spec.base.template.name == "grid-periods"
    departed = {
        name: min(cell.kpis.departed for cell in cells if cell.variant == name) for name in ("period_s=2", "period_s=8")
    }
    assert departed["period_s=2"] > departed["period_s=8"]
