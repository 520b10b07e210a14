"""Fill a template in and store the scenario that comes of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from google.protobuf.struct_pb2 import Value

from milepost.scenario.v1.template_service_pb2 import FillTemplateResponse
from session_api.application.fill_in import FillIn
from session_api.application.inspect_made import InspectMade
from session_api.application.keep_scenarios import KeepScenarios
from session_api.application.template_refusals import no_template, wrong_fields
from session_api.application.template_rules import values_of
from session_api.gateways.scenarios_sql import Scenarios
from session_api.gateways.templates_sql import Templates


@dataclass(frozen=True, slots=True)
class FillTemplate:
    """One scenario; whether it is known decides whether it is inspected."""

    templates: Templates
    scenarios: Scenarios
    fill_in: FillIn
    inspect: InspectMade
    keep: KeepScenarios

    async def __call__(
        self, tenant: str, name: str, version: int, parameters: Mapping[str, Value], *, owner: str = ""
    ) -> FillTemplateResponse:
        """Raises CallRefused: TEMPLATE_NOT_FOUND, FIELD_INVALID, SCENARIO_INVALID, QUOTA_EXCEEDED."""
        stored = await self.templates.get(tenant, name, version)
        if stored is None:
            raise no_template(name, version)
        given = values_of(parameters)
        if isinstance(given, list):
            raise wrong_fields(given, under="parameters.")
        filler = await self.fill_in(stored, owner=owner)
        if wrong := filler.wrong_with(given):
            raise wrong_fields(wrong, under="parameters.")
        (filled,) = await filler.fill([given])
        scenario = await self.scenarios.get(tenant, filled.made.scenario.digest)
        if scenario is None:
            if filled.made.new_files:
                async with self.inspect() as inspect:
                    await inspect(filled.made)
            await self.keep(tenant, [filled.made])
        return FillTemplateResponse(
            scenario=scenario or filled.made.scenario,
            options=filled.options,
            already_stored=scenario is not None,
        )
