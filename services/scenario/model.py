"""What a scenario is: its files, what of its configuration runs, and what was found in it. Pure."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

MANIFEST_HEADER: Final = "milepost-scenario 1"
_MANIFEST_LINE: Final = re.compile(r"([0-9a-f]{64}) (0|[1-9][0-9]{0,18}) (.+)")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong with, or noteworthy in, a scenario. `file` is empty and `line` 0 where unknown."""

    rule: str
    message: str
    file: str = ""
    line: int = 0


class ScenarioRejected(Exception):
    """A scenario breaks rules; `findings` says which, at least one."""

    reason: Final = "SCENARIO_INVALID"

    def __init__(self, *findings: Finding) -> None:
        super().__init__("; ".join(f"{f.file}:{f.line}: {f.message} [{f.rule}]" for f in findings))
        self.findings = findings


class ScenarioTooLarge(Exception):
    """A scenario, or its file `file`, exceeds `limit_bytes`; `file` is empty when it is the sum that does."""

    reason: Final = "SCENARIO_TOO_LARGE"

    def __init__(self, *, limit_bytes: int, file: str = "") -> None:
        super().__init__(f"{file or 'the scenario'} is larger than {limit_bytes} bytes")
        self.limit_bytes = limit_bytes
        self.file = file


@dataclass(frozen=True, slots=True)
class ScenarioFile:
    """One file by content. `path` is relative with `/`; `sha256` is lower-case hex."""

    path: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files of a scenario, kept sorted by path as bytes, and the one that is its configuration."""

    config_path: str
    files: tuple[ScenarioFile, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "files", tuple(sorted(self.files, key=lambda file: file.path.encode())))

    def text(self) -> str:
        """The manifest as milepost/scenario/v1/scenario.proto lays it out."""
        lines = [MANIFEST_HEADER, f"config {self.config_path}"]
        lines += [f"{file.sha256} {file.size_bytes} {file.path}" for file in self.files]
        return "\n".join(lines) + "\n"

    @property
    def digest(self) -> str:
        """Name of the scenario: SHA-256 of the text, lower-case hex."""
        return hashlib.sha256(self.text().encode()).hexdigest()

    @classmethod
    def parse(cls, text: str) -> Manifest:
        """Reads `text` back; whatever `text()` would not have written raises ScenarioRejected."""
        lines = text.split("\n")
        if lines[0] != MANIFEST_HEADER or len(lines) < 2 or not lines[1].startswith("config "):
            raise ScenarioRejected(Finding("manifest-invalid", f"a manifest begins with '{MANIFEST_HEADER}'", line=1))
        files: list[ScenarioFile] = []
        for number, line in enumerate(lines[2:-1], start=3):
            found = _MANIFEST_LINE.fullmatch(line)
            if found is None:
                raise ScenarioRejected(Finding("manifest-invalid", "expected '<sha256> <size> <path>'", line=number))
            files.append(ScenarioFile(found[3], found[1], int(found[2])))
        manifest = cls(lines[1].removeprefix("config "), tuple(files))
        if manifest.text() != text:
            raise ScenarioRejected(Finding("manifest-invalid", "files are not sorted, or the last line does not end"))
        return manifest


@dataclass(frozen=True, slots=True)
class SumoOption:
    """One option of SUMO without its leading dashes. Paths of inputs are paths inside the scenario."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Scene:
    """What a session runs. All paths lie inside the scenario; times are simulated seconds.

    `inspect` leaves `scenario_digest` empty: whoever stores the scenario knows it. `end_time_s` None means until the
    network is empty. `options` are sorted by name; outputs among them carry the name the scenario gave them.
    """

    scenario_digest: str
    net_file: str
    route_files: tuple[str, ...]
    additional_files: tuple[str, ...]
    begin_time_s: float
    end_time_s: float | None
    step_length_s: float
    options: tuple[SumoOption, ...]


@dataclass(frozen=True, slots=True)
class Inspection:
    """What inspecting a scenario found. `scene` is there exactly when there are no `errors`."""

    scene: Scene | None
    errors: tuple[Finding, ...]
    warnings: tuple[Finding, ...]
