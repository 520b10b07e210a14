"""Scenarios that are made of stored ones: by other values, or other files. They cost what is new in them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from milepost.scenario.v1.scenario_pb2 import Scenario
from scenario.model import Manifest, ScenarioFile
from scenario.wire import file_to_proto

# Of what the list of scenarios calls it.
MAX_NAME_CHARS = 200


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file in place of one of a scenario's."""

    file: ScenarioFile
    content: Callable[[], bytes] | None
    """Makes its content; None: that is stored."""


@dataclass(frozen=True, slots=True)
class MadeScenario:
    """A scenario that may not be on the list yet."""

    scenario: Scenario
    manifest: Manifest
    new_files: tuple[NewFile, ...]
    needs_inspection: bool
    """Whether anything in it has to be held against the rest."""

    @property
    def own_bytes(self) -> int:
        """Size of what it does not share with the scenario that it is made of; of that itself, of all."""
        files = [new.file for new in self.new_files] or self.manifest.files
        return sum(file.size_bytes for file in files)


def make(
    base: MadeScenario,
    new_files: Sequence[NewFile],
    *,
    display_name: str,
    owner: str,
    created: datetime,
    needs_inspection: bool,
) -> MadeScenario:
    """`base` with these files in place of those at their paths. Without any it is the base, as it is."""
    if not new_files:
        return base
    files = {file.path: file for file in base.manifest.files} | {new.file.path: new.file for new in new_files}
    manifest = Manifest(base.manifest.config_path, tuple(files.values()))
    scenario = Scenario()
    scenario.CopyFrom(base.scenario)
    scenario.digest = scenario.scene.scenario_digest = manifest.digest
    scenario.display_name, scenario.owner = display_name, owner
    scenario.create_time.FromDatetime(created)
    del scenario.files[:]
    scenario.files.extend(file_to_proto(file) for file in manifest.files)
    return MadeScenario(scenario, manifest, (*base.new_files, *new_files), needs_inspection)


def as_it_is(scenario: Scenario, manifest_text: bytes) -> MadeScenario:
    """A stored scenario, to make others of."""
    return MadeScenario(scenario, Manifest.parse(manifest_text.decode()), (), needs_inspection=False)
