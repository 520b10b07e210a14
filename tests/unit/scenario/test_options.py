"""Options of a request: the same allow-list, minus what is the scenario's or the session's."""

from __future__ import annotations

import pytest

from scenario.model import ScenarioRejected, Scene, SumoOption
from scenario.options import check_options, override, seconds


def test_options_of_the_simulation_are_allowed_by_any_of_their_names() -> None:
    allowed = [("scale", "0.5"), ("time-to-teleport", "-1"), ("carfollow.model", "IDM"), ("tripinfo-output", "t.xml")]

    assert check_options([*allowed, ("begin", "30"), ("step-length", "0.5"), ("eager-insert", "true")]) == ()


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("net-file", "x.xml", "option-not-allowed"),
        ("n", "x.xml", "option-not-allowed"),
        ("weight-files", "/etc/passwd", "option-not-allowed"),
        ("seed", "1", "option-not-allowed"),
        ("end", "10", "option-not-allowed"),
        ("xml-validation", "always", "option-not-allowed"),
        ("remote-port", "1", "option-not-allowed"),
        ("log", "/x", "option-not-allowed"),
        ("--scale", "1", "option-not-allowed"),
        ("scale", "--remote-port", "option-value-invalid"),
        ("scale", "١", "option-value-invalid"),
        ("scale", "1\n", "option-value-invalid"),
        ("collision.action", "warn\n--remote-port", "option-value-invalid"),
        ("collision.action", "x" * (1 << 17), "option-value-invalid"),
        ("tripinfo-output", "localhost:9", "output-socket"),
    ],
)
def test_anything_else_is_refused(name: str, value: str, rule: str) -> None:
    assert [finding.rule for finding in check_options([(name, value)])] == [rule]


def test_an_option_given_twice_by_two_names_is_refused() -> None:
    findings = check_options([("fcd-output", "a.xml"), ("tripinfo", "a.xml"), ("tripinfo-output", "b.xml")])

    assert [finding.rule for finding in findings] == ["option-repeated"]


def test_override_replaces_the_scenes_own_and_keeps_the_order(scene: Scene) -> None:
    once = override(scene, [SumoOption("scale", "2"), SumoOption("begin", "0:01:00"), SumoOption("eager-insert", "no")])
    twice = override(once, [SumoOption("scale", "3"), SumoOption("step-length", "0.5")])

    assert (twice.begin_time_s, twice.step_length_s) == (60.0, 0.5)
    assert twice.options == (SumoOption("eager-insert", "no"), SumoOption("scale", "3"))


def test_override_refuses_what_check_options_finds(scene: Scene) -> None:
    with pytest.raises(ScenarioRejected) as refused:
        override(scene, [SumoOption("remote-port", "1")])

    assert refused.value.findings[0].rule == "option-not-allowed"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 90.0), ("-1", -1.0), (".5", 0.5), ("0:01:30", 90.0), ("1:00:00:01.5", 86401.5), ("-0:00:10", -10.0)],
)
def test_times_are_read_as_sumo_writes_them(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "soon", "1:30", "nan", "inf", "1e999", "1_0", "٣"])
def test_what_is_no_time_is_none(text: str) -> None:
    assert seconds(text) is None
