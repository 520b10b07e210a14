"""The variants of a study as they are written: one by one, and as a grid of which every combination is one."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from milepost.scenario.v1.scenario_pb2 import ScenarioFile, SumoOption
from milepost.study.v1.study_pb2 import StudySpec, Variant
from milepost.yaml_messages import Places, options_of, planned_of, value_of
from milepost.yaml_values import Placed, near_miss

# The contract's limit.
MAX_VARIANTS = 2000
_OPTION = "options."


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file of this machine that replaces one of the scenario in a variant: to be sent before `described` is known."""

    path: Path
    described: ScenarioFile
    stands: Placed


@dataclass(slots=True)
class Variants:
    """Reads variants into a spec; `files` are the local files they bring, relative to `folder`."""

    spec: StudySpec
    folder: Path
    places: Places
    files: list[LocalFile] = field(default_factory=list)
    _names: dict[str, None] = field(default_factory=dict)

    def add(self, value: Placed) -> None:
        """A list of variants."""
        for one in value.items():
            self._one(one)

    def cross(self, value: Placed) -> None:
        """A grid: parameters, and options as `options.<name>`, each with the values it takes."""
        axes = [(key, inner, inner.items()) for key, inner in value.entries().items()]
        for _, inner, items in axes:
            if not items:
                inner.wrong("must hold at least one value")
        combinations = math.prod(len(items) for _, _, items in axes)
        if len(self.spec.variants) + combinations > MAX_VARIANTS:
            value.wrong(f"makes {combinations} variants; a study has {MAX_VARIANTS} at most")
            return
        for chosen in itertools.product(*(items for _, _, items in axes)):
            self._combination(value, [(key, one) for (key, _, _), one in zip(axes, chosen, strict=True)])

    def _combination(self, grid: Placed, chosen: Sequence[tuple[str, Placed]]) -> None:
        path = self._path()
        variant = self.spec.variants.add()
        variant.name = " ".join(f"{key.removeprefix(_OPTION)}={one.text()}" for key, one in chosen)
        self.places.put(path, grid)
        for key, one in chosen:
            if key.startswith(_OPTION):
                at = f"{path}.patch.options[{len(variant.patch.options)}]"
                for part in ("", ".name", ".value"):
                    self.places.put(f"{at}{part}", one)
                variant.patch.options.append(SumoOption(name=key.removeprefix(_OPTION), value=one.text()))
            else:
                self.places.put(f'{path}.patch.parameters["{key}"]', one)
                variant.patch.parameters[key].CopyFrom(value_of(one))
        self._check_name(variant, grid)

    def _one(self, value: Placed) -> None:
        path = self._path()
        given = value.mapping(
            "name", "parent", "parameters", "options", "interventions", "files", "comment", required=("name",)
        )
        variant = self.spec.variants.add()
        self.places.put(path, value)
        # What a patch is made of stands beside the name.
        self.places.put(f"{path}.patch", value)
        if "name" in given:
            variant.name = given["name"].text()
            if not variant.name:
                given["name"].wrong("must not be empty")
        if "parent" in given:
            variant.parent = given["parent"].text()
            self._check_parent(variant, given["parent"])
        if "comment" in given:
            variant.comment = given["comment"].text()
        if "parameters" in given:
            for key, one in given["parameters"].entries().items():
                variant.patch.parameters[key].CopyFrom(value_of(one))
        if "options" in given:
            variant.patch.options.extend(options_of(given["options"], self.places, f"{path}.patch.options"))
        if "interventions" in given:
            planned = planned_of(given["interventions"], self.places, f"{path}.patch.interventions")
            variant.patch.interventions.extend(planned)
        if "files" in given:
            self._replace(variant, given["files"], f"{path}.patch.files")
        self._check_name(variant, given.get("name", value))

    def _check_name(self, variant: Variant, stands: Placed) -> None:
        if variant.name and variant.name in self._names:
            stands.wrong(f"two variants are called {variant.name!r}")
        self._names[variant.name] = None

    def _check_parent(self, variant: Variant, stands: Placed) -> None:
        if variant.parent and variant.parent not in self._names:
            near = near_miss(variant.parent, list(self._names))
            stands.wrong(f"no variant before this one is called {variant.parent!r}{near}")

    def _replace(self, variant: Variant, value: Placed, path: str) -> None:
        for index, (name, one) in enumerate(value.entries().items()):
            self.places.put(f"{path}[{index}]", one)
            described = variant.patch.files.add(path=name)
            if isinstance(one.value, dict):
                stored = one.mapping("sha256", "size_bytes", required=("sha256", "size_bytes"))
                described.sha256 = stored["sha256"].text() if "sha256" in stored else ""
                described.size_bytes = stored["size_bytes"].whole() if "size_bytes" in stored else 0
                continue
            local = self.folder / one.text()
            if not local.is_file():
                one.wrong(f"{local}: no such file")
            self.files.append(LocalFile(local, described, one))

    def _path(self) -> str:
        return f"spec.variants[{len(self.spec.variants)}]"
