"""What parameters take, and what follows from their values."""

import math

import pytest

from session_api.domain.template import Filling, InvalidRules, Parameter, Rules, Value

CYCLE = Parameter("cycle_s", 90.0, minimum=60, maximum=120, whole=True)
KIND = Parameter("kind", "static", choices=("static", "actuated"))
FREE = Parameter("name", "any")


def bound(*expressions: str, **values: Value) -> tuple[float | str, ...]:
    used = (CYCLE, KIND, FREE)
    filling = Rules(used, (*expressions, "cycle_s", "kind", "name")).fill(values)
    assert isinstance(filling, Filling), filling
    return filling.bound[: len(expressions)]


def wrong(*parameters: Parameter, expressions: tuple[str, ...] = ()) -> list[str]:
    with pytest.raises(InvalidRules) as invalid:
        Rules(parameters, expressions or tuple(parameter.name for parameter in parameters))
    return [one.field for one in invalid.value.wrong]


def test_arithmetic_over_numbers_follows_from_values_and_defaults() -> None:
    assert bound("cycle_s / 2", "round(cycle_s / 7, 2)", "max(cycle_s, 100) % 7", "2 ** 3") == (45, 12.86, 2, 8)
    assert bound("cycle_s - 30", "round(cycle_s / 4)", cycle_s=70) == (40, 18)


def test_a_text_stands_alone() -> None:
    assert bound("kind", " name ", kind="actuated", name="a & b") == ("actuated", "a & b")
    for expression in ("kind + 1", "kind * 2", "min(kind)", "kind()"):
        assert wrong(CYCLE, KIND, expressions=("cycle_s", "kind", expression)) == ["bindings[2].value"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cycle_s", 59),
        ("cycle_s", 121),
        ("cycle_s", 60.5),
        ("cycle_s", math.nan),
        ("cycle_s", math.inf),
        ("cycle_s", "90"),
        ("cycle_s", True),
        ("kind", "other"),
        ("kind", 1),
        ("name", "x" * 501),
        ("name", "line\nbreak"),
        ("name", "\u202e"),
        ("unknown", 1),
    ],
)
def test_a_value_that_a_parameter_does_not_take_is_wrong_by_its_name(name: str, value: Value) -> None:
    rules = Rules((CYCLE, KIND, FREE), ("cycle_s", "kind", "name"))
    assert [one.field for one in rules.fill({name: value})] == [name]


def test_all_that_is_wrong_is_told_at_once() -> None:
    rules = Rules((CYCLE, KIND), ("cycle_s", "kind"))
    assert [one.field for one in rules.fill({"cycle_s": 1, "kind": "x", "b": 1, "a": 1})] == [
        "a",
        "b",
        "cycle_s",
        "kind",
    ]


def test_what_has_no_finite_value_is_wrong_by_a_parameter_of_it() -> None:
    rules = Rules((Parameter("a", 1.0), Parameter("b", 1.0)), ("1 / (b - 2)", "10 ** a"))
    assert [one.field for one in rules.fill({"a": 400, "b": 2})] == ["b", "a"]


def test_parameters_that_contradict_themselves_are_refused_by_their_fields() -> None:
    assert wrong(Parameter("a", 5.0, minimum=6)) == ["parameters[0].default"]
    assert wrong(Parameter("a", 5.0, minimum=6, maximum=4)) == ["parameters[0].minimum"]
    assert wrong(Parameter("a", 5.0, choices=("5",))) == ["parameters[0].choices"]
    assert wrong(Parameter("a", "x", minimum=1, whole=True)) == ["parameters[0].minimum", "parameters[0].whole"]
    assert wrong(Parameter("a", "x", choices=("y",))) == ["parameters[0].default"]
    assert wrong(Parameter("a", "x", choices=("x", "\n"))) == ["parameters[0].choices[1]"]
    assert wrong(CYCLE, CYCLE) == ["parameters[1].name"]
    assert wrong(CYCLE, KIND, expressions=("kind",)) == ["parameters[0].name"]


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "cycle_s +",
        "other",
        "__import__('os')",
        "cycle_s.real",
        "log(cycle_s)",
        "cycle_s < 5",
        "'text'",
        "[1]",
        "1e999",
    ],
)
def test_what_is_no_arithmetic_is_refused_by_its_binding(expression: str) -> None:
    assert wrong(CYCLE, expressions=("cycle_s", expression)) == ["bindings[1].value"]
