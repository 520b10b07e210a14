"""Templates as users have them: a file, a command line, and simulations that differ as their values say."""

import asyncio
import json
import os
import sys
import uuid
from pathlib import Path
from xml.etree import ElementTree

import pytest

from milepost.blob.v1.blob_service_pb2 import BlobRef
from milepost.exceptions import InvalidArgument, NotFound
from milepost.scenario.v1.scenario_pb2 import Scenario
from milepost.scenario.v1.template_service_pb2 import FillTemplateResponse
from milepost.session.v1.session_pb2 import Session, SessionSpec, SessionState
from session_logs import SHARED
from stack import RunningStack

pytestmark = pytest.mark.asyncio(loop_scope="session")

TINY = Path(__file__).parents[1] / "unit" / "scenario" / "tiny"
FORM = """\
name: {name}
description: Green of the only signal
scenario: $TINY
parameters:
  green_s: {{default: 20, min: 5, max: 100, description: "green, s"}}
  kind: {{default: static, choices: [static, actuated]}}
  teleport_s: 300
bindings:
  - {{file: tiny.net.xml, select: "tlLogic[@id='b']/phase[1]", attribute: duration, value: green_s}}
  - {{file: tiny.net.xml, select: "tlLogic[@id='b']/phase[2]", attribute: duration, value: "max(5, 40 - green_s)"}}
  - {{file: tiny.net.xml, select: tlLogic, attribute: type, value: kind}}
  - {{option: time-to-teleport, value: teleport_s}}
"""


@pytest.fixture
def form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A template's file; each test has a name of its own in it."""
    monkeypatch.setenv("TINY", str(TINY))
    file = tmp_path / "signal.yaml"
    file.write_text(FORM.format(name=f"signal-{uuid.uuid4().hex}"))
    return file


async def run(stack: RunningStack, filled: FillTemplateResponse, seed: int) -> Session:
    spec = SessionSpec(scenario_digest=filled.scenario.digest, options=filled.options, seed=seed)
    session = await stack.client.sessions.run(spec)
    assert session.state == SessionState.SESSION_STATE_COMPLETED
    return session


async def test_sessions_of_filled_scenarios_differ_as_their_values_say(stack: RunningStack, form: Path) -> None:
    templates = stack.client.templates
    name = (await templates.create_from(form)).template.name
    short, long, base = [await templates.fill(name, {"green_s": green_s}) for green_s in (8, 60, 20.0)]
    stopped, flowing, again = await asyncio.gather(*(run(stack, one, seed=3) for one in (short, long, long)))
    assert stopped.results.kpis.mean_waiting_time_s > 2 * flowing.results.kpis.mean_waiting_time_s
    assert flowing.results.kpis == again.results.kpis != stopped.results.kpis
    assert [option.value for option in base.options] == ["300"]
    assert base.scenario.digest != short.scenario.digest


async def test_what_was_made_of_a_template_runs_when_all_it_was_made_of_is_deleted(
    stack: RunningStack, form: Path
) -> None:
    client = stack.client
    template = (await client.templates.create_from(form)).template
    filled = await client.templates.fill(template.name, {"green_s": 35}, version=template.version)
    created = await client.sessions.create(SessionSpec(scenario_digest=filled.scenario.digest), create_only=True)
    await client.templates.delete(template.name)
    await client.scenarios.delete(filled.scenario.digest)
    await client.scenarios.delete(template.scenario_digest)
    with pytest.raises(NotFound):
        await client.templates.fill(template.name)
    await client.sessions.start(created.session_id)
    assert (await client.sessions.wait(created.session_id)).state == SessionState.SESSION_STATE_COMPLETED


async def test_what_a_server_finds_wrong_is_told_with_its_place_in_the_file(stack: RunningStack, form: Path) -> None:
    form.write_text(
        form.read_text()
        .replace("phase[1]", "phase[7]")
        .replace("default: static", "default: other")
        .replace("value: teleport_s", "value: teleport_s +")
    )
    with pytest.raises(InvalidArgument) as refused:
        await stack.client.templates.create_from(form)
    assert [(one.field, one.description.partition(":")[0]) for one in refused.value.violations] == [
        ("signal.yaml:6:19", "parameters.kind.default"),
        ("signal.yaml:9:34", "bindings[0].select"),
        ("signal.yaml:12:39", "bindings[3].value"),
    ]


async def command(stack: RunningStack, *words: str) -> tuple[int, str, str]:
    """`milepost template …`: its exit code, standard output and standard error."""
    servers = {"MILEPOST_SERVER": stack.ready["session_api"], "MILEPOST_EVENT_STORE": stack.ready["event_store"]}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "milepost", "template", *words),
        env={**os.environ, **servers},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@pytest.mark.slow
async def test_the_command_line_makes_shows_fills_and_deletes_templates(stack: RunningStack, form: Path) -> None:
    code, out, err = await command(stack, "create", str(form))
    assert (code, err) == (0, "")
    name = out.split()[1]
    assert out == f"template {name} version 1\n"
    assert (await command(stack, "create", str(form)))[1] == f"template {name} version 1, as it was\n"
    digest, *options = (await command(stack, "fill", name, "green_s=50", "kind=actuated"))[1].split()
    assert options == ["--set", "time-to-teleport=300"]
    scenario = await stack.client.scenarios.get(digest)
    assert scenario.display_name.endswith(" 1: green_s=50, kind=actuated")
    shown = (await command(stack, "show", name))[1]
    assert "max(5, 40 - green_s)" in shown
    assert "static, actuated" in shown
    listed = json.loads((await command(stack, "list", "--output", "json"))[1])
    assert name in [template["name"] for template in listed["templates"]]
    code, out, err = await command(stack, "fill", name, "green_s=1")
    assert (code, out, "parameters.green_s: must be 5 or more" in err) == (1, "", True)
    assert (await command(stack, "fill", name, "green_s=fast"))[0] == 2
    assert (await command(stack, "rm", name))[1] == f"{name} deleted\n"
    assert (await command(stack, "show", name))[0] == 1


async def test_the_example_of_the_docs_runs_as_it_is_printed(
    stack: RunningStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not (SHARED / "resco_cologne1").is_dir():
        pytest.skip(f"MILEPOST_SCENARIOS: there is no resco_cologne1 in {SHARED}")
    monkeypatch.setenv("MILEPOST_SCENARIOS", str(SHARED))
    printed = (Path(__file__).parents[2] / "docs" / "templates.md").read_text()
    (tmp_path / "signal.yaml").write_text(printed.partition("```yaml\n")[2].partition("```")[0])
    templates = stack.client.templates
    template = (await templates.create_from(tmp_path / "signal.yaml")).template
    # The defaults are what the network says.
    assert (await templates.fill(template.name)).scenario.digest == template.scenario_digest
    values = {"cycle_s": 120, "main_share": 0.6, "offset_s": 130}
    net = await _network(stack, (await templates.fill(template.name, values)).scenario)
    signal = ElementTree.fromstring(net).find("tlLogic")
    assert signal is not None
    greens = [float(phase.get("duration", "")) for phase in signal]
    assert (sum(greens), greens[0], greens[4], signal.get("offset")) == (120, 53, 35, "10")


async def _network(stack: RunningStack, scenario: Scenario) -> bytes:
    file = next(file for file in scenario.files if file.path == "cologne1.net.xml")
    return await stack.client.blobs.read(BlobRef(sha256=file.sha256, size_bytes=file.size_bytes))
