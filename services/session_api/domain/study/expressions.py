"""Arithmetic over named numbers, as users write it: read once, evaluated often, never executed as Python.

    text -> characters allowed? -> Python's grammar -> whitelist of nodes -> a tree of closures over floats

What has no value (a quotient by zero, the logarithm of a negative number, an overflow, a name without a value) is None,
and so is all that is computed from it. What is wrong with a text is told with the place and the word.
"""

import ast
import difflib
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

Names = Mapping[str, float | None]
"""Values of names; None: undefined."""

LONGEST = 500
"""Characters of a text."""
# A person's formula has a dozen at most (a sum of n terms is n levels deep); the evaluation is recursive.
_DEEPEST = 100
# Everything else (quotes, brackets of lists, comments, letters that only look like others) is refused by its place.
_FOREIGN = re.compile(r"[^A-Za-z0-9_.,+\-*/%()<>=! \t\r\n]")
_WORD = re.compile(r"[A-Za-z_0-9.]+|\S")


@dataclass(eq=False)
class BadExpression(Exception):
    """`text` is no expression: `problem` says why, `word` is what is wrong, at `position` (from 0)."""

    text: str
    position: int
    word: str
    problem: str

    def __str__(self) -> str:
        return f"{self.problem}, at character {self.position + 1}" if self.word else self.problem


@dataclass(frozen=True, slots=True)
class Function:
    """A function that expressions may call: with `least` to `most` arguments (None: any number)."""

    of: Callable[..., float]
    least: int = 1
    most: int | None = 1


FUNCTIONS: Mapping[str, Function] = {
    "min": Function(min, 2, None),
    "max": Function(max, 2, None),
    "abs": Function(abs),
    "sqrt": Function(math.sqrt),
    "log": Function(math.log),
    "exp": Function(math.exp),
}
"""What objectives and constraints may call."""

_Node = Callable[[Names], float]

_BINARY: Mapping[type[ast.operator], tuple[str, Callable[[float, float], float]]] = {
    ast.Add: ("+", lambda left, right: left + right),
    ast.Sub: ("-", lambda left, right: left - right),
    ast.Mult: ("*", lambda left, right: left * right),
    ast.Div: ("/", lambda left, right: left / right),
    ast.Mod: ("%", lambda left, right: left % right),
    # Over floats: no power takes longer than another, and a root of a negative number is no complex one.
    ast.Pow: ("**", math.pow),
}
OPERATORS = frozenset({"+", "-", "*", "/", "**"})
"""What objectives and constraints may compute with."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A text that was read."""

    text: str
    names: frozenset[str]
    """Names that occur in it."""
    _root: _Node

    def value(self, names: Names) -> float | None:
        """Its value, finite; None where it is undefined. Raises KeyError for a name that is not given at all."""
        try:
            value = self._root(names)
        except (ArithmeticError, ValueError, _Undefined):
            return None
        return value if math.isfinite(value) else None


class _Undefined(Exception):
    """A name has no value."""


def compile_expression(
    text: str,
    names: Collection[str],
    *,
    functions: Mapping[str, Function] = FUNCTIONS,
    operators: Collection[str] = OPERATORS,
) -> Expression:
    """Reads an expression over these names. Raises BadExpression."""
    return _Reader(text, names, functions, operators).expression(parse(text))


def compile_parts(text: str, names: Collection[str], parts: Collection[ast.expr]) -> list[Expression]:
    """Reads parts of a text that `parse` has read. Raises BadExpression."""
    reader = _Reader(text, names, FUNCTIONS, OPERATORS)
    return [reader.expression(part) for part in parts]


def parse(text: str) -> ast.expr:
    """The text as Python's grammar reads it. Raises BadExpression."""
    if not text.strip():
        raise BadExpression(text, 0, "", "the expression is empty")
    if len(text) > LONGEST:
        raise BadExpression(text[:LONGEST], LONGEST, "", f"the expression is longer than {LONGEST} characters")
    foreign = _FOREIGN.search(text)
    if foreign:
        hint = "; powers are written **" if foreign[0] == "^" else ""
        raise BadExpression(text, foreign.start(), foreign[0], f"{foreign[0]!r} has no meaning here{hint}")
    # Spaces at the beginning mean something to Python, and so do ends of lines.
    plain = re.sub(r"\s", " ", text)
    offset = len(plain) - len(plain.lstrip())
    try:
        root = ast.parse(plain.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise _not_read(text, error, offset) from None
    for node in ast.walk(root):
        if isinstance(node, ast.expr):
            node.col_offset += offset
            node.end_col_offset = (node.end_col_offset or 0) + offset
    return root


def _not_read(text: str, error: Exception, offset: int) -> BadExpression:
    single = re.search(r"(?<![<>=!])=(?!=)", text)
    if single:
        return BadExpression(text, single.start(), "=", "'=' compares nothing; equality is written ==")
    if not isinstance(error, SyntaxError):
        return BadExpression(text, 0, "", "the expression cannot be read")
    # Python names no place when it is the end.
    position = min((error.offset or len(text)) - 1 + offset, len(text.rstrip()) - 1)
    found = _WORD.match(text, position)
    word = found[0] if found else text[position]
    return BadExpression(text, position, word, f"the expression cannot be read: {error.msg.lower()} near {word!r}")


class _Reader:
    """Turns nodes into closures, and refuses the rest."""

    def __init__(
        self, text: str, names: Collection[str], functions: Mapping[str, Function], operators: Collection[str]
    ) -> None:
        self._text = text
        self._names, self._functions, self._operators = names, functions, operators

    def expression(self, root: ast.expr) -> Expression:
        """The whole of it."""
        used = frozenset(
            node.id
            for node in ast.walk(root)
            if isinstance(node, ast.Name) and (node.id in self._names or node.id not in self._functions)
        )
        return Expression(self._text, used, self._read(root, 0))

    def _read(self, node: ast.expr, depth: int) -> _Node:
        if depth > _DEEPEST:
            raise self._bad(node, f"the expression is nested deeper than {_DEEPEST} levels")
        match node:
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                return self._number(node, value)
            case ast.Name(id=name):
                return self._name(node, name)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                inner = self._read(operand, depth + 1)
                return lambda names: -inner(names)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self._read(operand, depth + 1)
            case ast.BinOp(left=left, op=op, right=right):
                return self._binary(node, type(op), self._read(left, depth + 1), self._read(right, depth + 1))
            case ast.Call(func=ast.Name(id=name), args=given, keywords=[]):
                return self._call(node, name, given, depth)
            case ast.Compare():
                raise self._bad(node, "a comparison is no number; what must hold is a constraint")
            case _:
                raise self._bad(node, f"{self._words(node)!r} has no meaning here")

    def _number(self, node: ast.expr, value: float) -> _Node:
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise self._bad(node, "the number is too large")
        return lambda _: number

    def _name(self, node: ast.expr, name: str) -> _Node:
        if name not in self._names:
            known = f"{name} is a function" if name in self._functions else f"there is no {name!r}"
            raise self._bad(node, known + self._meant(name, self._names))

        def value(names: Names) -> float:
            found = names[name]
            if found is None or not math.isfinite(found):
                raise _Undefined
            return float(found)

        return value

    def _binary(self, node: ast.expr, operator: type[ast.operator], left: _Node, right: _Node) -> _Node:
        sign, compute = _BINARY.get(operator, ("", math.pow))
        if sign not in self._operators:
            allowed = ", ".join(sorted(self._operators))
            raise self._bad(node, f"{self._words(node)!r} has no meaning here; the operators are {allowed}")

        def value(names: Names) -> float:
            result = compute(left(names), right(names))
            # Python's floats overflow to infinity in silence, and a quotient by that would look like a number.
            if not math.isfinite(result):
                raise _Undefined
            return result

        return value

    def _call(self, node: ast.expr, name: str, given: list[ast.expr], depth: int) -> _Node:
        function = self._functions.get(name)
        if function is None:
            raise self._bad(node, f"there is no function {name!r}" + self._meant(name, self._functions), name)
        if len(given) < function.least or (function.most is not None and len(given) > function.most):
            wanted = f"{function.least}" if function.most == function.least else f"{function.least} or more"
            if function.most not in (None, function.least):
                wanted = f"{function.least} to {function.most}"
            plural = "" if wanted == "1" else "s"
            raise self._bad(node, f"{name} takes {wanted} argument{plural}, not {len(given)}", name)
        arguments = [self._read(argument, depth + 1) for argument in given]
        return lambda names: function.of(*_values(arguments, names))

    def _meant(self, name: str, known: Collection[str]) -> str:
        close = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.6)
        return f"; is {' or '.join(close)} meant?" if close else ""

    def _words(self, node: ast.expr) -> str:
        return self._text[node.col_offset : node.end_col_offset]

    def _bad(self, node: ast.expr, problem: str, word: str = "") -> BadExpression:
        return BadExpression(self._text, node.col_offset, word or self._words(node), problem)


def _values(nodes: list[_Node], names: Names) -> Iterator[float]:
    for node in nodes:
        yield node(names)
