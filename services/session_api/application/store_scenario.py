"""Store a scenario: inspect its files in a limited process, keep them as blobs, remember what a session would run."""

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from milepost.errors.v1 import errors_pb2
from milepost.scenario.v1.scenario_pb2 import Scenario
from runtime.blobs import Blobs
from runtime.errors import CallRefused, FieldViolation
from scenario.bundle import find_config, scan_directory
from scenario.limited import inspect_limited
from scenario.limits import UploadLimits
from scenario.model import Finding, Manifest, ScenarioRejected, ScenarioTooLarge
from scenario.wire import file_to_proto, finding_to_proto, scene_to_proto
from session_api.application.hold_scenarios import blobs_of, holder_of
from session_api.application.refusals import quota_exceeded
from session_api.gateways.grants import utc_now
from session_api.gateways.quotas_sql import Quotas
from session_api.gateways.scenarios_sql import Scenarios

# More findings than this are counted, not listed: an error must fit into gRPC's trailers (8 KiB by default).
MAX_LISTED_FINDINGS = 20


@dataclass(frozen=True, slots=True)
class StoredScenario:
    """The scenario as it is kept, and whether it was known."""

    scenario: Scenario
    already_stored: bool


@dataclass(frozen=True, slots=True)
class StoreScenario:
    """From a directory of files that arrived to a scenario that sessions can name."""

    scenarios: Scenarios
    blobs: Blobs
    limits: UploadLimits
    quotas: Quotas
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    async def begin_upload(self, tenant: str) -> str:
        """Count an upload, before anything of it is received; its id. Raises CallRefused(QUOTA_EXCEEDED)."""
        upload_id = uuid.uuid4().hex
        over = await self.quotas.begin_upload(tenant, upload_id, utc_now())
        if over is not None:
            raise quota_exceeded(tenant, over)
        return upload_id

    async def __call__(
        self,
        tenant: str,
        root: Path,
        *,
        config_path: str,
        display_name: str,
        validate_only: bool = False,
        owner: str = "",
        upload_id: str = "",
    ) -> StoredScenario:
        """Raises CallRefused: SCENARIO_INVALID with its findings, SCENARIO_TOO_LARGE, QUOTA_EXCEEDED.

        `upload_id`: as it was begun; empty: nobody's upload, which counts against no quota.
        """
        try:
            files = await asyncio.to_thread(scan_directory, root, self.limits)
            config = find_config([file.path for file in files], config_path)
            manifest = Manifest(config_path=config, files=files)
            inspection = await inspect_limited(root, config)
        except (ScenarioRejected, ScenarioTooLarge) as error:
            raise refusal(error) from error
        if inspection.errors or inspection.scene is None:
            raise refusal(ScenarioRejected(*inspection.errors))
        scenario = Scenario(
            digest=manifest.digest,
            display_name=display_name,
            owner=owner,
            files=[file_to_proto(file) for file in files],
            scene=scene_to_proto(inspection.scene),
            warnings=[finding_to_proto(finding) for finding in inspection.warnings],
        )
        scenario.scene.scenario_digest = manifest.digest
        scenario.create_time.FromDatetime(self.clock())
        if validate_only:
            return StoredScenario(scenario, already_stored=False)
        known = await self.scenarios.get(tenant, manifest.digest)
        if known is None and upload_id:
            size = sum(file.size_bytes for file in files)
            over = await self.quotas.grant_scenario(tenant, upload_id, manifest.digest, size, utc_now())
            if over is not None:
                raise quota_exceeded(tenant, over)
        await self._keep(tenant, root, manifest)
        return StoredScenario(await self.scenarios.put(tenant, scenario), already_stored=known is not None)

    async def _keep(self, tenant: str, root: Path, manifest: Manifest) -> None:
        """Upload what is missing until all of it is held: from then on garbage collection leaves it alone."""
        while missing := await self.blobs.hold(
            holder_of(tenant, manifest.digest), blobs_of(manifest.digest, manifest.files)
        ):
            for file in manifest.files:
                if file.sha256 in missing:
                    await self.blobs.put_file(root / file.path, sha256=file.sha256, size_bytes=file.size_bytes)
            if manifest.digest in missing:
                await self.blobs.put_bytes(manifest.text().encode())


def refusal(error: ScenarioRejected | ScenarioTooLarge) -> CallRefused:
    """The refusal of a scenario, one field violation per finding: `file:line` is the field."""
    if isinstance(error, ScenarioTooLarge):
        return CallRefused(
            errors_pb2.ERROR_REASON_SCENARIO_TOO_LARGE,
            str(error),
            metadata={"limit_bytes": str(error.limit_bytes), "file": error.file or ""},
        )
    findings = list(error.findings)
    first = findings[0]
    listed = [FieldViolation(_where(finding), f"{finding.rule}: {finding.message}") for finding in findings]
    more = len(findings) - 1
    return CallRefused(
        errors_pb2.ERROR_REASON_SCENARIO_INVALID,
        f"{_where(first)}: {first.message}" + (f" (and {more} more)" if more else ""),
        metadata={"rule": first.rule, "file": first.file, "line": str(first.line)},
        violations=listed[:MAX_LISTED_FINDINGS],
    )


def _where(finding: Finding) -> str:
    return f"{finding.file}:{finding.line}" if finding.line else finding.file or "scenario"
