"""Put other files in place of a scenario's: they were stored before, and are inspected with the rest of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from milepost.scenario.v1.scenario_pb2 import ScenarioFile
from runtime.blobs import Blobs
from scenario.limits import UploadLimits
from scenario.model import Manifest
from scenario.wire import file_from_proto
from session_api.application.inspect_made import Inspect, WrongSize
from session_api.application.made_scenario import MAX_NAME_CHARS, MadeScenario, NewFile, make
from session_api.domain.template import Wrong
from session_api.gateways.scenarios_sql import Scenarios


@dataclass(frozen=True, slots=True)
class ReplaceFiles:
    """From a scenario and files to the scenario with these; stores nothing."""

    scenarios: Scenarios
    blobs: Blobs
    limits: UploadLimits
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    async def __call__(
        self, tenant: str, base: MadeScenario, files: Sequence[ScenarioFile], inspect: Inspect, *, owner: str = ""
    ) -> MadeScenario | list[Wrong]:
        """The scenario, or what is wrong with the files, whose paths are `[<index>].path` and so on.

        Raises CallRefused(SCENARIO_INVALID) with its findings.
        """
        wrong = await self._wrong(base.manifest, files)
        if wrong:
            return wrong
        stored = {file.path: file.sha256 for file in base.manifest.files}
        made = make(
            base,
            [NewFile(file_from_proto(file), None) for file in files if stored[file.path] != file.sha256],
            display_name=f"{base.scenario.display_name}, other {', '.join(sorted(file.path for file in files))}"[
                :MAX_NAME_CHARS
            ],
            owner=owner,
            created=self.clock(),
            needs_inspection=False,
        )
        if not made.new_files:
            return made
        known = await self.scenarios.get(tenant, made.scenario.digest)
        if known is not None:
            return replace(made, scenario=known)
        try:
            await inspect(made)
        except WrongSize as error:
            index = [file.path for file in files].index(error.path)
            return [Wrong(f"[{index}].size_bytes", f"of {error.path} is {error.size_bytes} in truth")]
        return made

    async def _wrong(self, manifest: Manifest, files: Sequence[ScenarioFile]) -> list[Wrong]:
        wrong: list[Wrong] = []
        sizes = {file.path: file.size_bytes for file in manifest.files}
        seen: set[str] = set()
        missing = await self.blobs.missing(file.sha256 for file in files)
        for index, file in enumerate(files):
            if file.path in seen:
                wrong.append(Wrong(f"[{index}].path", f"{file.path} is there twice"))
            elif file.path not in sizes:
                wrong.append(Wrong(f"[{index}].path", f"{file.path} is no file of the scenario"))
            elif file.path == manifest.config_path:
                wrong.append(
                    Wrong(
                        f"[{index}].path", f"{file.path} is the configuration, which cannot be replaced; give options"
                    )
                )
            elif file.sha256 in missing:
                wrong.append(
                    Wrong(
                        f"[{index}].sha256",
                        f"{file.path} with this content is not stored; upload it with BlobService first",
                    )
                )
            elif file.size_bytes > self.limits.max_file_bytes:
                wrong.append(
                    Wrong(f"[{index}].size_bytes", f"of {file.path} is more than {self.limits.max_file_bytes}")
                )
            seen.add(file.path)
            sizes[file.path] = file.size_bytes
        if not wrong and sum(sizes.values()) > self.limits.max_total_bytes:
            wrong.append(Wrong("", f"make the scenario larger than {self.limits.max_total_bytes} bytes"))
        return wrong
