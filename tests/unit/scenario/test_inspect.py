"""Inspection of the configuration and of references between files."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from scenario.inspect import inspect
from scenario.limits import MAX_FINDINGS_PER_RULE
from scenario.model import Finding, Inspection, Scene, SumoOption

Inspected = Callable[..., Inspection]
OnlyError = Callable[..., Finding]
OPTIONS = "<time>"


def test_a_good_scenario_becomes_a_scene(root: Path) -> None:
    inspection = inspect(root, "run.sumocfg")

    assert inspection.errors == ()
    assert inspection.scene == Scene(
        scenario_digest="",
        net_file="tiny.net.xml",
        route_files=("tiny.rou.xml",),
        additional_files=("tiny.add.xml",),
        begin_time_s=0.0,
        end_time_s=120.0,
        step_length_s=1.0,
        options=(),
    )


def test_outputs_are_noted_once_each_where_they_stand(root: Path) -> None:
    warnings = inspect(root, "run.sumocfg").warnings

    assert [(warning.rule, warning.file, warning.line) for warning in warnings] == [
        ("output-redirected", "tiny.add.xml", 4)
    ]


def test_gzip_is_read_by_content_whatever_its_name(inspected: Inspected, root: Path) -> None:
    inspection = inspected("tiny.net.xml", gzip.compress((root / "tiny.net.xml").read_bytes()))

    assert inspection.errors == ()


@pytest.mark.parametrize("path", ["no.sumocfg", "../run.sumocfg", ""])
def test_a_missing_configuration_is_a_finding(root: Path, path: str) -> None:
    inspection = inspect(root, path)

    assert inspection.scene is None
    assert inspection.errors[0].rule in {"config-missing", "path-escapes", "path-invalid"}


def test_options_are_taken_over_by_their_own_names_and_sorted(inspected: Inspected) -> None:
    more = '<scale value="1.5"/><max-depart-delay value="0:05:00"/><carfollow.model value="IDM"/><time>'
    inspection = inspected("run.sumocfg", old=OPTIONS, new=more)

    assert inspection.scene is not None
    assert inspection.scene.options == (
        SumoOption("default.carfollowmodel", "IDM"),
        SumoOption("max-depart-delay", "0:05:00"),
        SumoOption("scale", "1.5"),
    )


def test_short_spellings_and_times_by_the_clock_are_understood(inspected: Inspected) -> None:
    inspection = inspected(
        "run.sumocfg", '<configuration><n v="tiny.net.xml"/><b v="7:00:00"/><e v="1:00:00:00"/></configuration>'
    )

    assert inspection.scene is not None
    assert (inspection.scene.begin_time_s, inspection.scene.end_time_s) == (25200.0, 86400.0)


def test_an_end_of_minus_one_is_no_end(inspected: Inspected) -> None:
    inspection = inspected("run.sumocfg", old='<end value="120"/>', new='<end value="-1"/>')

    assert inspection.scene is not None
    assert inspection.scene.end_time_s is None


def test_inputs_are_found_from_the_folder_of_the_configuration(root: Path) -> None:
    (root / "cfg").mkdir()
    (root / "cfg/run.sumocfg").write_text('<configuration><net-file value="../tiny.net.xml"/></configuration>')

    scene = inspect(root, "cfg/run.sumocfg").scene

    assert scene is not None
    assert scene.net_file == "tiny.net.xml"


@pytest.mark.parametrize("spelling", ["my net.xml", "my%20net.xml"])
def test_a_blank_in_a_name_is_found_in_both_of_sumos_spellings(inspected: Inspected, root: Path, spelling: str) -> None:
    (root / "tiny.net.xml").rename(root / "my net.xml")

    assert inspected("run.sumocfg", old="tiny.net.xml", new=spelling).errors == ()


@pytest.mark.parametrize(
    ("element", "rule"),
    [
        ('<remote-port value="8813"/>', "option-not-allowed"),
        ('<load-state value="state.xml"/>', "option-not-allowed"),
        ('<configuration-file value="other.sumocfg"/>', "option-not-allowed"),
        ('<phemlight-path value="/etc"/>', "option-not-allowed"),
        ('<no-such-option value="1"/>', "option-not-allowed"),
        ('<scale value="much"/>', "option-value-invalid"),
        ('<scale value="nan"/>', "option-value-invalid"),
        ('<max-num-vehicles value="1.5"/>', "option-value-invalid"),
        ('<step-length value="0"/>', "option-value-invalid"),
        ('<time-to-teleport value="soon"/>', "option-value-invalid"),
        ('<mesosim value="maybe"/>', "option-value-invalid"),
        ('<fcd-output value="${HOME}/x.xml"/>', "option-value-invalid"),
        ('<fcd-output value="localhost:9"/>', "output-socket"),
        ('<scale value="1"/><scale value="2"/>', "option-repeated"),
        ('<weight-files value="weights.xml"/>', "input-missing"),
        ('<weight-files value="/etc/passwd"/>', "path-escapes"),
        ('<weight-files value="../weights.xml"/>', "path-escapes"),
        ('<include href="/etc/passwd"/>', "xml-include"),
    ],
)
def test_a_refused_option_is_named_with_its_line(only_error: OnlyError, element: str, rule: str) -> None:
    finding = only_error("run.sumocfg", old=OPTIONS, new=f"\n{element}\n<time>")

    assert (finding.rule, finding.file, finding.line) == (rule, "run.sumocfg", 8)


@pytest.mark.parametrize(
    ("element", "rule"),
    [
        ('<verbose value="true"/>', "option-ignored"),
        ('<gui-settings-file value="gui.xml"/>', "option-ignored"),
        ('<log value="/var/log/x"/>', "option-ignored"),
        ('<output-prefix value="../"/>', "option-ignored"),
        ('<save-state.times value="100"/>', "option-ignored"),
        ('<seed value="4"/>', "option-overridden"),
        ('<random value="true"/>', "option-overridden"),
        ('<xml-validation value="always"/>', "option-overridden"),
        ('<fcd-output value="/etc/cron.d/x"/>', "output-redirected"),
        ('<fcd-output value="../../x.xml"/>', "output-redirected"),
    ],
)
def test_what_is_made_harmless_is_a_warning(inspected: Inspected, element: str, rule: str) -> None:
    inspection = inspected("run.sumocfg", old=OPTIONS, new=f"\n{element}\n<time>")

    assert inspection.errors == ()
    assert (rule, "run.sumocfg", 8) in {(finding.rule, finding.file, finding.line) for finding in inspection.warnings}


@pytest.mark.parametrize("rule_and_value", [("input-missing", "gone.xml"), ("path-escapes", "/etc/passwd")])
@pytest.mark.parametrize("name", ["tiny.net.xml", "tiny.rou.xml", "tiny.add.xml"])
def test_a_missing_or_foreign_input_is_named_with_its_line(
    only_error: OnlyError, name: str, rule_and_value: tuple[str, str]
) -> None:
    rule, value = rule_and_value
    finding = only_error("run.sumocfg", old=name, new=value)

    line = {"tiny.net.xml": 3, "tiny.rou.xml": 4, "tiny.add.xml": 5}[name]
    assert (finding.rule, finding.file, finding.line) == (rule, "run.sumocfg", line)


def test_a_configuration_without_a_net_is_refused(only_error: OnlyError) -> None:
    assert only_error("run.sumocfg", "<configuration/>").rule == "net-missing"


def test_a_net_without_edges_is_refused(inspected: Inspected) -> None:
    finding = inspected("tiny.net.xml", "<net><edge id=':b' function='internal'/></net>").errors[0]

    assert (finding.rule, finding.file) == ("net-empty", "tiny.net.xml")


@pytest.mark.parametrize(
    "element",
    [
        '<route id="r" edges="in nowhere"/>',
        '<vehicle id="v" depart="0"><route edges="nowhere"/></vehicle>',
        '<trip id="t" depart="0" from="nowhere" to="out"/>',
        '<trip id="t" depart="0" from="in" to="out" via="nowhere"/>',
        '<flow id="f" begin="0" end="9" number="1" from="in" to="nowhere"/>',
        '<person id="p" depart="0"><walk edges="in nowhere"/></person>',
        '<person id="p" depart="0"><personTrip from="in" to="nowhere"/></person>',
    ],
)
@pytest.mark.parametrize("path", ["tiny.rou.xml", "tiny.add.xml"])
def test_a_route_over_a_missing_edge_is_named_with_its_line(only_error: OnlyError, path: str, element: str) -> None:
    root_tag = "routes" if path == "tiny.rou.xml" else "additional"
    finding = only_error(path, f"<{root_tag}>\n\n{element}\n</{root_tag}>")

    assert (finding.rule, finding.file, finding.line) == ("route-edge-unknown", path, 3)
    assert "'nowhere'" in finding.message


def test_trips_between_zones_and_junctions_need_no_edges(inspected: Inspected) -> None:
    trips = '<routes><trip id="t" depart="0" fromTaz="x" toTaz="y"/><trip id="u" depart="0" fromJunction="a"/></routes>'

    assert inspected("tiny.rou.xml", trips).errors == ()


def test_many_findings_of_one_rule_are_capped_and_counted(inspected: Inspected) -> None:
    routes = "".join(f'<route id="{number}" edges="nowhere"/>' for number in range(MAX_FINDINGS_PER_RULE + 7))
    errors = inspected("tiny.rou.xml", f"<routes>{routes}</routes>").errors

    assert len(errors) == MAX_FINDINGS_PER_RULE + 1
    assert errors[-1].message == "and 7 more of this kind"


def test_all_that_is_wrong_is_found_at_once(inspected: Inspected) -> None:
    inspected("tiny.rou.xml", "<routes")
    errors = inspected("tiny.add.xml", '<additional><route id="r" edges="nowhere"/></additional>').errors

    assert {(error.rule, error.file) for error in errors} == {
        ("xml-malformed", "tiny.rou.xml"),
        ("route-edge-unknown", "tiny.add.xml"),
    }
