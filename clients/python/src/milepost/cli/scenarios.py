"""`milepost scenarios …`: upload, list, validate."""

import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from milepost.cli.command import Target, console, fail_line
from milepost.cli.json_form import json_line
from milepost.cli.tables import finding_line, scenarios_table
from milepost.exceptions import InvalidArgument
from milepost.scenario.v1.scenario_pb2 import Finding, Scenario
from milepost.scenario.v1.scenario_service_pb2 import (
    DeleteScenarioRequest,
    ListScenariosResponse,
    ValidateScenarioResponse,
)

PATH = typer.Argument(metavar="PATH", help="A .sumocfg, a directory with one, or a zip.")
_DIGEST = re.compile(r"[0-9a-f]{64}")


async def upload(
    target: Target,
    path: Annotated[Path, PATH],
    name: Annotated[str, typer.Option(help="Name for humans.")] = "",
) -> None:
    """Upload a scenario; equal content is uploaded once. Prints its digest."""
    async with target.client() as client:
        scenario = await client.scenarios.upload(path, display_name=name)
    if target.json:
        print(json_line(scenario))
    else:
        _print_notes(scenario)
        print(scenario.digest)


async def list_(target: Target, limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 50) -> None:
    """List scenarios, newest first. JSON: one object with `scenarios`."""
    found = ListScenariosResponse()
    async with target.client() as client:
        async for scenario in client.scenarios.list():
            found.scenarios.append(scenario)
            if len(found.scenarios) == limit:
                break
    if target.json:
        print(json_line(found))
    else:
        console().print(scenarios_table(found.scenarios))


async def remove(
    target: Target, digests: Annotated[list[str], typer.Argument(metavar="DIGEST…", help="Stored scenarios.")]
) -> None:
    """Take scenarios off the list, for good. Sessions that are made of them keep their files."""
    async with target.client() as client:
        for digest in digests:
            await client.scenarios.delete(digest)
            if target.json:
                print(json_line(DeleteScenarioRequest(digest=digest)))
            else:
                print(f"{digest} deleted")


async def validate(
    target: Target,
    path: Annotated[str, typer.Argument(help="A .sumocfg, a directory with one, a zip, or a stored digest.")],
) -> None:
    """Say what is wrong with a scenario, storing nothing. Exit code 0 only when it is valid."""
    async with target.client() as client:
        if _DIGEST.fullmatch(path) and not Path(path).exists():
            report = await client.scenarios.validate_stored(path)
        else:
            try:
                scenario = await client.scenarios.validate(Path(path))
                report = ValidateScenarioResponse(warnings=scenario.warnings)
            except InvalidArgument as refused:
                if not refused.violations:
                    raise
                report = ValidateScenarioResponse(errors=_findings(refused))
    if target.json:
        print(json_line(report))
    else:
        for warning in report.warnings:
            print(f"note: {finding_line(warning)}")
        for error in report.errors:
            sys.stderr.write(f"{finding_line(error)}\n")
    if report.errors:
        fail_line(f"{path} is not valid: {len(report.errors)} finding{'s' if len(report.errors) > 1 else ''}")
        raise typer.Exit(1)
    if not target.json:
        print("valid")


def _findings(refused: InvalidArgument) -> list[Finding]:
    """The findings of a refusal: its violations name `file:line`."""
    rule = refused.metadata.get("rule", "")
    found = []
    for violation in refused.violations:
        file, _, line = violation.field.rpartition(":")
        place = (file, int(line)) if file and line.isdecimal() else (violation.field, 0)
        found.append(Finding(rule=rule, message=violation.description, file=place[0], line=place[1]))
    return found


def _print_notes(scenario: Scenario) -> None:
    for warning in scenario.warnings:
        sys.stderr.write(f"note: {finding_line(warning)}\n")
