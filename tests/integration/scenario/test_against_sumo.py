"""What the library believes about SUMO, held against the installed SUMO."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from scenario import sumo_options
from scenario.inspect import inspect
from scenario.options import KNOWN, canonical
from scenario.prepare import RunOptions, prepare

# Known to SUMO, wanted by nobody who is not SUMO's own user at a terminal.
REFUSED = {
    *("configuration-file", "save-configuration", "save-configuration.relative", "save-commented"),
    *("save-template", "save-schema", "load-state", "load-state.offset", "load-state.remove-vehicles"),
    *("phemlight-path", "remote-port", "num-clients"),
}
TEMPLATE_OPTION = re.compile(r'<([\w.-]+) value="[^"]*"(?: synonymes="([^"]*)")?[^>]*? type="([^"]*)"')
RICH = """\
<additional>
    <vType id="smart">
        <param key="has.ssm.device" value="true"/><param key="device.ssm.file" value="/nowhere/ssm-type.xml"/>
        <param key="has.toc.device" value="true"/><param key="device.toc.file" value="../../toc.xml"/>
        <param key="device.toc.automatedType" value="smart"/><param key="device.toc.manualType" value="smart"/>
    </vType>
    <route id="both" edges="in out"/>
    <vehicle id="own" type="smart" depart="1" route="both">
        <param key="has.ssm.device" value="true"/><param key="device.ssm.file" value="ssm-own.xml"/>
    </vehicle>
    <vehicle id="other" type="smart" depart="5" route="both"/>
    <timedEvent type="SaveTLSStates" source="b" dest="/nowhere/tls.xml"/>
    <timedEvent type="SaveTLSSwitchTimes" source="b" dest="switches.xml"/>
    <edgeData id="edges" file="/nowhere/edges.xml" edgesFile="edges.txt"/>
    <laneData id="lanes" file="lanes.xml.gz"/>
    <inductionLoop id="e1" lane="in_0" pos="50" period="30" file="e1.xml"/>
    <instantInductionLoop id="ie1" lane="in_0" pos="50" file="instant.xml"/>
    <laneAreaDetector id="e2" lane="in_0" pos="50" endPos="90" period="30" file="e2.xml"/>
    <entryExitDetector id="e3" period="30" file="e3.xml">
        <detEntry lane="in_0" pos="50"/><detExit lane="out_0" pos="50"/>
    </entryExitDetector>
    <vTypeProbe id="types" period="30" file="types.xml"/>
    <routeProbe id="routes" edge="in" period="30" file="routes.xml"/>
    <calibrator id="calibrator" edge="in" pos="0" output="calibrator.xml">
        <flow begin="0" end="60" type="smart" route="both" vehsPerHour="400"/>
    </calibrator>
    <variableSpeedSign id="sign" lanes="out_0" file="sign.xml"/>
</additional>
"""


def test_every_option_of_sumo_is_sorted_into_a_list_or_refused_on_purpose(
    sumo: Callable[..., str], tmp_path: Path
) -> None:
    sumo(tmp_path, "--save-template", "template.xml")
    template = TEMPLATE_OPTION.findall((tmp_path / "template.xml").read_text(errors="replace"))
    names = {name for name, _, _ in template}
    types = {name: kind for name, _, kind in template}

    assert len(names) > 400
    assert names - KNOWN == REFUSED
    assert names >= KNOWN
    for name, synonyms, _ in template:
        # A spelling of something refused is as unknown as a spelling of nothing.
        assert {canonical(spelling) for spelling in synonyms.split()} <= {name} | set(synonyms.split())
    assert all(types[name] == "BOOL" for name in sumo_options.BOOLEANS)
    assert all(types[name] == "INT" for name in sumo_options.INTEGERS)
    assert all(types[name] == "FLOAT" for name in sumo_options.FLOATS)
    assert all(types[name] == "TIME" for name in sumo_options.TIMES)
    assert all(types[name] in {"STR", "STR[]"} for name in sumo_options.TEXTS), "no file hides among the texts"


@pytest.fixture
def rich(tiny: Path) -> Path:
    """Every kind of output and input SUMO has elements for, in a folder below the configuration."""
    (tiny / "sub").mkdir()
    (tiny / "sub/rich.add.xml").write_text(RICH)
    (tiny / "sub/edges.txt").write_text("edge:in\n")
    (tiny / "sub/sign.xml").write_text('<vss><step time="10" speed="5"/></vss>')
    net = (tiny / "tiny.net.xml").read_text()
    detectors = 'type="actuated" programID="0" offset="0"><param key="file" value="sub/detectors.xml"/>'
    net = net.replace('type="static" programID="0" offset="0">', detectors)
    (tiny / "tiny.net.xml").write_text(net.replace('state="G"', 'state="G" minDur="5" maxDur="40"'))
    config = (tiny / "run.sumocfg").read_text()
    outputs = '<output><fcd-output value="/nowhere/fcd.xml"/><summary-output value="s.csv"/></output><time>'
    config = config.replace("tiny.add.xml", "sub/rich.add.xml").replace("<time>", outputs)
    (tiny / "run.sumocfg").write_text(config)
    return tiny


def test_every_kind_of_output_lands_in_outputs_and_nothing_anywhere_else(rich: Path, sumo: Callable[..., str]) -> None:
    inspection = inspect(rich, "run.sumocfg")
    assert inspection.errors == ()
    assert inspection.scene is not None

    prepared = prepare(rich, inspection.scene, spec=RunOptions(seed=1))
    session_directory = rich.parent
    before = {path for path in session_directory.rglob("*") if path.is_file()}
    sumo(session_directory, *prepared.arguments)

    written = {path for path in session_directory.rglob("*") if path.is_file()} - before
    assert {path.relative_to(session_directory).as_posix() for path in written} <= {
        output.path for output in prepared.outputs
    }
    assert {path.name for path in written} == {
        *("fcd.xml", "s.csv", "ssm-type.xml", "toc.xml", "ssm-own.xml", "tls.xml", "switches.xml", "edges.xml"),
        *("lanes.xml.gz", "e1.xml", "instant.xml", "e2.xml", "e3.xml", "types.xml", "routes.xml", "calibrator.xml"),
        "detectors.xml",
    }


def test_values_that_look_like_options_stay_values(tiny: Path, sumo: Callable[..., str]) -> None:
    config = (tiny / "run.sumocfg").read_text()
    sneaky = '<scale-suffix value="--summary-output=sneaky.xml"/><eager-insert value="no"/><time>'
    (tiny / "run.sumocfg").write_text(config.replace("<time>", sneaky))
    scene = inspect(tiny, "run.sumocfg").scene
    assert scene is not None

    prepared = prepare(tiny, scene, spec=RunOptions(seed=1))
    sumo(tiny.parent, *prepared.arguments, "--save-configuration", "used.sumocfg")

    used = (tiny.parent / "used.sumocfg").read_text()
    assert '<scale-suffix value="--summary-output=sneaky.xml"/>' in used
    assert '<eager-insert value="no"/>' in used
    assert "<summary-output" not in used


def test_an_ssm_device_without_a_file_writes_one_file_among_the_outputs(tiny: Path, sumo: Callable[..., str]) -> None:
    config = (tiny / "run.sumocfg").read_text()
    (tiny / "run.sumocfg").write_text(config.replace("<time>", '<device.ssm.probability value="1"/><time>'))
    scene = inspect(tiny, "run.sumocfg").scene
    assert scene is not None

    prepared = prepare(tiny, scene, spec=RunOptions(seed=1))
    sumo(tiny.parent, *prepared.arguments)

    assert (tiny.parent / "outputs/ssm.xml").is_file()
    assert sorted(path.name for path in tiny.parent.iterdir()) == ["outputs", "scene"]
