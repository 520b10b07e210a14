"""Expressions: arithmetic over KPIs, refused with the place, never executed."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_api.domain.study.expressions import (
    FUNCTIONS,
    OPERATORS,
    BadExpression,
    Function,
    compile_expression,
)
from session_api.domain.study.objective import compile_constraint, compile_objective

KPIS = {"mean_time_loss_s", "mean_speed_mps", "departed", "collisions", "teleports"}
RUN = {"mean_time_loss_s": 31.5, "mean_speed_mps": None, "departed": 1000, "collisions": 0, "teleports": 2}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("mean_time_loss_s", 31.5),
        ("  mean_time_loss_s\n + 1 ", 32.5),
        ("-mean_time_loss_s * 2 ** 3", -252.0),
        ("(departed - 1) / 9", 111.0),
        ("min(teleports, 5) + max(1, 2, 3) + abs(-4) + sqrt(16) + log(exp(2))", 15.0),
        ("1e3 * teleports", 2000.0),
        ("departed / collisions", None),
        ("log(collisions)", None),
        ("sqrt(0 - departed)", None),
        ("(0 - teleports) ** 0.5", None),
        ("exp(departed * 1000)", None),
        ("9 ** 9 ** 9 ** 9 + teleports", None),
        ("mean_speed_mps + 1", None),
        ("min(mean_speed_mps, 1)", None),
        ("1e308 * departed", None),
        ("1 / (1e308 * departed)", None),
    ],
)
def test_an_expression_has_the_value_of_its_arithmetic_or_none(text, value) -> None:
    assert compile_expression(text, KPIS).value(RUN) == (value if value is None else pytest.approx(value))


@pytest.mark.parametrize(
    ("text", "position", "words"),
    [
        ("", 0, "empty"),
        ("1 + mean_timeloss", 4, "there is no 'mean_timeloss'; is mean_time_loss_s meant?"),
        ("  departd", 2, "is departed meant?"),
        ("mean_time_loss_s +", 17, "cannot be read"),
        ("(departed", 0, "cannot be read"),
        ("departed ^ 2", 9, "powers are written **"),
        ("departed % 2", 0, "the operators are"),
        ("departed // 2", 0, "the operators are"),
        ("sqr(departed)", 0, "there is no function 'sqr'; is sqrt meant?"),
        ("sqrt(departed, 2)", 0, "sqrt takes 1 argument, not 2"),
        ("min(departed)", 0, "min takes 2 or more arguments, not 1"),
        ("sqrt()", 0, "sqrt takes 1 argument, not 0"),
        ("min", 0, "min is a function"),
        ("departed <= 3", 0, "what must hold is a constraint"),
        ("departed = 3", 9, "equality is written =="),
        ("departed.real", 0, "no meaning here"),
        ("departed if collisions else 1", 0, "no meaning here"),
        ("not departed", 0, "no meaning here"),
        ("(departed, 1)", 0, "no meaning here"),
        ("True + departed", 0, "no meaning here"),
        ("1j * departed", 0, "no meaning here"),
        ("departed + 'a'", 11, "no meaning here"),
        ("departed # teleports", 9, "no meaning here"),
        ("__import__(departed)", 0, "there is no function"),
        ("ｄeparted", 0, "no meaning here"),
        ("min(key=departed)", 0, "no meaning here"),
        ("min(teleports, *departed)", 15, "no meaning here"),
        (f"departed + {'9' * 400}", 11, "too large"),
        ("departed" + " " * 500, 500, "longer than 500"),
        ("departed" + "+1" * 110, 0, "nested deeper"),
    ],
)
def test_what_is_no_expression_is_refused_with_its_place(text, position, words) -> None:
    with pytest.raises(BadExpression) as refused:
        compile_expression(text, KPIS)
    assert words in str(refused.value)
    assert (refused.value.position, refused.value.text) == (position, text[:500])


@given(st.text("departedminsqt()+-*/% 0123456789.,=<>", max_size=60))
def test_any_text_is_read_or_refused(text) -> None:
    try:
        expression = compile_expression(text, KPIS)
    except BadExpression as error:
        place, expression = error.position, None
    else:
        place = 0
    assert 0 <= place <= len(text)
    value = expression.value(RUN) if expression else None
    assert value is None or math.isfinite(value)


NUMBERS = st.sampled_from([*sorted(KPIS), "0", "1", "2.5", "1e300"])
WRITTEN = st.recursive(
    NUMBERS,
    lambda part: st.one_of(
        st.tuples(part, st.sampled_from(["+", "-", "*", "/", "**"]), part).map(lambda parts: f"({' '.join(parts)})"),
        st.tuples(st.sampled_from(["abs", "sqrt", "log", "exp", "-"]), part).map(lambda parts: "{}({})".format(*parts)),
        st.tuples(st.sampled_from(["min", "max"]), part, part).map(lambda parts: "{}({}, {})".format(*parts)),
    ),
    max_leaves=12,
)


@given(WRITTEN, st.dictionaries(st.sampled_from(sorted(KPIS)), st.floats() | st.none() | st.integers()))
def test_whatever_is_written_has_a_finite_value_or_none(text, run) -> None:
    value = compile_expression(text, KPIS).value(dict.fromkeys(KPIS, 1.0) | run)
    assert value is None or (isinstance(value, float) and math.isfinite(value))


def test_an_expression_knows_its_names_and_other_users_bring_theirs() -> None:
    own = FUNCTIONS | {"round": Function(round)}
    expression = compile_expression(
        "round(cycle % 7) + offset", {"cycle", "offset"}, functions=own, operators=OPERATORS | {"%"}
    )
    assert expression.names == {"cycle", "offset"}
    assert expression.value({"cycle": 60, "offset": 0.5}) == 4.5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("3 * 4", "depends on no KPI"),
        ("mean_time_loss_s / 0", "never defined"),
        ("log(0 * departed - 1)", "never defined"),
        ("sqrt(0 - 1 - collisions)", "never defined"),
    ],
)
def test_an_objective_that_no_run_can_have_is_refused(text, words) -> None:
    with pytest.raises(BadExpression, match=words):
        compile_objective(text, KPIS)


@pytest.mark.parametrize(
    "text", ["log(departed - 30000)", "sqrt(1 - teleports)", "1 / collisions", "log(mean_time_loss_s) / departed"]
)
def test_an_objective_that_some_runs_have_is_accepted(text) -> None:
    compile_objective(text, KPIS)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("collisions <= 0", True),
        ("collisions < 0", False),
        ("teleports >= 2", True),
        ("teleports > 2", False),
        ("teleports == 2", True),
        (" teleports + 1 <= (departed / 100) ", True),
        ("mean_speed_mps >= 0", False),
        ("(collisions)<=(0)", True),
    ],
)
def test_a_constraint_holds_or_does_not(text, holds) -> None:
    assert compile_constraint(text, KPIS).holds(RUN) is holds


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("collisions", "compares two expressions"),
        ("0 <= 1", "depends on no KPI"),
        ("0 <= collisions <= 3", "two are two constraints"),
        ("collisions != 3", "'!=' is none of"),
        ("collisions = 3", "equality is written =="),
        ("colisions <= 3", "is collisions meant?, at character 1"),
        ("collisions <= 3 / 0", "never defined"),
        ("collisions not in 3", "'not in' is none of"),
    ],
)
def test_a_constraint_on_nothing_is_refused(text, words) -> None:
    with pytest.raises(BadExpression) as refused:
        compile_constraint(text, KPIS)
    assert words in str(refused.value)
