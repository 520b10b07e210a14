"""A template's file is a request; what is wrong with it is told with its place."""

from pathlib import Path

import pytest

from milepost.exceptions import InputFileError
from milepost.template_form import TemplateFile, read_template

DIGEST = "ab" * 32
WHOLE = f"""\
name: signal
description: A signal
scenario: {DIGEST}
parameters:
  cycle_s: {{default: 90, min: 40, max: 150.5, whole: true, description: Cycle}}
  kind: {{default: static, choices: [static, actuated]}}
  ttt: 300
bindings:
  - {{file: a.net.xml, select: "tlLogic[@id='A']/phase[1]", attribute: duration, value: cycle_s - 10}}
  - {{option: time-to-teleport, value: ttt}}
  - {{file: a.net.xml, select: tlLogic, attribute: type, value: kind}}
"""


def read(tmp_path: Path, text: str, **given: Path) -> TemplateFile:
    file = tmp_path / "t.yaml"
    file.write_text(text)
    return read_template(file, **given)


def wrong(tmp_path: Path, old: str, new: str) -> list[str]:
    assert old in WHOLE
    with pytest.raises(InputFileError) as error:
        read(tmp_path, WHOLE.replace(old, new))
    return [violation.field for violation in error.value.violations]


def test_a_file_is_a_request(tmp_path: Path) -> None:
    request = read(tmp_path, WHOLE).request
    assert (request.name, request.description, request.scenario_digest) == ("signal", "A signal", DIGEST)
    cycle, kind, ttt = request.parameters
    assert (cycle.name, cycle.default.number_value, cycle.minimum, cycle.maximum, cycle.whole, cycle.description) == (
        *("cycle_s", 90, 40, 150.5, True),
        "Cycle",
    )
    assert (kind.default.string_value, list(kind.choices)) == ("static", ["static", "actuated"])
    assert (ttt.default.number_value, ttt.HasField("minimum")) == (300, False)
    first, second, third = request.bindings
    assert (first.attribute.file, first.attribute.attribute, first.value) == ("a.net.xml", "duration", "cycle_s - 10")
    assert first.attribute.select == "tlLogic[@id='A']/phase[1]"
    assert (second.option, second.value, third.value) == ("time-to-teleport", "ttt", "kind")


def test_a_local_scenario_is_found_from_where_the_file_is_or_given_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "city").mkdir()
    monkeypatch.setenv("CITIES", str(tmp_path))
    assert read(tmp_path, WHOLE.replace(DIGEST, "city")).scenario == tmp_path / "city"
    assert read(tmp_path, WHOLE.replace(DIGEST, "${CITIES}/city")).scenario == tmp_path / "city"
    assert read(tmp_path, WHOLE).scenario is None
    other = read(tmp_path, WHOLE.replace(f"scenario: {DIGEST}\n", ""), scenario=tmp_path)
    assert (other.scenario, other.request.scenario_digest) == (tmp_path, "")
    assert wrong(tmp_path, DIGEST, "nowhere") == ["t.yaml:3:11"]
    assert wrong(tmp_path, DIGEST, "$NOT_THERE/city") == ["t.yaml:3:11"]


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("name: signal\n", "", "t.yaml:1:1"),
        ("description: A", "descriptoin: A", "t.yaml:2:1"),
        ("min: 40", "mn: 40", "t.yaml:5:26"),
        ("min: 40", "min: forty", "t.yaml:5:31"),
        ("ttt: 300", "ttt: [300]", "t.yaml:7:3"),
        ("default: 90, ", "", "t.yaml:5:3"),
        (", attribute: duration", "", "t.yaml:9:5"),
        ("option: time-to-teleport", "option: a, file: b", "t.yaml:10:5"),
        (", value: ttt", "", "t.yaml:10:5"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, old: str, new: str, place: str) -> None:
    assert wrong(tmp_path, old, new) == [place]


def test_what_a_server_says_of_a_field_is_said_of_its_place(tmp_path: Path) -> None:
    places = read(tmp_path, WHOLE).places
    for path, place, said in (
        ("parameters[0].minimum", "t.yaml:5:31", "parameters.cycle_s.min"),
        ("parameters[2].default", "t.yaml:7:8", "parameters.ttt.default"),
        ("bindings[0].attribute.select", "t.yaml:9:31", "bindings[0].select"),
        ("bindings[1].option", "t.yaml:10:14", "bindings[1].option"),
        ("scenario_digest", "t.yaml:3:11", "scenario"),
        ("name", "t.yaml:1:7", "name"),
    ):
        violation = places.violation(path, "no")
        assert (violation.field, violation.description) == (place, f"{said}: no")
