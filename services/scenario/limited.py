"""Inspects a scenario in a process of its own that may use little and die: what strangers sent is read there."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from scenario.limits import InspectionLimits
from scenario.model import Finding, Inspection, Scene, SumoOption

# The folder that holds the package: the process gets no other path and no variable of ours.
_IMPORT_FOLDER: Final = Path(__file__).resolve().parent.parent
_READ_BYTES: Final = 1 << 16


async def inspect_limited(root: Path, config_path: str, limits: InspectionLimits | None = None) -> Inspection:
    """As `inspect.inspect`, within `limits`. Death, time-out or nonsense is the finding `inspection-exhausted`."""
    limits = limits or InspectionLimits()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "scenario.inspect_main"),
        *(str(root.absolute()), config_path, str(limits.cpu_s), str(limits.memory_bytes)),
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
    except TimeoutError:
        return _exhausted(f"took more than {limits.wall_s:g} s")
    finally:
        if process.returncode is None:
            # Its whole session: it starts nothing, but who has taken it over might.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if report is None:
        return _exhausted(f"reported more than {limits.report_bytes} bytes")
    if code == -signal.SIGXCPU:
        return _exhausted(f"used more than {limits.cpu_s} s of CPU time")
    if code != 0:
        return _exhausted(f"used more than {limits.memory_bytes} bytes of memory, or broke its process ({code})")
    return _parse(report)


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
