"""`milepost.scenario.v1.TemplateService` over the use cases."""

from dataclasses import dataclass
from typing import Any

import grpc

from milepost.scenario.v1 import template_service_pb2 as pb
from milepost.scenario.v1.template_service_pb2_grpc import TemplateServiceServicer
from runtime.identity import caller
from session_api.adapters.paging import DEFAULT_PAGE_SIZE, decode_name, encode_name
from session_api.application.create_template import CreateTemplate
from session_api.application.delete_template import DeleteTemplate
from session_api.application.fill_template import FillTemplate
from session_api.application.template_refusals import no_template
from session_api.gateways.templates_sql import Templates

Context = grpc.aio.ServicerContext[Any, Any]
# A page ends early rather than pass what a message may have (4 MiB by default); one template has less than half.
_PAGE_BYTES = 2 * 1024 * 1024


@dataclass(frozen=True)
class TemplateServiceAdapter(TemplateServiceServicer):
    """Translates; see the proto for what each call promises."""

    create: CreateTemplate
    fill: FillTemplate
    delete: DeleteTemplate
    templates: Templates

    async def CreateTemplate(self, request: pb.CreateTemplateRequest, context: Context) -> pb.CreateTemplateResponse:
        """See the proto."""
        who = caller()
        template, already_stored = await self.create(who.tenant, request, owner=who.subject)
        return pb.CreateTemplateResponse(template=template, already_stored=already_stored)

    async def GetTemplate(self, request: pb.GetTemplateRequest, context: Context) -> pb.GetTemplateResponse:
        """See the proto."""
        stored = await self.templates.get(caller().tenant, request.name, request.version)
        if stored is None:
            raise no_template(request.name, request.version)
        return pb.GetTemplateResponse(template=stored.template)

    async def ListTemplates(self, request: pb.ListTemplatesRequest, context: Context) -> pb.ListTemplatesResponse:
        """See the proto."""
        size = request.page_size or DEFAULT_PAGE_SIZE
        found = await self.templates.page(caller().tenant, size=size + 1, after=decode_name(request.page_token))
        response = pb.ListTemplatesResponse()
        left = _PAGE_BYTES
        for template in found[:size]:
            left -= template.ByteSize()
            if left < 0 and response.templates:
                break
            response.templates.append(template)
        if len(response.templates) < len(found):
            response.next_page_token = encode_name(response.templates[-1].name)
        return response

    async def DeleteTemplate(self, request: pb.DeleteTemplateRequest, context: Context) -> pb.DeleteTemplateResponse:
        """See the proto."""
        await self.delete(caller().tenant, request.name)
        return pb.DeleteTemplateResponse()

    async def FillTemplate(self, request: pb.FillTemplateRequest, context: Context) -> pb.FillTemplateResponse:
        """See the proto."""
        who = caller()
        return await self.fill(who.tenant, request.name, request.version, request.parameters, owner=who.subject)
