"""A stored scenario of one signal, and templates of it."""

import hashlib
from pathlib import Path
from typing import Any

from google.protobuf.json_format import ParseDict
from running_api import Api

from milepost.scenario.v1 import scenario_service_pb2 as scenarios
from milepost.scenario.v1.scenario_pb2 import Scenario
from milepost.scenario.v1.template_pb2 import Template
from milepost.scenario.v1.template_service_pb2 import (
    CreateTemplateRequest,
    FillTemplateRequest,
    FillTemplateResponse,
)
from runtime.blobs import Blobs

TINY = Path(__file__).parents[2] / "unit" / "scenario" / "tiny"
GREEN = "tlLogic[@id='b']/phase[1]"
CYCLE: dict[str, Any] = {
    "name": "signal",
    "description": "cycle of the signal",
    "parameters": [
        {"name": "cycle_s", "default": 30, "minimum": 10, "maximum": 120},
        {"name": "kind", "default": "static", "choices": ["static", "actuated"]},
        {"name": "teleport_s", "default": 300, "whole": True},
    ],
    "bindings": [
        {"attribute": {"file": "tiny.net.xml", "select": GREEN, "attribute": "duration"}, "value": "cycle_s - 10"},
        {"attribute": {"file": "tiny.net.xml", "select": ".//tlLogic", "attribute": "type"}, "value": "kind"},
        {"option": "time-to-teleport", "value": "teleport_s"},
    ],
}


async def upload(api: Api, folder: Path = TINY, **replaced: bytes) -> Scenario:
    """Upload a folder of few small files, some with other content."""
    contents = {path.name: path.read_bytes() for path in sorted(folder.iterdir())} | replaced
    header = scenarios.UploadHeader(
        manifest=scenarios.Manifest(
            files=[
                {"path": name, "sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
                for name, content in contents.items()
            ]
        )
    )
    requests = [scenarios.UploadScenarioRequest(header=header)]
    for name, content in contents.items():
        requests.append(scenarios.UploadScenarioRequest(chunk=scenarios.FileChunk(path=name, content=content)))
    return (await api.scenarios.UploadScenario(iter(requests))).scenario


def request(digest: str, **changed: Any) -> CreateTemplateRequest:
    """A request for a template of the tiny scenario."""
    return ParseDict({**CYCLE, "scenario_digest": digest, **changed}, CreateTemplateRequest())


async def create(api: Api, digest: str, **changed: Any) -> Template:
    return (await api.templates.CreateTemplate(request(digest, **changed))).template


async def fill(api: Api, name: str = "signal", version: int = 0, **parameters: Any) -> FillTemplateResponse:
    asked = ParseDict({"name": name, "version": version, "parameters": parameters}, FillTemplateRequest())
    return await api.templates.FillTemplate(asked)


async def content(api: Api, scenario: Scenario, path: str) -> bytes:
    """A file of a stored scenario."""
    sha256 = next(file.sha256 for file in scenario.files if file.path == path)
    return await Blobs(api.store.blobs).get_bytes(sha256, limit_bytes=1 << 20)
