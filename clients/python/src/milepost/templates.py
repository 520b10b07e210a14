"""Templates: scenarios with parameters. Made from a request or a file, looked up, filled in."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from google.protobuf.struct_pb2 import Value

from milepost.connection import Connection
from milepost.exceptions import MilepostError
from milepost.scenario.v1.template_pb2 import Template
from milepost.scenario.v1.template_service_pb2 import (
    CreateTemplateRequest,
    CreateTemplateResponse,
    DeleteTemplateRequest,
    FillTemplateRequest,
    FillTemplateResponse,
    GetTemplateRequest,
    ListTemplatesRequest,
)
from milepost.scenario.v1.template_service_pb2_grpc import TemplateServiceStub
from milepost.scenarios import Scenarios
from milepost.template_form import TemplateFile, read_template

# Large files are read twice before the answer comes, s.
CREATE_TIMEOUT_S = 300.0


class Templates:
    """The verbs of TemplateService. Every failure is a MilepostError; the proto names the reasons of each call."""

    def __init__(self, connection: Connection, scenarios: Scenarios) -> None:
        self._connection = connection
        self._stub = TemplateServiceStub(connection.channel)
        self._scenarios = scenarios

    async def create(self, request: CreateTemplateRequest) -> CreateTemplateResponse:
        """Make a template, or the next version of one; `already_stored`: it is the latest version, as it was."""
        return await self._connection.call(lambda _: self._stub.CreateTemplate(request, timeout=CREATE_TIMEOUT_S))

    async def create_from(self, file: Path | TemplateFile) -> CreateTemplateResponse:
        """Make what a file says (docs/templates.md), uploading its scenario first.

        Raises InputFileError for what is wrong with the file; the `violations` of the server's refusals name places
        in it, too: `signal.yaml:12:5`.
        """
        template = file if isinstance(file, TemplateFile) else read_template(file)
        if template.scenario is not None:
            template.request.scenario_digest = (await self._scenarios.upload(template.scenario)).digest
        try:
            return await self.create(template.request)
        except MilepostError as refused:
            raise _placed(template, refused) from None

    async def get(self, name: str, *, version: int = 0) -> Template:
        """Look a version up; 0: the latest."""
        request = GetTemplateRequest(name=name, version=version)
        response = await self._connection.call(lambda timeout_s: self._stub.GetTemplate(request, timeout=timeout_s))
        return response.template

    async def list(self, *, page_size: int = 0) -> AsyncIterator[Template]:
        """The latest version of each template, by name, read page by page."""
        request = ListTemplatesRequest(page_size=page_size)
        while True:
            response = await self._connection.call(
                lambda timeout_s: self._stub.ListTemplates(request, timeout=timeout_s)
            )
            for template in response.templates:
                yield template
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token

    async def delete(self, name: str) -> None:
        """Take all versions off the list, for good; what was made of them stays. Raises NotFound."""
        request = DeleteTemplateRequest(name=name)
        await self._connection.call(lambda timeout_s: self._stub.DeleteTemplate(request, timeout=timeout_s))

    async def fill(
        self, name: str, parameters: Mapping[str, float | str] | None = None, *, version: int = 0
    ) -> FillTemplateResponse:
        """Store the scenario that these values make; give its `options` to sessions of it.

        Raises InvalidArgument with a violation per value, `parameters.<name>`.
        """
        request = FillTemplateRequest(name=name, version=version)
        for key, value in (parameters or {}).items():
            given = Value(string_value=value) if isinstance(value, str) else Value(number_value=value)
            request.parameters[key].CopyFrom(given)
        return await self._connection.call(lambda _: self._stub.FillTemplate(request, timeout=CREATE_TIMEOUT_S))


def _placed(template: TemplateFile, refused: MilepostError) -> MilepostError:
    """A refusal with its violations as places of the file."""
    if refused.reason == "FIELD_INVALID":
        found = [template.places.violation(one.field, one.description) for one in refused.violations]
    elif refused.reason == "SCENARIO_NOT_FOUND":
        found = [template.places.violation("scenario_digest", refused.message)]
    else:
        return refused
    return type(refused)(refused.reason, refused.message, metadata=refused.metadata, violations=found)
