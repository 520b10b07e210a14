"""What an answer must look like: a part of its JSON form, as the cases write it.

A mapping must be found in the answer, with whatever else there is; a list must be equal in length and order; a value
that is not set equals the empty one. Besides:

    "~pattern"            a text in which the regular expression is found
    {$in: [a, b]}         one of these
    {$at_least: 3}        a number, this or more
    {$length: 3}          a list or text of this length
    {$any: {…}}           a list with an entry like this
    {$not: x}             anything else
"""

import re
from typing import Any


def mismatch(expected: Any, actual: Any, place: str = "") -> str:
    """How an answer differs from what was expected, in words; empty: it does not."""
    if isinstance(expected, dict) and len(expected) == 1 and next(iter(expected)).startswith("$"):
        return _special(*next(iter(expected.items())), actual, place)
    if isinstance(expected, dict):
        if actual is None:
            actual = {}
        if not isinstance(actual, dict):
            return f"{place}: {_short(actual)} is no message"
        parts = (
            mismatch(value, actual.get(str(name)), f"{place}.{name}".strip(".")) for name, value in expected.items()
        )
        return next((part for part in parts if part), "")
    if isinstance(expected, list):
        actual = actual or []
        if not isinstance(actual, list) or len(actual) != len(expected):
            return f"{place}: {_short(actual)}, not {_short(expected)}"
        parts = (mismatch(*pair, f"{place}[{n}]") for n, pair in enumerate(zip(expected, actual, strict=True)))
        return next((part for part in parts if part), "")
    if isinstance(expected, str) and expected.startswith("~"):
        found = re.search(expected[1:], str(actual if actual is not None else ""))
        return "" if found else f"{place}: {_short(actual)} is not like {expected[1:]!r}"
    return "" if _same(expected, actual) else f"{place}: {_short(actual)}, not {_short(expected)}"


def _special(verb: str, wanted: Any, actual: Any, place: str) -> str:
    match verb:
        case "$in":
            fine = any(not mismatch(one, actual) for one in wanted)
        case "$at_least":
            fine = float(actual or 0) >= wanted
        case "$length":
            fine = len(actual or []) == wanted
        case "$any":
            fine = any(not mismatch(wanted, one) for one in actual or [])
        case "$not":
            fine = bool(mismatch(wanted, actual))
        case _:
            raise ValueError(f"the cases know no {verb}")
    return "" if fine else f"{place}: {_short(actual)}, not {verb[1:]} {_short(wanted)}"


def _same(expected: Any, actual: Any) -> bool:
    if actual is None:
        return expected in (0, "", False, None)
    if isinstance(expected, bool) or isinstance(actual, bool):
        return expected is actual
    if isinstance(expected, int) and isinstance(actual, str):
        # JSON writes 64-bit integers as texts.
        return str(expected) == actual
    return bool(expected == actual)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 200 else f"{text[:200]}…"
