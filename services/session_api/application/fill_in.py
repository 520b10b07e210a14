"""Fill a template in, as often as wanted: its files are fetched once, and only values in them change.

values ─► rules ─► numbers and texts ─► options
                                    └─► places of each file ─► its bytes ─► digest ─► scenario
"""

import asyncio
import hashlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from milepost.scenario.v1.scenario_pb2 import SumoOption
from runtime.blobs import Blobs
from scenario.bindings import Bound, BoundFile, BoundPlace, written
from scenario.model import ScenarioFile
from scenario.options import canonical, judge_option
from session_api.application.made_scenario import MAX_NAME_CHARS, MadeScenario, NewFile, as_it_is, make
from session_api.application.template_rules import rules_of
from session_api.application.validate_scenario import MANIFEST_MAX_BYTES
from session_api.domain.template import Rules, Value, Wrong
from session_api.gateways.templates_sql import StoredTemplate


@dataclass(frozen=True, slots=True)
class Filled:
    """What a set of values makes."""

    made: MadeScenario
    options: tuple[SumoOption, ...]


@dataclass(frozen=True, slots=True)
class FillIn:
    """Fills templates in; stores nothing."""

    blobs: Blobs
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    async def __call__(self, stored: StoredTemplate, *, owner: str = "") -> "Filler":
        """A template with its files at hand. Raises BlobMissing."""
        text = await self.blobs.get_bytes(stored.scenario.digest, limit_bytes=MANIFEST_MAX_BYTES)
        base = as_it_is(stored.scenario, text)
        bound = {stored.template.bindings[index].attribute.file for index in stored.places}
        with tempfile.TemporaryDirectory(prefix="milepost-fill-") as directory:
            copies: dict[str, Path] = {}
            for file in base.manifest.files:
                if file.path in bound:
                    copies[file.path] = Path(directory) / file.sha256
                    if not copies[file.path].exists():
                        await self.blobs.get_file(file.sha256, copies[file.path])
            return await asyncio.to_thread(Filler, stored, base, copies, owner, self.clock())


class Filler:
    """A template, to be filled in as often as wanted."""

    def __init__(
        self,
        stored: StoredTemplate,
        base: MadeScenario,
        copies: Mapping[str, Path],
        owner: str,
        created: datetime,
    ) -> None:
        """`copies`: of each file in which values are bound, by its path in the scenario; read at once."""
        self._stored = stored
        self._base, self._owner, self._created = base, owner, created
        self._rules: Rules = rules_of(stored.template.parameters, stored.template.bindings)
        self._files = {path: BoundFile(copy.read_bytes()) for path, copy in copies.items()}
        self._stored_files = {file.path: file.sha256 for file in base.manifest.files}
        # By file, the bindings of values in it.
        self._indexes = {
            path: [index for index in stored.places if stored.template.bindings[index].attribute.file == path]
            for path in copies
        }
        # What has to be held against the rest of the scenario where it changes.
        self._checked = [
            (index, place) for index, places in stored.places.items() for place in places if place.needs_inspection
        ]
        self._known: dict[tuple[str, tuple[Bound, ...]], NewFile] = {}

    def wrong_with(self, given: Mapping[str, Value]) -> list[Wrong]:
        """What is wrong with values, by names of parameters; empty: they can be filled in."""
        filling = self._rules.fill(given)
        return filling if isinstance(filling, list) else options_of(self._stored, self._rules, filling.bound)[1]

    async def fill(self, given: Sequence[Mapping[str, Value]], *, base: MadeScenario | None = None) -> list[Filled]:
        """What each set of values makes, with which nothing is wrong.

        `base`: a scenario in place of the template's own, with the same bytes in the files that values are bound in.
        """
        # Hashing of large files would hold up other calls.
        return await asyncio.to_thread(lambda: [self._fill(values, base or self._base) for values in given])

    def _fill(self, given: Mapping[str, Value], base: MadeScenario) -> Filled:
        filling = self._rules.fill(given)
        assert not isinstance(filling, list), filling
        changed = [new for new in (self._file(path, filling.bound) for path in self._files) if new is not None]
        made = make(
            base,
            changed,
            display_name=self._name(filling.values),
            owner=self._owner,
            created=self._created,
            needs_inspection=self._needs_inspection(filling.bound),
        )
        return Filled(made, options_of(self._stored, self._rules, filling.bound)[0])

    def _file(self, path: str, bound: Sequence[Bound]) -> NewFile | None:
        """A file with these values; None where they stand there already."""
        values = tuple(bound[index] for index in self._indexes[path])
        if (path, values) not in self._known:
            make_content = partial(self._content, path, values)
            content = make_content()
            sha256 = hashlib.sha256(content).hexdigest()
            self._known[path, values] = NewFile(ScenarioFile(path, sha256, len(content)), make_content)
        new = self._known[path, values]
        return None if new.file.sha256 == self._stored_files[path] else new

    def _content(self, path: str, values: Sequence[Bound]) -> bytes:
        bindings = self._stored.template.bindings
        return self._files[path].filled(
            [
                BoundPlace(place, bindings[index].attribute.attribute, value)
                for index, value in zip(self._indexes[path], values, strict=True)
                for place in self._stored.places[index]
            ]
        )

    def _name(self, values: Mapping[str, Bound]) -> str:
        """What the list of scenarios calls it: by what is not the default."""
        defaults = {parameter.name: parameter.default for parameter in self._rules.parameters}
        told = [f"{name}={written(value)}" for name, value in values.items() if value != defaults[name]]
        template = self._stored.template
        return f"{template.name} {template.version}: {', '.join(told) or 'defaults'}"[:MAX_NAME_CHARS]

    def _needs_inspection(self, bound: Sequence[Bound]) -> bool:
        return any(not BoundPlace(place, "", bound[index]).stands_there for index, place in self._checked)


def options_of(
    stored: StoredTemplate, rules: Rules, bound: Sequence[Bound]
) -> tuple[tuple[SumoOption, ...], list[Wrong]]:
    """The options that follow from values, and what SUMO would not take, by names of parameters."""
    options: list[SumoOption] = []
    wrong: list[Wrong] = []
    for index, binding in enumerate(stored.template.bindings):
        if not binding.option:
            continue
        value = written(bound[index])
        if judged := judge_option(canonical(binding.option), value):
            wrong.append(Wrong(next(iter(rules.names_of(index)), ""), f"{judged[1]}: {value[:80]!r}"))
        options.append(SumoOption(name=binding.option, value=value))
    return tuple(options), wrong
