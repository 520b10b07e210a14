"""What is listed holds its files, also when that was forgotten: of a database from before, for example."""

from pathlib import Path

import pytest
from running_api import running_store
from test_retention import AT_ONCE
from tiny_templates import TINY

from broker import Broker
from databases import url_of
from milepost.admin.v1.admin_service_pb2 import CleanUpRequest
from milepost.scenario.v1.scenario_pb2 import Scenario
from milepost.scenario.v1.template_pb2 import Template
from runtime.blobs import Blobs
from runtime.database import open_database
from runtime.settings import DEFAULT_TENANT
from scenario.bundle import scan_directory
from scenario.limits import UploadLimits
from scenario.model import Manifest
from scenario.wire import file_to_proto
from session_api.application.hold_scenarios import HoldScenarios
from session_api.gateways.scenarios_sql import Scenarios
from session_api.gateways.templates_sql import StoredTemplate, Templates
from session_api.migrate import MIGRATIONS

pytestmark = pytest.mark.any_database


async def stored(blobs: Blobs, root: Path, config: str) -> Scenario:
    """A scenario whose files are in the store, and held by nobody."""
    files = scan_directory(root, UploadLimits())
    manifest = Manifest(config, files)
    await blobs.put_bytes(manifest.text().encode())
    for file in files:
        await blobs.put_bytes((root / file.path).read_bytes())
    return Scenario(digest=manifest.digest, files=[file_to_proto(file) for file in files])


async def test_scenarios_and_those_of_templates_are_held_by_looking_at_what_is_there(
    broker: Broker, tmp_path: Path
) -> None:
    async with (
        running_store(tmp_path / "store", broker.url, **AT_ONCE) as store,
        open_database(url_of(tmp_path / "api.db"), migrations=MIGRATIONS) as engine,
    ):
        blobs, scenarios, templates = Blobs(store.blobs), Scenarios(engine), Templates(engine)
        (tmp_path / "alone").mkdir()
        (tmp_path / "alone" / "a.xml").write_text("<a/>")
        listed, bound = await stored(blobs, tmp_path / "alone", "a.xml"), await stored(blobs, TINY, "run.sumocfg")
        (tmp_path / "alone" / "a.xml").write_text("<b/>")
        nobodys = await stored(blobs, tmp_path / "alone", "a.xml")
        await scenarios.put(DEFAULT_TENANT, listed)
        template = Template(name="t", scenario_digest=bound.digest)
        await templates.add(DEFAULT_TENANT, StoredTemplate(template, bound, {}))
        await HoldScenarios(scenarios, templates, blobs).once()
        await store.admin.CleanUp(CleanUpRequest())
        files = {one.sha256 for scenario in (listed, bound) for one in scenario.files} | {listed.digest, bound.digest}
        gone = {nobodys.digest, *(file.sha256 for file in nobodys.files)}
        assert await blobs.missing(files | gone) == gone
