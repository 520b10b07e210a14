"""The scenarios of a study's variants: templates filled in, files replaced, everything stored in one go.

base ─► other files, once per set of them ─► filled in, all sets of values at once ─► stored
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from milepost.scenario.v1.scenario_pb2 import Scenario, ScenarioFile, Scene, SumoOption
from milepost.study.v1.study_pb2 import StudyBase, TemplateVersion
from runtime.blobs import Blobs
from runtime.errors import CallRefused, FieldViolation
from runtime.parallel import for_each
from session_api.application.delete_scenario import no_scenario
from session_api.application.fill_in import Filled, Filler, FillIn
from session_api.application.inspect_made import Inspect, InspectMade
from session_api.application.keep_scenarios import KeepScenarios
from session_api.application.made_scenario import MadeScenario, as_it_is
from session_api.application.replace_files import ReplaceFiles
from session_api.application.template_refusals import MAX_LISTED, MAX_WORDS_CHARS, no_template
from session_api.application.validate_scenario import MANIFEST_MAX_BYTES
from session_api.domain.template import Value, Wrong
from session_api.gateways.scenarios_sql import Scenarios
from session_api.gateways.templates_sql import StoredTemplate, Templates

# Limited processes at once; each has a core to itself for a while.
_INSPECTIONS_AT_ONCE = 2
# Scenarios in memory at once; each may have 2,000 files.
_PORTION = 250


@dataclass(frozen=True, slots=True)
class Wanted:
    """A patch, as far as it makes another scenario of the base."""

    path: str
    """Where it stands in the request, for example `spec.variants[3].patch`."""
    parameters: Mapping[str, Value] = field(default_factory=dict)
    files: Sequence[ScenarioFile] = ()


@dataclass(frozen=True, slots=True)
class VariantScenario:
    """What a variant's sessions run."""

    digest: str
    options: tuple[SumoOption, ...] = ()
    """Options that follow from the parameters."""
    scene: Scene = field(default_factory=Scene)
    net_sha256: str = ""
    """Digest of the network file."""


@dataclass(frozen=True, slots=True)
class Made:
    """The scenario of each patch, in their order; or what is wrong with patches, as much as is listed."""

    scenarios: list[VariantScenario]
    violations: list[FieldViolation]
    template_version: int = 0
    """Of the template that was filled in."""


@dataclass(frozen=True, slots=True)
class VariantScenarios:
    """From patches to stored scenarios."""

    scenarios: Scenarios
    templates: Templates
    fill_in: FillIn
    replace: ReplaceFiles
    inspect: InspectMade
    blobs: Blobs
    keep: KeepScenarios

    async def __call__(
        self, tenant: str, base: StudyBase, wanted: Sequence[Wanted], *, owner: str = "", keep: bool = True
    ) -> Made:
        """Of a scenario or a template, which has to be there; without `keep` they are checked and not stored.

        Raises CallRefused: SCENARIO_NOT_FOUND, TEMPLATE_NOT_FOUND, SCENARIO_INVALID (for files in place of others),
        QUOTA_EXCEEDED.
        """
        if base.WhichOneof("from") == "template":
            return await self._of_template(tenant, base.template, wanted, owner, keep=keep)
        scenario = await self.scenarios.get(tenant, base.scenario_digest)
        if scenario is None:
            raise no_scenario(base.scenario_digest)
        wrong = [
            FieldViolation(f"{patch.path}.parameters", "the study's base is no template")
            for patch in wanted
            if patch.parameters
        ]
        if wrong:
            return Made([], wrong[:MAX_LISTED])
        return await self._make(tenant, scenario, None, wanted, owner, keep=keep)

    async def _of_template(
        self, tenant: str, named: TemplateVersion, wanted: Sequence[Wanted], owner: str, *, keep: bool
    ) -> Made:
        stored = await self.templates.get(tenant, named.name, named.version)
        if stored is None:
            raise no_template(named.name, named.version)
        bound = {binding.attribute.file for binding in stored.template.bindings if binding.HasField("attribute")}
        wrong = [
            FieldViolation(f"{patch.path}.files[{index}].path", "values of the template's parameters are bound in it")
            for patch in wanted
            for index, file in enumerate(patch.files)
            if file.path in bound
        ]
        if wrong:
            return Made([], wrong[:MAX_LISTED])
        return await self._make(tenant, stored.scenario, stored, wanted, owner, keep=keep)

    async def _make(
        self,
        tenant: str,
        scenario: Scenario,
        template: StoredTemplate | None,
        wanted: Sequence[Wanted],
        owner: str,
        *,
        keep: bool,
    ) -> Made:
        text = await self.blobs.get_bytes(scenario.digest, limit_bytes=MANIFEST_MAX_BYTES)
        base = as_it_is(scenario, text)
        filler = await self.fill_in(template, owner=owner) if template else None
        wrong = await asyncio.to_thread(_wrong_values, filler, wanted) if filler else []
        found: list[VariantScenario | None] = [None] * len(wanted)
        async with self.inspect() as inspect:
            for made, indexes in await self._replaced(tenant, base, wanted, inspect, wrong, owner=owner):
                for some in _portions(indexes):
                    filled = (
                        await filler.fill([wanted[index].parameters for index in some], base=made)
                        if filler
                        else [Filled(made, ())] * len(some)
                    )
                    wrong += await self._inspect(tenant, [wanted[index].path for index in some], filled, inspect)
                    if wrong:
                        return Made([], wrong[:MAX_LISTED])
                    if keep:
                        await self.keep(tenant, [one.made for one in filled])
                    for index, one in zip(some, filled, strict=True):
                        found[index] = _variant(one)
        return Made([one for one in found if one], wrong[:MAX_LISTED], template.template.version if template else 0)

    async def _replaced(
        self,
        tenant: str,
        base: MadeScenario,
        wanted: Sequence[Wanted],
        inspect: Inspect,
        wrong: list[FieldViolation],
        *,
        owner: str,
    ) -> list[tuple[MadeScenario, list[int]]]:
        """The base with each set of files, and who wants it; what is wrong is added, and then there are none."""
        sets: defaultdict[tuple[tuple[str, str, int], ...], list[int]] = defaultdict(list)
        for index, patch in enumerate(wanted):
            sets[tuple((file.path, file.sha256, file.size_bytes) for file in patch.files)].append(index)
        found: list[tuple[MadeScenario, list[int]]] = []

        async def replace(indexes: list[int]) -> None:
            first = wanted[indexes[0]]
            made = await self.replace(tenant, base, first.files, inspect, owner=owner) if first.files else base
            if isinstance(made, list):
                wrong.extend(_violations(made, f"{first.path}.files"))
            else:
                found.append((made, indexes))

        await for_each(sets.values(), replace, at_once=_INSPECTIONS_AT_ONCE)
        return [] if wrong else found

    async def _inspect(
        self, tenant: str, paths: Sequence[str], filled: Sequence[Filled], inspect: Inspect
    ) -> list[FieldViolation]:
        """Hold those against the rest of their scenario that need it and are new; what is wrong with them."""
        asked = {
            one.made.scenario.digest: (path, one.made)
            for path, one in zip(paths, filled, strict=True)
            if one.made.needs_inspection
        }
        known = await self.scenarios.known(tenant, asked)
        wrong: list[FieldViolation] = []

        async def work(item: tuple[str, MadeScenario]) -> None:
            try:
                await inspect(item[1])
            except CallRefused as refused:
                wrong.append(FieldViolation(f"{item[0]}.parameters", refused.message[:MAX_WORDS_CHARS]))

        new = [item for digest, item in asked.items() if digest not in known]
        await for_each(new, work, at_once=_INSPECTIONS_AT_ONCE)
        return wrong


def _variant(filled: Filled) -> VariantScenario:
    scenario = filled.made.scenario
    net = next(file.sha256 for file in scenario.files if file.path == scenario.scene.net_file)
    return VariantScenario(scenario.digest, filled.options, scenario.scene, net)


def _portions(indexes: Sequence[int]) -> list[Sequence[int]]:
    return [indexes[first : first + _PORTION] for first in range(0, len(indexes), _PORTION)]


def _wrong_values(filler: Filler, wanted: Sequence[Wanted]) -> list[FieldViolation]:
    found: list[FieldViolation] = []
    for patch in wanted:
        found += _violations(filler.wrong_with(patch.parameters), f"{patch.path}.parameters.")
        if len(found) >= MAX_LISTED:
            break
    return found


def _violations(wrong: Sequence[Wrong], under: str) -> list[FieldViolation]:
    return [FieldViolation(f"{under}{one.field}", one.description[:MAX_WORDS_CHARS]) for one in wrong]
