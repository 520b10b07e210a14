"""Templates: parameters, what their values may be, and what follows from them.

parameters + values ─► checked, defaults added ─► one number or text per binding
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from session_api.domain.study.expressions import FUNCTIONS, BadExpression, Expression, Function, compile_expression

Value = float | str | bool
"""As it is given; a truth value is one of no parameter."""
MAX_TEXT_CHARS = 500
_OPERATORS = ("+", "-", "*", "/", "%", "**")


def _round(value: float, digits: float = 0.0) -> float:
    """To so many digits behind the decimal point, half to even."""
    return round(value, max(-300, min(300, int(digits))))


_FUNCTIONS = {name: FUNCTIONS[name] for name in ("min", "max", "abs", "sqrt")} | {"round": Function(_round, 1, 2)}


@dataclass(frozen=True, slots=True)
class Wrong:
    """A field, by its path, and what is wrong with it."""

    field: str
    description: str


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number or, when its default is one, a text."""

    name: str
    default: Value
    minimum: float | None = None
    maximum: float | None = None
    whole: bool = False
    choices: tuple[str, ...] = ()

    @property
    def is_text(self) -> bool:
        """Whether its values are texts."""
        return isinstance(self.default, str)

    def refuses(self, value: Value) -> str | None:
        """What is wrong with a value; None: nothing."""
        match value:
            case bool():
                return "must be a number or a text"
            case str() if self.is_text:
                return self._refuses_text(value)
            case str():
                return "must be a number"
            case _ if self.is_text:
                return "must be a text"
            case _:
                return self._refuses_number(value)

    def _refuses_text(self, value: str) -> str | None:
        if self.choices and value not in self.choices:
            return f"must be one of {', '.join(map(repr, self.choices))[:300]}"
        if len(value) > MAX_TEXT_CHARS or not value.isprintable():
            return f"must be printable, of up to {MAX_TEXT_CHARS} characters"
        return None

    def _refuses_number(self, value: float) -> str | None:
        if not math.isfinite(value):
            return "must be finite"
        if self.minimum is not None and value < self.minimum:
            return f"must be {self.minimum:.15g} or more"
        if self.maximum is not None and value > self.maximum:
            return f"must be {self.maximum:.15g} or less"
        if self.whole and value != int(value):
            return "must be a whole number"
        return None


@dataclass(frozen=True, slots=True)
class Filling:
    """What follows from a set of values."""

    values: Mapping[str, float | str]
    """Of all parameters."""
    bound: tuple[float | str, ...]
    """Of each binding: a finite number, or a text."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The parameters of a template and the expressions of its bindings."""

    parameters: tuple[Parameter, ...]
    expressions: tuple[str, ...]
    _formulas: tuple[Expression | str, ...] = field(init=False, repr=False, compare=False)
    """Of each binding its formula, or the name of the text that stands alone."""

    def __post_init__(self) -> None:
        wrong, formulas = _read(self.parameters, self.expressions)
        if wrong:
            raise InvalidRules(wrong)
        object.__setattr__(self, "_formulas", tuple(formulas))

    def fill(self, given: Mapping[str, Value]) -> Filling | list[Wrong]:
        """What follows from these values and the other parameters' defaults; fields are names of parameters."""
        known = {parameter.name: parameter for parameter in self.parameters}
        wrong = [
            Wrong(name, f"is no parameter of the template: it has {', '.join(sorted(known))[:300]}")
            for name in sorted(given)
            if name not in known
        ]
        values: dict[str, float | str] = {}
        for name, parameter in known.items():
            value = given.get(name, parameter.default)
            if refusal := parameter.refuses(value):
                wrong.append(Wrong(name, refusal))
            else:
                values[name] = value
        if wrong:
            return wrong
        return self._evaluate(values)

    def names_of(self, binding: int) -> tuple[str, ...]:
        """The parameters that a binding follows from, sorted."""
        formula = self._formulas[binding]
        return (formula,) if isinstance(formula, str) else tuple(sorted(formula.names))

    def _evaluate(self, values: Mapping[str, float | str]) -> Filling | list[Wrong]:
        numbers = {name: value for name, value in values.items() if not isinstance(value, str)}
        wrong: list[Wrong] = []
        bound: list[float | str] = []
        for index, formula in enumerate(self._formulas):
            if isinstance(formula, str):
                bound.append(values[formula])
                continue
            number = formula.value(numbers)
            if number is None:
                name = next(iter(self.names_of(index)), "")
                wrong.append(Wrong(name, f"with it `{formula.text}` has no finite value"))
            else:
                bound.append(number)
        return wrong or Filling(values, tuple(bound))


class InvalidRules(Exception):
    """Parameters or expressions that are none; `wrong` says which, at least one."""

    def __init__(self, wrong: Sequence[Wrong]) -> None:
        super().__init__("; ".join(f"{one.field}: {one.description}" for one in wrong))
        self.wrong = wrong


def _read(parameters: Sequence[Parameter], expressions: Sequence[str]) -> tuple[list[Wrong], list[Expression | str]]:
    wrong: list[Wrong] = []
    known: dict[str, Parameter] = {}
    for index, parameter in enumerate(parameters):
        wrong += [Wrong(f"parameters[{index}].{one.field}", one.description) for one in _wrong_with(parameter)]
        if parameter.name in known:
            wrong.append(Wrong(f"parameters[{index}].name", f"'{parameter.name}' is there twice"))
        known[parameter.name] = parameter
    numbers = frozenset(name for name, parameter in known.items() if not parameter.is_text)
    used: set[str] = set()
    formulas: list[Expression | str] = []
    for index, expression in enumerate(expressions):
        alone = expression.strip()
        if alone in known and known[alone].is_text:
            formulas.append(alone)
            used.add(alone)
            continue
        try:
            formula = compile_expression(expression, numbers, functions=_FUNCTIONS, operators=_OPERATORS)
        except BadExpression as error:
            wrong.append(Wrong(f"bindings[{index}].value", _told(error, known)))
            continue
        formulas.append(formula)
        used |= formula.names
    wrong += [
        Wrong(f"parameters[{index}].name", "nothing follows from it")
        for index, parameter in enumerate(parameters)
        if parameter.name not in used and len(formulas) == len(expressions)
    ]
    return wrong, formulas


def _told(error: BadExpression, known: Mapping[str, Parameter]) -> str:
    parameter = known.get(error.word)
    return f"the text '{error.word}' can only stand alone" if parameter and parameter.is_text else str(error)


def _wrong_with(parameter: Parameter) -> list[Wrong]:
    wrong: list[Wrong] = []
    if parameter.is_text:
        for name, given in (
            ("minimum", parameter.minimum is not None),
            ("maximum", parameter.maximum is not None),
            ("whole", parameter.whole),
        ):
            if given:
                wrong.append(Wrong(name, "is for numbers"))
        for index, choice in enumerate(parameter.choices):
            if len(choice) > MAX_TEXT_CHARS or not choice.isprintable():
                wrong.append(Wrong(f"choices[{index}]", f"must be printable, of up to {MAX_TEXT_CHARS} characters"))
    elif parameter.choices:
        wrong.append(Wrong("choices", "are for texts"))
    if parameter.minimum is not None and parameter.maximum is not None and parameter.minimum > parameter.maximum:
        wrong.append(Wrong("minimum", "is more than the maximum"))
    elif not wrong and (refusal := parameter.refuses(parameter.default)):
        wrong.append(Wrong("default", refusal))
    return wrong
