"""The cases as data (cases.yaml), and how a step of theirs becomes a message.

    - name: fork                   short, a row of the table
      about: …                     a sentence: what a client is promised
      stack: plain                 which servers: plain, shaken (for faults, beside the others) or guarded (callers
                                   prove who they are); plain unless said
      scene: paced                 what the runner makes before, once for all languages (scenes.py); names variables
      meanwhile: resets            what the runner does beside the first step, once for all languages (faults.py)
      timeout_s: 60                of each step
      limits: {rust: why}          languages whose libraries cannot: a failure there is `n/a`, and says why
      steps:
        - fork_session: {…}        the action, its request in proto3 JSON with the contract's field names
          options: {…}             milepost.conformance.v1.Options
          through: proxy           the servers are reached through a door: proxy, own or tls (doors.py)
          lost: true               of a create, through its own door: its first answer is lost (lost.py)
          expect: {…}              what the answer looks like (match.py)
          refused: {…}             or what the error looks like; `code` by its name
          log: whole               of a watch: it saw the log after `after_seq`, every event once and in order
          until_s: 10              ask again until it looks so
          save: {new: session.session_id}      paths of the answer that become variables
          judge: golden            one more look at the outcome (judge.py)

`decode: {vector: NAME, form: encoded | json}` names a golden vector (golden.py), `each` all but ALONE.

`${name}` in a text is a variable; one that is the whole text keeps its type. `${bundle:NAME}` is the path of a scenario
of bundles.py. `${uuid:a}` is a UUID of this language's run of the case, always the same for the same letter;
`${language}` is the language's folder.
"""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import json_format

from conformance import bundles, golden
from conformance.messages import pb

CASES = Path(__file__).with_name("cases.yaml")
STEP_S = 60.0
# Vectors with a case of their own: not every language can.
ALONE = {"minus_zero"}
_WORDS = {"options", "through", "expect", "refused", "log", "until_s", "save", "judge", "lost"}
_VARIABLE = re.compile(r"\$\{([^}]+)\}")


@dataclass(frozen=True, slots=True)
class CaseStep:
    """One step of a case, as written."""

    action: str
    request: Any
    words: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table."""

    name: str
    about: str
    steps: tuple[CaseStep, ...]
    stack: str = "plain"
    scene: str = ""
    meanwhile: str = ""
    timeout_s: float = STEP_S
    limits: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Variables:
    """What `${…}` stands for in one language's run of one case."""

    language: str
    known: dict[str, Any] = field(default_factory=dict)

    def fill(self, value: Any) -> Any:
        """The same with every variable replaced. Raises KeyError for one that is not known."""
        match value:
            case dict():
                return {self.fill(name): self.fill(inner) for name, inner in value.items()}
            case list():
                return [self.fill(inner) for inner in value]
            case str():
                whole = _VARIABLE.fullmatch(value)
                if whole:
                    return self._value(whole[1])
                return _VARIABLE.sub(lambda found: str(self._value(found[1])), value)
        return value

    def save(self, paths: Mapping[str, str], answer: Mapping[str, Any]) -> None:
        """Keep parts of an answer: `{name: path.to.it}`. Raises KeyError for a path it does not have."""
        for name, path in paths.items():
            value: Any = answer
            for part in path.split("."):
                value = value[int(part)] if part.isdecimal() else value[part]
            self.known[name] = value

    def _value(self, name: str) -> Any:
        if name == "language":
            return self.language
        if name.startswith("bundle:"):
            return str(self.known["bundles"] / name.removeprefix("bundle:"))
        if name.startswith("uuid:"):
            return self.known.setdefault(name, str(uuid.uuid4()))
        return self.known[name]


def read(path: Path = CASES) -> list[Case]:
    """All cases, in order. Raises ValueError for one that is written wrongly."""
    return [_case(written) for written in yaml.safe_load(path.read_text())]


def message(step: CaseStep, variables: Variables, step_id: str, target: Mapping[str, str]) -> pb.Step:
    """A step as the driver gets it. Raises KeyError or json_format.ParseError for a wrong one."""
    options = variables.fill(step.words.get("options", {}))
    if target:
        options = {**options, "target": {**target, **options.get("target", {})}}
    request = variables.fill(step.request)
    if step.action == "decode":
        request = golden.request_of(request)
    written = {"step_id": step_id, step.action: request} | ({"options": options} if options else {})
    made: pb.Step = json_format.ParseDict(written, pb.Step())
    if step.action == "upload_scenario":
        for path, content in bundles.contents(Path(made.upload_scenario.path)).items():
            made.upload_scenario.files.add(path=path, content=content)
    return made


def _case(written: dict[str, Any]) -> Case:
    steps = [one for step in written.pop("steps") for one in _each_vector(step)]
    return Case(steps=tuple(_step(one, written["name"]) for one in steps), **written)


def _each_vector(written: dict[str, Any]) -> list[dict[str, Any]]:
    """A step that decodes `vector: each` is one step per golden vector."""
    request = written.get("decode", {})
    if request.get("vector") != "each":
        return [written]
    return [{**written, "decode": {**request, "vector": name}} for name in golden.names() if name not in ALONE]


def _step(written: dict[str, Any], case: str) -> CaseStep:
    actions = set(written) - _WORDS
    if len(actions) != 1:
        raise ValueError(f"{case}: a step has one action, not {sorted(actions)}")
    (action,) = actions
    if action not in {field.name for field in pb.Step.DESCRIPTOR.oneofs_by_name["action"].fields}:
        raise ValueError(f"{case}: there is no action {action}")
    return CaseStep(action=action, request=written.pop(action), words=written)
