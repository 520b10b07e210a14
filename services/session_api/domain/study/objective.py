"""What a study compares and what it demands, as expressions over KPIs."""

import ast
import hashlib
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from session_api.domain.study.expressions import (
    BadExpression,
    Expression,
    Names,
    compile_expression,
    compile_parts,
    parse,
)

_SIGNS: Mapping[type[ast.cmpop], str] = {ast.LtE: "<=", ast.Lt: "<", ast.GtE: ">=", ast.Gt: ">", ast.Eq: "=="}
# Made-up runs on which an expression must have a value at least once: many, as the sensible ones are few for an
# expression such as log(departed - 30000).
_PROBES = 400


@dataclass(frozen=True, slots=True)
class Constraint:
    """Two expressions, and what must hold between them."""

    text: str
    left: Expression
    sign: str
    right: Expression

    def holds(self, kpis: Names) -> bool:
        """Whether a run keeps it. What is undefined keeps nothing: nobody could say that it does."""
        left, right = self.left.value(kpis), self.right.value(kpis)
        if left is None or right is None:
            return False
        match self.sign:
            case "<=":
                return left <= right
            case "<":
                return left < right
            case ">=":
                return left >= right
            case ">":
                return left > right
            case _:
                return left == right


def compile_objective(text: str, kpis: Collection[str]) -> Expression:
    """Reads an objective over the KPIs of these names. Raises BadExpression, also when no run could have a value."""
    objective = compile_expression(text, kpis)
    if not objective.names:
        raise BadExpression(text, 0, "", "the objective depends on no KPI")
    if all(objective.value(probe) is None for probe in _probes(objective.names)):
        raise BadExpression(text, 0, "", "the objective is never defined, whatever the KPIs are")
    return objective


def compile_constraint(text: str, kpis: Collection[str]) -> Constraint:
    """Reads a constraint over the KPIs of these names. Raises BadExpression."""
    root = parse(text)
    if not isinstance(root, ast.Compare):
        raise BadExpression(text, 0, "", "a constraint compares two expressions, with <=, <, >=, > or ==")
    between = text[root.left.end_col_offset : root.comparators[0].col_offset].strip(" ()\t\r\n")
    sign = _SIGNS.get(type(root.ops[0]))
    if sign is None:
        position = text.index(between, root.left.end_col_offset or 0)
        raise BadExpression(text, position, between, f"{between!r} is none of <=, <, >=, > and ==")
    if len(root.ops) > 1:
        position = root.comparators[0].end_col_offset or 0
        raise BadExpression(text, position, "", f"one comparison each: two are two constraints (character {position})")
    left, right = compile_parts(text, kpis, [root.left, root.comparators[0]])
    names = left.names | right.names
    if not names:
        raise BadExpression(text, 0, "", "the constraint depends on no KPI")
    if all(left.value(probe) is None or right.value(probe) is None for probe in _probes(names)):
        raise BadExpression(text, 0, "", "the constraint is never defined, whatever the KPIs are")
    return Constraint(text, left, sign, right)


def _probes(names: Collection[str]) -> Iterator[Names]:
    """KPIs as runs may have them: none, few, many, in any mixture; the same ones every time."""
    for size in (0.0, 1.0, 10.0, 1e3, 1e5):
        yield dict.fromkeys(names, size)
    for number in range(_PROBES):
        yield {name: _made_up(f"{number} {name}") for name in names}


def _made_up(name: str) -> float:
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    if digest[0] < 50:
        return 0.0
    exponent = int.from_bytes(digest[1:5], "big") / 2**32 * 9 - 2
    value = math.pow(10.0, exponent)
    return float(round(value)) if digest[5] % 2 else value
