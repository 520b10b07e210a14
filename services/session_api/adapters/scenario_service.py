"""`milepost.scenario.v1.ScenarioService` over the use cases."""

import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any

import grpc

from milepost.scenario.v1 import scenario_service_pb2 as pb
from milepost.scenario.v1.scenario_pb2 import Scenario
from milepost.scenario.v1.scenario_service_pb2_grpc import ScenarioServiceServicer
from runtime.blobs import Blobs
from runtime.identity import caller
from scenario.wire import finding_to_proto
from session_api.adapters.paging import DEFAULT_PAGE_SIZE, decode_token, encode_token
from session_api.application.delete_scenario import DeleteScenario, no_scenario
from session_api.application.receive_upload import ReceiveUpload
from session_api.application.store_scenario import StoreScenario
from session_api.application.validate_scenario import ValidateScenario
from session_api.gateways.scenarios_sql import Scenarios

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True)
class ScenarioServiceAdapter(ScenarioServiceServicer):
    """Translates; see the proto for what each call promises."""

    receive: ReceiveUpload
    store: StoreScenario
    validate: ValidateScenario
    delete: DeleteScenario
    scenarios: Scenarios
    blobs: Blobs

    async def UploadScenario(
        self, request_iterator: AsyncIterator[pb.UploadScenarioRequest], context: Context
    ) -> pb.UploadScenarioResponse:
        """See the proto."""
        who = caller()
        upload_id = await self.store.begin_upload(who.tenant)
        with tempfile.TemporaryDirectory(prefix="milepost-upload-") as directory:
            header = await self.receive(aiter(request_iterator), Path(directory))
            stored = await self.store(
                who.tenant,
                Path(directory) / "files",
                config_path=header.config_path,
                display_name=header.display_name,
                validate_only=header.validate_only,
                owner=who.subject,
                upload_id=upload_id,
            )
        return pb.UploadScenarioResponse(scenario=stored.scenario, already_stored=stored.already_stored)

    async def FindMissingFiles(
        self, request: pb.FindMissingFilesRequest, context: Context
    ) -> pb.FindMissingFilesResponse:
        """See the proto."""
        missing = await self.blobs.missing(file.sha256 for file in request.files)
        return pb.FindMissingFilesResponse(paths=[file.path for file in request.files if file.sha256 in missing])

    async def ValidateScenario(
        self, request: pb.ValidateScenarioRequest, context: Context
    ) -> pb.ValidateScenarioResponse:
        """See the proto."""
        await self._require(request.digest)
        inspection = await self.validate(request.digest)
        return pb.ValidateScenarioResponse(
            errors=[finding_to_proto(finding) for finding in inspection.errors],
            warnings=[finding_to_proto(finding) for finding in inspection.warnings],
        )

    async def GetScenario(self, request: pb.GetScenarioRequest, context: Context) -> pb.GetScenarioResponse:
        """See the proto."""
        return pb.GetScenarioResponse(scenario=await self._require(request.digest))

    async def DeleteScenario(self, request: pb.DeleteScenarioRequest, context: Context) -> pb.DeleteScenarioResponse:
        """See the proto."""
        await self.delete(caller().tenant, request.digest)
        return pb.DeleteScenarioResponse()

    async def ListScenarios(self, request: pb.ListScenariosRequest, context: Context) -> pb.ListScenariosResponse:
        """See the proto."""
        size = request.page_size or DEFAULT_PAGE_SIZE
        found = await self.scenarios.page(caller().tenant, size=size + 1, after=decode_token(request.page_token))
        page = found[:size]
        token = ""
        if len(found) > size:
            token = encode_token(page[-1].create_time.ToDatetime(UTC).replace(tzinfo=None), page[-1].digest)
        return pb.ListScenariosResponse(scenarios=page, next_page_token=token)

    async def _require(self, digest: str) -> Scenario:
        scenario = await self.scenarios.get(caller().tenant, digest)
        if scenario is None:
            raise no_scenario(digest)
        return scenario
