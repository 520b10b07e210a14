"""Create a template: everything that can be wrong with it is found now, so that filling it in is cheap."""

import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from milepost.scenario.v1.scenario_pb2 import Scenario
from milepost.scenario.v1.template_pb2 import Binding, Template
from milepost.scenario.v1.template_service_pb2 import CreateTemplateRequest
from runtime.blobs import BlobMissing, Blobs
from scenario.bindings import written
from scenario.limited import find_places_limited
from scenario.limits import MAX_BOUND_FILE_BYTES, MAX_PLACES
from scenario.model import Manifest, ScenarioRejected
from scenario.options import canonical, check_options
from scenario.places import NoPlace, Place, Target
from session_api.application.delete_scenario import no_scenario
from session_api.application.fill_in import FillIn
from session_api.application.hold_scenarios import blobs_of, template_holder_of
from session_api.application.inspect_made import InspectMade
from session_api.application.template_refusals import wrong_fields
from session_api.application.template_rules import rules_of
from session_api.application.validate_scenario import MANIFEST_MAX_BYTES
from session_api.domain.template import InvalidRules, Rules, Wrong
from session_api.gateways.scenarios_sql import Scenarios
from session_api.gateways.templates_sql import StoredTemplate, Templates, asked_for

Places = dict[int, tuple[Place, ...]]


@dataclass(frozen=True, slots=True)
class CreateTemplate:
    """Checks a template with its defaults, holds what it is made of, notes it."""

    templates: Templates
    scenarios: Scenarios
    blobs: Blobs
    fill_in: FillIn
    inspect: InspectMade
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    async def __call__(self, tenant: str, request: CreateTemplateRequest, *, owner: str = "") -> tuple[Template, bool]:
        """The version, and whether it was there.

        Raises CallRefused: FIELD_INVALID, SCENARIO_NOT_FOUND, SCENARIO_INVALID.
        """
        latest = await self.templates.get(tenant, request.name)
        if latest is not None and asked_for(latest.template) == request:
            return latest.template, True
        scenario = await self.scenarios.get(tenant, request.scenario_digest)
        if scenario is None:
            raise no_scenario(request.scenario_digest)
        try:
            wrong = _wrong_options(request, rules_of(request.parameters, request.bindings))
        except InvalidRules as error:
            wrong = list(error.wrong)
        places = await self._places(request, scenario, wrong)
        if wrong:
            raise wrong_fields(sorted(wrong, key=lambda one: _order(one.field)))
        template = Template(
            name=request.name,
            description=request.description,
            scenario_digest=request.scenario_digest,
            parameters=request.parameters,
            bindings=request.bindings,
            owner=owner,
        )
        template.create_time.FromDatetime(self.clock())
        stored = StoredTemplate(template, scenario, places)
        await self._check_defaults(stored)
        await self._hold(tenant, scenario)
        return await self.templates.add(tenant, stored)

    async def _places(self, request: CreateTemplateRequest, scenario: Scenario, wrong: list[Wrong]) -> Places:
        """Where the values stand; what cannot be bound is added to `wrong`."""
        manifest = Manifest.parse(
            (await self.blobs.get_bytes(scenario.digest, limit_bytes=MANIFEST_MAX_BYTES)).decode()
        )
        by_file: defaultdict[str, list[int]] = defaultdict(list)
        for index, binding in enumerate(request.bindings):
            if binding.HasField("attribute"):
                if problem := _wrong_file(binding.attribute.file, manifest):
                    wrong.append(Wrong(f"bindings[{index}].attribute.file", problem))
                else:
                    by_file[binding.attribute.file].append(index)
        sha256 = {file.path: file.sha256 for file in manifest.files}
        found: Places = {}
        for path, indexes in by_file.items():
            found |= await self._places_in(path, sha256[path], {i: request.bindings[i] for i in indexes}, wrong)
        if sum(map(len, found.values())) > MAX_PLACES:
            wrong.append(Wrong("bindings", f"select more than {MAX_PLACES} places"))
        return dict(sorted(found.items()))

    async def _places_in(self, path: str, sha256: str, bindings: Mapping[int, Binding], wrong: list[Wrong]) -> Places:
        targets = [Target(one.attribute.select, one.attribute.attribute) for one in bindings.values()]
        with tempfile.TemporaryDirectory(prefix="milepost-template-") as directory:
            copy = Path(directory) / "file"
            await self.blobs.get_file(sha256, copy)
            try:
                found = await find_places_limited(copy, path, targets)
            except ScenarioRejected as error:
                first = error.findings[0]
                where = f"line {first.line}: " if first.line else ""
                wrong += [
                    Wrong(f"bindings[{index}].attribute.file", f"cannot be read: {where}{first.message}")
                    for index in bindings
                ]
                return {}
        places: Places = {}
        taken: dict[tuple[int, str], int] = {}
        for (index, binding), one in zip(bindings.items(), found, strict=True):
            if isinstance(one, NoPlace):
                wrong.append(Wrong(f"bindings[{index}].attribute.{one.part}", one.message))
                continue
            attribute = binding.attribute.attribute
            owners = {taken.setdefault((place.start, attribute), index) for place in one} - {index}
            if owners:
                problem = f"binds what bindings[{min(owners)}] binds already"
                wrong.append(Wrong(f"bindings[{index}].attribute", problem))
            places[index] = one
        return places

    async def _check_defaults(self, stored: StoredTemplate) -> None:
        (filled,) = await (await self.fill_in(stored)).fill([{}])
        if filled.made.new_files:
            async with self.inspect() as inspect:
                await inspect(filled.made)

    async def _hold(self, tenant: str, scenario: Scenario) -> None:
        missing = await self.blobs.hold(
            template_holder_of(tenant, scenario.digest), blobs_of(scenario.digest, scenario.files)
        )
        if missing:
            raise BlobMissing(min(missing))


def _wrong_file(path: str, manifest: Manifest) -> str | None:
    file = next((file for file in manifest.files if file.path == path), None)
    if file is None:
        return "is no file of the scenario"
    if path == manifest.config_path:
        return "is the configuration; bind options instead"
    if file.size_bytes > MAX_BOUND_FILE_BYTES:
        return f"has more than {MAX_BOUND_FILE_BYTES} bytes"
    return None


def _wrong_options(request: CreateTemplateRequest, rules: Rules) -> list[Wrong]:
    """What is wrong with options that are bound, and with the values that the defaults give them."""
    filling = rules.fill({})
    if isinstance(filling, list):
        return [_of_default(request, one) for one in filling]
    wrong: list[Wrong] = []
    names: dict[str, int] = {}
    for index, binding in enumerate(request.bindings):
        if not binding.option:
            continue
        first = names.setdefault(canonical(binding.option), index)
        if first != index:
            wrong.append(Wrong(f"bindings[{index}].option", f"is that of bindings[{first}]"))
        for finding in check_options([(binding.option, written(filling.bound[index]))]):
            part = "value" if finding.rule == "option-value-invalid" else "option"
            wrong.append(Wrong(f"bindings[{index}].{part}", finding.message))
    return wrong


def _of_default(request: CreateTemplateRequest, wrong: Wrong) -> Wrong:
    names = [parameter.name for parameter in request.parameters]
    place = f"parameters[{names.index(wrong.field)}].default" if wrong.field in names else "bindings"
    return Wrong(place, wrong.description)


def _order(path: str) -> tuple[bool, int]:
    """Parameters before bindings, each by its place."""
    head, _, rest = path.partition("[")
    number = rest.partition("]")[0]
    return head == "bindings", int(number) if number.isdecimal() else -1
