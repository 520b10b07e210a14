"""Which options of SUMO a scenario or a request may set, and to what."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from scenario import sumo_options
from scenario.model import Finding, ScenarioRejected, Scene, SumoOption

MAX_VALUE_CHARS: Final = 1 << 16
# Explicit lists of vehicles make the longest values; Linux takes 128 KiB per argument.
_NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_INTEGER: Final = re.compile(r"[+-]?\d+", re.ASCII)
_CLOCK: Final = re.compile(r"-?(?:(\d+):)?(\d+):(\d+):(\d+(?:\.\d+)?)", re.ASCII)
# SUMO's spellings (StringUtils::toBool), compared in lower case.
_TRUE: Final = frozenset({"true", "1", "yes", "on", "x", "t"})
_FALSE: Final = frozenset({"false", "0", "no", "off", "-", "f"})
# Where SUMO throws output away instead of writing a file.
DISCARDED: Final = frozenset({"", "nul", "NUL", "/dev/null"})
INPUTS: Final = sumo_options.XML_INPUTS | sumo_options.TEXT_INPUTS
_VALUES: Final = (
    sumo_options.BOOLEANS | sumo_options.INTEGERS | sumo_options.FLOATS | sumo_options.TIMES | sumo_options.TEXTS
)
_TIMES: Final = sumo_options.TIMES | {"begin", "end", "step-length"}
KNOWN: Final = (
    _VALUES | INPUTS | sumo_options.OUTPUTS | sumo_options.SCENE | sumo_options.SESSION | sumo_options.IGNORED
)


def canonical(name: str) -> str:
    """The option's own name for any spelling SUMO takes."""
    return sumo_options.SYNONYMS.get(name, name)


def judge_option(name: str, value: str) -> tuple[str, str] | None:
    """Rule and message of what is wrong with option `name` (canonical) having `value`; None when nothing is."""
    wrong = None
    if name not in KNOWN:
        return "option-not-allowed", f"the option {name[:80]} is not allowed"
    if len(value) > MAX_VALUE_CHARS or not value.isprintable():
        wrong = f"is longer than {MAX_VALUE_CHARS} characters or not printable"
    elif "${" in value:
        wrong = "names an environment variable"
    elif name in sumo_options.OUTPUTS and is_socket(value):
        return "output-socket", f"the option {name} would write to the network at '{value[:80]}'"
    elif name in sumo_options.BOOLEANS and value.lower() not in _TRUE | _FALSE:
        wrong = "is neither true nor false"
    elif name in sumo_options.INTEGERS and not _INTEGER.fullmatch(value):
        wrong = "is no whole number"
    elif name in sumo_options.FLOATS and not _NUMBER.fullmatch(value):
        wrong = "is no number"
    elif name in _TIMES and seconds(value) is None:
        wrong = "is no time"
    elif name == "step-length" and not (seconds(value) or 0) > 0:
        wrong = "must be more than 0"
    return ("option-value-invalid", f"the value of the option {name} {wrong}") if wrong else None


def check_options(options: Sequence[tuple[str, str]]) -> tuple[Finding, ...]:
    """What is wrong with the options of a request, (name, value); empty when nothing is."""
    findings: list[Finding] = []
    seen: set[str] = set()
    for given, value in options:
        name = canonical(given)
        wrong = judge_option(name, value)
        if wrong is None and name in INPUTS | {"net-file", "route-files", "additional-files"}:
            wrong = "option-not-allowed", f"the option {name} names an input, which is the scenario's"
        elif wrong is None and (name in sumo_options.SESSION or name == "end"):
            wrong = "option-not-allowed", f"the option {name} is a field of the session or fixed for all sessions"
        elif wrong is None and name in sumo_options.IGNORED:
            wrong = "option-not-allowed", f"the option {name} has no part in the simulation"
        elif wrong is None and name in seen:
            wrong = "option-repeated", f"the option {name} is given twice"
        if wrong is not None:
            findings.append(Finding(*wrong))
        seen.add(name)
    return tuple(findings)


def override(scene: Scene, options: Iterable[SumoOption]) -> Scene:
    """The scene with the options of a request in place of its own. Raises ScenarioRejected."""
    given = tuple(options)
    findings = check_options([(option.name, option.value) for option in given])
    if findings:
        raise ScenarioRejected(*findings)
    values = {option.name: option.value for option in scene.options}
    values.update((canonical(option.name), option.value) for option in given)
    begin, step_length = values.pop("begin", None), values.pop("step-length", None)
    return replace(
        scene,
        begin_time_s=scene.begin_time_s if begin is None else seconds(begin) or 0.0,
        step_length_s=scene.step_length_s if step_length is None else seconds(step_length) or scene.step_length_s,
        options=tuple(SumoOption(name, values[name]) for name in sorted(values)),
    )


def seconds(value: str) -> float | None:
    """A time as SUMO writes it, in seconds; None when it is none."""
    if _NUMBER.fullmatch(value):
        parsed = float(value)
        return parsed if math.isfinite(parsed) else None
    found = _CLOCK.fullmatch(value)
    if found is None:
        return None
    days, hours, minutes, rest = found.groups()
    parsed = int(days or 0) * 86400 + int(hours) * 3600 + int(minutes) * 60 + float(rest)
    return -parsed if value.startswith("-") else parsed


def is_true(value: str) -> bool:
    """A truth value as SUMO writes it; `judge_option` has said that it is one."""
    return value.lower() in _TRUE


def is_socket(value: str) -> bool:
    """Whether SUMO would take an output's name for `host:port` (one letter before the colon is a drive)."""
    return value.find(":") > 1
