"""Delete a template: nothing new is made of it; what was made of it stays."""

from dataclasses import dataclass

from runtime.blobs import Blobs
from session_api.application.hold_scenarios import let_go
from session_api.application.template_refusals import no_template
from session_api.gateways.templates_sql import Templates


@dataclass(frozen=True, slots=True)
class DeleteTemplate:
    """Off the list first, then its scenarios are let go."""

    templates: Templates
    blobs: Blobs

    async def __call__(self, tenant: str, name: str) -> None:
        """Raises CallRefused(TEMPLATE_NOT_FOUND)."""
        digests = await self.templates.remove(tenant, name)
        if not digests:
            raise no_template(name, 0)
        for digest in sorted(digests):
            await let_go(self.templates, self.blobs, tenant, digest)
