"""Reads a scenario in a process of its own that may use little and die: what strangers sent is read there."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from scenario.limits import InspectionLimits
from scenario.model import Finding, Inspection, ScenarioRejected, Scene, SumoOption
from scenario.places import Found, NoPlace, Place, Target

# The folder that holds the package: the process gets no other path and no variable of ours.
_IMPORT_FOLDER: Final = Path(__file__).resolve().parent.parent
_READ_BYTES: Final = 1 << 16


@dataclass(eq=False)
class LimitPassed(Exception):
    """The process used more than it may, or broke; `what` it did, as the end of a sentence."""

    what: str


async def inspect_limited(root: Path, config_path: str, limits: InspectionLimits | None = None) -> Inspection:
    """As `inspect.inspect`, within `limits`. Death, time-out or nonsense is the finding `inspection-exhausted`."""
    try:
        return _parse(await _run_limited("scenario.inspect_main", str(root.absolute()), config_path, limits=limits))
    except LimitPassed as passed:
        return _exhausted(passed.what)


async def find_places_limited(
    path: Path, name: str, targets: Sequence[Target], limits: InspectionLimits | None = None
) -> list[Found]:
    """As `places.find_places`, within `limits`; leaves a file of targets beside `path`. Raises ScenarioRejected."""
    asked = path.with_name(f"{path.name}.targets")
    asked.write_text(json.dumps([asdict(target) for target in targets]))
    try:
        report = await _run_limited(
            "scenario.places_main", str(path.absolute()), name, str(asked.absolute()), limits=limits
        )
    except LimitPassed as passed:
        raise ScenarioRejected(Finding("inspection-exhausted", f"looking for places {passed.what}", name)) from passed
    try:
        read: Mapping[str, Any] = json.loads(report)
        findings = [Finding(**finding) for finding in read["rejected"]]
        places = [
            NoPlace(**found) if isinstance(found, dict) else tuple(Place(*place) for place in found)
            for found in read["found"]
        ]
    except (ValueError, KeyError, TypeError) as error:
        message = "looking for places did not report what it should"
        raise ScenarioRejected(Finding("inspection-exhausted", message, name)) from error
    if findings:
        raise ScenarioRejected(*findings)
    return places


async def _run_limited(module: str, *arguments: str, limits: InspectionLimits | None) -> bytes:
    """What `python -m module cpu_s memory_bytes arguments…` prints. Raises LimitPassed."""
    limits = limits or InspectionLimits()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, str(limits.cpu_s), str(limits.memory_bytes), *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={"PYTHONPATH": str(_IMPORT_FOLDER), "PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1"},
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(limits.wall_s):
            report = await _read_report(process, limits.report_bytes)
            code = await process.wait()
    except TimeoutError as error:
        raise LimitPassed(f"took more than {limits.wall_s:g} s") from error
    finally:
        if process.returncode is None:
            # Its whole session: it starts nothing, but who has taken it over might.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if report is None:
        raise LimitPassed(f"reported more than {limits.report_bytes} bytes")
    if code == -signal.SIGXCPU:
        raise LimitPassed(f"used more than {limits.cpu_s} s of CPU time")
    if code != 0:
        raise LimitPassed(f"used more than {limits.memory_bytes} bytes of memory, or broke its process ({code})")
    return report


async def _read_report(process: asyncio.subprocess.Process, limit_bytes: int) -> bytes | None:
    """All that the process prints; None, and it is killed, when that is more than the limit."""
    assert process.stdout is not None
    report = bytearray()
    while chunk := await process.stdout.read(_READ_BYTES):
        report += chunk
        if len(report) > limit_bytes:
            process.kill()
            return None
    return bytes(report)


def _parse(report: bytes) -> Inspection:
    try:
        read: Mapping[str, Any] = json.loads(report)
        scene = read["scene"]
        return Inspection(
            scene=None if scene is None else _scene(scene),
            errors=tuple(Finding(**finding) for finding in read["errors"]),
            warnings=tuple(Finding(**finding) for finding in read["warnings"]),
        )
    except (ValueError, KeyError, TypeError):
        return _exhausted("did not report what it should")


def _scene(read: Mapping[str, Any]) -> Scene:
    return Scene(
        **{
            **read,
            "route_files": tuple(read["route_files"]),
            "additional_files": tuple(read["additional_files"]),
            "options": tuple(SumoOption(**option) for option in read["options"]),
        }
    )


def _exhausted(what: str) -> Inspection:
    return Inspection(None, (Finding("inspection-exhausted", f"inspecting the scenario {what}"),), ())
