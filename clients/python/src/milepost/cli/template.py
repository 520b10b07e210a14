"""`milepost template …`: scenarios with parameters. docs/templates.md has the form."""

from pathlib import Path
from typing import Annotated

import typer
from google.protobuf.struct_pb2 import Value
from rich.table import Table

from milepost.cli.command import Target, console
from milepost.cli.json_form import json_line
from milepost.scenario.v1.template_pb2 import Binding, Parameter, Template
from milepost.scenario.v1.template_service_pb2 import DeleteTemplateRequest, ListTemplatesResponse
from milepost.template_form import read_template

NAME = typer.Argument(metavar="NAME", help="The template's name.")
VERSION = typer.Option(min=0, help="Which version; 0: the latest.")


async def create(
    target: Target,
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A template as YAML (docs/templates.md).")],
    scenario: Annotated[
        Path | None, typer.Option(metavar="PATH", help="The scenario, instead of the one that the file names.")
    ] = None,
) -> None:
    """Make a template, or the next version of one."""
    written = read_template(file, scenario=scenario)
    async with target.client() as client:
        made = await client.templates.create_from(written)
    if target.json:
        print(json_line(made))
    else:
        known = ", as it was" if made.already_stored else ""
        print(f"template {made.template.name} version {made.template.version}{known}")


async def list_(target: Target, limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 50) -> None:
    """List templates by name, the latest version of each. JSON: one object with `templates`."""
    found = ListTemplatesResponse()
    async with target.client() as client:
        async for template in client.templates.list():
            found.templates.append(template)
            if len(found.templates) == limit:
                break
    if target.json:
        print(json_line(found))
        return
    table = Table("template", "version", "parameters", "scenario", "description", box=None)
    for template in found.templates:
        names = ", ".join(parameter.name for parameter in template.parameters)
        table.add_row(
            template.name, str(template.version), names, template.scenario_digest[:12], template.description[:60]
        )
    console().print(table)


async def show(target: Target, name: Annotated[str, NAME], version: Annotated[int, VERSION] = 0) -> None:
    """Show a template's parameters and what follows from them."""
    async with target.client() as client:
        template = await client.templates.get(name, version=version)
    if target.json:
        print(json_line(template))
    else:
        _print(template)


async def fill(
    target: Target,
    name: Annotated[str, NAME],
    values: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE…", help="Others have their defaults.")
    ] = None,
    version: Annotated[int, VERSION] = 0,
) -> None:
    """Store the scenario that these values make. Prints its digest, with the options that follow as `--set`."""
    pairs = [value.partition("=") for value in values or []]
    if any(not key or not equals for key, equals, _ in pairs):
        raise typer.BadParameter("must be key=value", param_hint="KEY=VALUE")
    async with target.client() as client:
        template = await client.templates.get(name, version=version)
        texts = {one.name for one in template.parameters if one.default.HasField("string_value")}
        given = {key: value if key in texts else _number(key, value) for key, _, value in pairs}
        filled = await client.templates.fill(name, given, version=template.version)
    if target.json:
        print(json_line(filled))
    else:
        print(" ".join([filled.scenario.digest, *(f"--set {one.name}={one.value}" for one in filled.options)]))


async def remove(
    target: Target, names: Annotated[list[str], typer.Argument(metavar="NAME…", help="Templates.")]
) -> None:
    """Take templates off the list, for good. What was made of them stays."""
    async with target.client() as client:
        for name in names:
            await client.templates.delete(name)
            if target.json:
                print(json_line(DeleteTemplateRequest(name=name)))
            else:
                print(f"{name} deleted")


def _number(key: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"{key} is a number, {text!r} is none", param_hint="KEY=VALUE") from None


def _print(template: Template) -> None:
    print(f"template {template.name} version {template.version} of scenario {template.scenario_digest}")
    if template.description:
        print(template.description)
    parameters = Table("parameter", "default", "may be", "description", box=None)
    for one in template.parameters:
        parameters.add_row(one.name, _plain(one.default), _may_be(one), one.description)
    console().print(parameters)
    bindings = Table("becomes", "of", box=None)
    for binding in template.bindings:
        bindings.add_row(binding.value, _target(binding))
    console().print(bindings)


def _may_be(parameter: Parameter) -> str:
    if parameter.default.HasField("string_value"):
        return ", ".join(parameter.choices) or "any text"
    least = f"from {parameter.minimum:g} " if parameter.HasField("minimum") else ""
    most = f"up to {parameter.maximum:g} " if parameter.HasField("maximum") else ""
    return f"{'whole ' if parameter.whole else ''}number {least}{most}".strip()


def _target(binding: Binding) -> str:
    if binding.option:
        return f"option {binding.option}"
    return f"{binding.attribute.attribute} of {binding.attribute.select} in {binding.attribute.file}"


def _plain(value: Value) -> str:
    return value.string_value if value.HasField("string_value") else f"{value.number_value:g}"
