"""Uploads: only what is missing travels, in order, and an upload that broke off goes on."""

import grpc
import pytest

from milepost.exceptions import Unavailable
from milepost.scenario.v1.scenario_pb2 import Scenario
from milepost.scenario.v1.scenario_service_pb2 import (
    FindMissingFilesRequest,
    FindMissingFilesResponse,
    UploadScenarioResponse,
)
from milepost.scenario.v1.scenario_service_pb2_grpc import (
    ScenarioServiceServicer,
    add_ScenarioServiceServicer_to_server,
)
from milepost.scenarios import CHUNK_BYTES

NET = b"<net>" + b" " * CHUNK_BYTES + b"</net>"


class KeepingScenarios(ScenarioServiceServicer):
    """Keeps files by digest as they come; breaks the first upload (or all) off after a number of messages."""

    def __init__(self, *, break_after: int | None = None, always: bool = False) -> None:
        self.break_after = break_after
        self.always = always
        self.held: set[str] = set()
        self.uploads: list[list] = []

    async def FindMissingFiles(self, request: FindMissingFilesRequest, _context):  # noqa: N802
        return FindMissingFilesResponse(paths=[file.path for file in request.files if file.sha256 not in self.held])

    async def UploadScenario(self, requests, context):  # noqa: N802
        messages: list = []
        self.uploads.append(messages)
        async for request in requests:
            messages.append(request)
            if len(messages) == self.break_after:
                self.break_after = self.break_after if self.always else None
                await context.abort(grpc.StatusCode.UNAVAILABLE, "scripted")
            files = {file.path: file.sha256 for file in messages[0].header.manifest.files}
            if request.HasField("chunk") and request.chunk.path in files:
                self.held.add(files[request.chunk.path])
        return UploadScenarioResponse(scenario=Scenario(digest="d"))


@pytest.fixture
def city(tmp_path):
    root = tmp_path / "city"
    root.mkdir()
    (root / "net.xml").write_bytes(NET)
    (root / "a.rou.xml").touch()
    (root / "run.sumocfg").write_text(
        '<configuration><input><net-file value="net.xml"/><route-files value="a.rou.xml"/></input></configuration>'
    )
    return root


async def client_of(connect, servicer: KeepingScenarios, **options: float):
    return await connect(lambda server: add_ScenarioServiceServicer_to_server(servicer, server), **options)


def content_of(upload: list) -> dict[str, bytes]:
    """Files of an upload, put together; fails unless their chunks are contiguous."""
    files: dict[str, bytes] = {}
    for message in upload[1:]:
        chunk = message.chunk
        assert chunk.offset == len(files.get(chunk.path, b""))
        files[chunk.path] = files.get(chunk.path, b"") + chunk.content
    return files


async def test_files_travel_in_manifest_order_in_contiguous_chunks(connect, city):
    servicer = KeepingScenarios()
    client = await client_of(connect, servicer)

    scenario = await client.scenarios.upload(city)

    [upload] = servicer.uploads
    header = upload[0].header
    assert scenario.digest == "d"
    assert (header.config_path, header.display_name) == ("run.sumocfg", "city")
    assert content_of(upload) == {"a.rou.xml": b"", "net.xml": NET, "run.sumocfg": (city / "run.sumocfg").read_bytes()}
    assert list(content_of(upload)) == [file.path for file in header.manifest.files]


async def test_what_the_server_holds_does_not_travel_again(connect, city):
    servicer = KeepingScenarios()
    client = await client_of(connect, servicer)

    await client.scenarios.upload(city)
    (city / "a.rou.xml").write_text("<routes/>")
    await client.scenarios.upload(city)

    assert content_of(servicer.uploads[1]) == {"a.rou.xml": b"<routes/>"}


async def test_an_upload_that_broke_off_goes_on_with_what_is_missing(connect, city):
    servicer = KeepingScenarios(break_after=3)
    client = await client_of(connect, servicer)

    await client.scenarios.upload(city)

    assert len(servicer.uploads) == 2
    assert "a.rou.xml" not in content_of(servicer.uploads[1])


async def test_an_archive_travels_as_it_is(connect, tmp_path):
    archive = tmp_path / "city.zip"
    # The smallest archive there is: an end record and nothing before it.
    archive.write_bytes(b"PK\x05\x06" + bytes(18))
    servicer = KeepingScenarios()
    client = await client_of(connect, servicer)

    await client.scenarios.validate(archive)

    [upload] = servicer.uploads
    assert upload[0].header.HasField("zip")
    assert upload[0].header.validate_only
    assert content_of(upload) == {"": archive.read_bytes()}


async def test_a_server_that_is_away_is_given_up(connect, city):
    servicer = KeepingScenarios(break_after=1, always=True)
    client = await client_of(connect, servicer, retry_for_s=0)

    with pytest.raises(Unavailable):
        await client.scenarios.upload(city)
