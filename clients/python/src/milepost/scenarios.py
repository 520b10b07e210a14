"""Scenarios: upload by content, validate, look up.

A directory or configuration travels file by file, and only those files the server does not hold yet; a zip
archive travels as it is. An upload that broke off is asked for again and goes on with what is missing.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

from milepost.connection import Connection
from milepost.scenario.v1.scenario_pb2 import Scenario
from milepost.scenario.v1.scenario_service_pb2 import (
    DeleteScenarioRequest,
    FileChunk,
    FindMissingFilesRequest,
    GetScenarioRequest,
    ListScenariosRequest,
    Manifest,
    UploadHeader,
    UploadScenarioRequest,
    UploadScenarioResponse,
    ValidateScenarioRequest,
    ValidateScenarioResponse,
    ZipArchive,
)
from milepost.scenario.v1.scenario_service_pb2_grpc import ScenarioServiceStub
from milepost.scenario_files import ScenarioFiles, collect, is_zip

CHUNK_BYTES = 512 * 1024
# Uploads are as long as they are; a call without any deadline could hang for ever, seconds.
UPLOAD_TIMEOUT_S = 3600.0


class Scenarios:
    """The verbs of ScenarioService. Every failure is a MilepostError; the proto names the reasons of each call."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stub = ScenarioServiceStub(connection.channel)

    async def upload(self, path: Path, *, display_name: str = "") -> Scenario:
        """Upload a `.sumocfg`, a directory with exactly one, or a zip; validated before it is stored.

        Raises ScenarioFilesError for what is wrong with the local files, InvalidArgument with a violation per
        finding (`file:line`) for what is wrong with the scenario.
        """
        return (await self._upload(path, display_name=display_name, validate_only=False)).scenario

    async def validate(self, path: Path) -> Scenario:
        """Have local files validated and nothing stored: what `upload` would give, or would raise."""
        return (await self._upload(path, display_name="", validate_only=True)).scenario

    async def validate_stored(self, digest: str) -> ValidateScenarioResponse:
        """Have a stored scenario validated again, with the rules of the server as it is now."""
        request = ValidateScenarioRequest(digest=digest)
        return await self._connection.call(lambda timeout_s: self._stub.ValidateScenario(request, timeout=timeout_s))

    async def get(self, digest: str) -> Scenario:
        """Look a scenario up."""
        request = GetScenarioRequest(digest=digest)
        response = await self._connection.call(lambda timeout_s: self._stub.GetScenario(request, timeout=timeout_s))
        return response.scenario

    async def delete(self, digest: str) -> None:
        """Take a scenario off the list; sessions that are made of it keep what they need. Raises NotFound."""
        request = DeleteScenarioRequest(digest=digest)
        await self._connection.call(lambda timeout_s: self._stub.DeleteScenario(request, timeout=timeout_s))

    async def list(self, *, page_size: int = 0) -> AsyncIterator[Scenario]:
        """All scenarios, newest first, read page by page."""
        request = ListScenariosRequest(page_size=page_size)
        while True:
            response = await self._connection.call(
                lambda timeout_s: self._stub.ListScenarios(request, timeout=timeout_s)
            )
            for scenario in response.scenarios:
                yield scenario
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token

    async def _upload(self, path: Path, *, display_name: str, validate_only: bool) -> UploadScenarioResponse:
        header = UploadHeader(display_name=display_name or path.resolve().stem, validate_only=validate_only)
        if is_zip(path):
            header.zip.CopyFrom(ZipArchive())
            return await self._connection.call(lambda _: self._send(header, lambda: _chunks(path, "")))
        files = await asyncio.to_thread(collect, path)
        header.config_path = files.config_path
        header.manifest.CopyFrom(Manifest(files=files.files))
        return await self._connection.call(lambda timeout_s: self._send_missing(header, files, timeout_s))

    async def _send_missing(
        self, header: UploadHeader, files: ScenarioFiles, timeout_s: float
    ) -> UploadScenarioResponse:
        request = FindMissingFilesRequest(files=files.files)
        missing = set((await self._stub.FindMissingFiles(request, timeout=timeout_s)).paths)

        def content() -> Iterator[FileChunk]:
            for file in files.files:
                if file.path in missing:
                    yield from _chunks(files.root / file.path, file.path)

        return await self._send(header, content)

    async def _send(self, header: UploadHeader, content: Callable[[], Iterator[FileChunk]]) -> UploadScenarioResponse:
        def requests() -> Iterator[UploadScenarioRequest]:
            yield UploadScenarioRequest(header=header)
            for chunk in content():
                yield UploadScenarioRequest(chunk=chunk)

        return await self._stub.UploadScenario(requests(), timeout=UPLOAD_TIMEOUT_S)


def _chunks(source: Path, path: str) -> Iterator[FileChunk]:
    """A file as chunks that call it `path`; an empty file is one empty chunk."""
    with source.open("rb") as file:
        offset = 0
        while (content := file.read(CHUNK_BYTES)) or offset == 0:
            yield FileChunk(path=path, offset=offset, content=content)
            offset += len(content)
            if not content:
                return
