"""What templates are made of: wired here, so that `main` stays readable."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from runtime.blobs import Blobs
from scenario.limits import UploadLimits
from session_api.adapters.template_service import TemplateServiceAdapter
from session_api.application.create_template import CreateTemplate
from session_api.application.delete_template import DeleteTemplate
from session_api.application.fill_in import FillIn
from session_api.application.fill_template import FillTemplate
from session_api.application.hold_scenarios import HoldScenarios
from session_api.application.inspect_made import InspectMade
from session_api.application.keep_scenarios import KeepScenarios
from session_api.application.replace_files import ReplaceFiles
from session_api.application.variant_scenarios import VariantScenarios
from session_api.gateways.quotas_sql import Quotas
from session_api.gateways.scenarios_sql import Scenarios
from session_api.gateways.templates_sql import Templates


@dataclass(frozen=True, slots=True)
class TemplateRooms:
    """The use cases of templates, and of scenarios that are made of others."""

    create: CreateTemplate
    fill: FillTemplate
    delete: DeleteTemplate
    variants: VariantScenarios
    hold: HoldScenarios
    """Of templates and of all other scenarios."""

    @classmethod
    def of(
        cls, engine: AsyncEngine, scenarios: Scenarios, blobs: Blobs, quotas: Quotas, limits: UploadLimits
    ) -> "TemplateRooms":
        """All of them."""
        templates, fill_in, inspect = Templates(engine), FillIn(blobs), InspectMade(blobs)
        keep, replace = KeepScenarios(scenarios, blobs, quotas), ReplaceFiles(scenarios, blobs, limits)
        return cls(
            CreateTemplate(templates, scenarios, blobs, fill_in, inspect),
            FillTemplate(templates, scenarios, fill_in, inspect, keep),
            DeleteTemplate(templates, blobs),
            VariantScenarios(scenarios, templates, fill_in, replace, inspect, blobs, keep),
            HoldScenarios(scenarios, templates, blobs),
        )

    def adapter(self) -> TemplateServiceAdapter:
        """The service."""
        return TemplateServiceAdapter(self.create, self.fill, self.delete, self.create.templates)
