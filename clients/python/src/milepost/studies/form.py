"""The file a study is written in, as a request and the places of its fields. Nothing is sent here.

docs/studies.md shows the form. What can only be told by the server is left to it; its findings are given their places
with `StudyFile.places`.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

from milepost.scenario.v1.template_service_pb2 import CreateTemplateRequest
from milepost.studies.seeds import seeds_of
from milepost.studies.variants import LocalFile, Variants
from milepost.study.v1.study_pb2 import Direction, FixedDesign, Objective, StudySpec
from milepost.study.v1.study_service_pb2 import CreateStudyRequest
from milepost.template_form import read_rules, scenario_of
from milepost.yaml_messages import Places, message_of
from milepost.yaml_places import read_placed
from milepost.yaml_values import Placed, near_miss

# Fields of a session that a study sets itself.
_SET_BY_STUDY = ("scenario_digest", "seed", "start_paused", "pace")
_HEAD = ("name", "id", "labels", "base", "parameters", "bindings", "template_name")
_BODY = ("session", "seeds", "objective", "design", "budget", "variants", "grid")


@dataclass(slots=True)
class StudyFile:
    """A study as it was written.

    `request` is complete but for what has to be sent first: the `scenario` it begins with (None: stored already), the
    `template` that is to be made of it (None: none), and the `files` that variants bring.
    """

    name: str
    root: Placed
    request: CreateStudyRequest
    places: Places
    scenario: Path | None = None
    template: CreateTemplateRequest | None = None
    files: list[LocalFile] = field(default_factory=list)


def read_study(path: Path, *, scenario: Path | None = None) -> StudyFile:
    """Read a study's file; `scenario` is taken instead of the one it names. Raises InputFileError with all findings."""
    root = read_placed(path)
    study = StudyFile(path.name, root, CreateStudyRequest(), Places(root))
    given = root.mapping(*_HEAD, *_BODY, required=("base", "seeds", "objective"))
    _read_head(study, given, path)
    spec = study.request.spec
    if "base" in given:
        _read_base(study, given["base"], path.parent, scenario)
    _read_template(study, given)
    if "session" in given:
        message_of(given["session"], spec.session, study.places, "spec.session", without=_SET_BY_STUDY)
    if "seeds" in given:
        spec.seeds.extend(seeds_of(given["seeds"], study.places, "spec.seeds"))
    study.files = _read_variants(spec, given, root, path.parent, study.places)
    if "objective" in given:
        _read_objective(spec.objective, given["objective"], study.places)
    if "design" in given:
        _read_design(spec, given["design"], study.places)
    if "budget" in given:
        message_of(given["budget"], spec.budget, study.places, "spec.budget")
    root.document.check()
    return study


def _read_head(study: StudyFile, given: dict[str, Placed], path: Path) -> None:
    request = study.request
    request.display_name = given["name"].text() if "name" in given else path.stem
    if "name" in given:
        study.places.put("display_name", given["name"])
    if "id" in given:
        request.study_id = given["id"].text()
        study.places.put("study_id", given["id"])
    if "labels" in given:
        for key, value in given["labels"].entries().items():
            request.labels[key] = value.text()
    for name in ("base", "session", "objective", "design", "budget"):
        if name in given:
            study.places.put(f"spec.{name}", given[name])


def _read_base(study: StudyFile, base: Placed, folder: Path, scenario: Path | None) -> None:
    given = base.mapping("scenario", "template", "session")
    spec = study.request.spec
    if len(given) != 1 and isinstance(base.value, dict):
        base.wrong("must be one of scenario, template and session")
    if "scenario" in given:
        study.places.put("spec.base.scenario_digest", given["scenario"])
        _read_scenario(study, given["scenario"], folder, scenario)
    elif scenario is not None:
        base.wrong("begins with no scenario that another could stand for")
    if "template" in given:
        template = given["template"]
        if isinstance(template.value, dict):
            message_of(template, spec.base.template, study.places, "spec.base.template")
        else:
            spec.base.template.name = template.text()
    if "session" in given:
        _read_session_place(study, given["session"])


def _read_scenario(study: StudyFile, value: Placed, folder: Path, instead: Path | None) -> None:
    if instead is not None:
        study.scenario = instead
        return
    match scenario_of(value, folder):
        case Path() as local:
            study.scenario = local
        case digest:
            study.request.spec.base.scenario_digest = digest


def _read_session_place(study: StudyFile, value: Placed) -> None:
    given = value.mapping("id", "at_s", "checkpoint", required=("id",))
    place, path = study.request.spec.base.session, "spec.base.session"
    for name, field_name in (("id", "session_id"), ("at_s", "sim_time_s"), ("checkpoint", "checkpoint_id")):
        if name in given:
            study.places.put(f"{path}.{field_name}", given[name])
    if "id" in given:
        place.session_id = given["id"].text()
    if ("at_s" in given) == ("checkpoint" in given):
        value.wrong("must say where: at_s or checkpoint")
    elif "at_s" in given:
        place.sim_time_s = given["at_s"].number()
    else:
        place.checkpoint_id = given["checkpoint"].text()


def _read_template(study: StudyFile, given: dict[str, Placed]) -> None:
    """Parameters of the file itself: a template that is made of the scenario before the study is."""
    parts = [name for name in ("parameters", "bindings") if name in given]
    if not parts:
        if "template_name" in given:
            given["template_name"].wrong("is the name of a template that this file makes, and it has no parameters")
        return
    if len(parts) == 1:
        given[parts[0]].wrong("parameters and bindings go together: the one is changed, the other says what follows")
    if "base" in given and "scenario" not in given["base"].entries():
        given[parts[0]].wrong("only a scenario can be given parameters here; a template has its own")
    template = CreateTemplateRequest(description=f"Made for the study {study.request.display_name}"[:1000])
    name = given.get("template_name")
    template.name = name.text() if name else _slug(study.request.display_name)
    study.places.put("name", name or given.get("name", study.root))
    read_rules(given, template, study.places)
    study.template = template


def _read_variants(
    spec: StudySpec, given: dict[str, Placed], root: Placed, folder: Path, places: Places
) -> list[LocalFile]:
    variants = Variants(spec, folder, places)
    if "variants" in given:
        places.put("spec.variants", given["variants"])
        variants.add(given["variants"])
    if "grid" in given:
        variants.cross(given["grid"])
    if not spec.variants:
        given.get("variants", given.get("grid", root)).wrong("a study needs variants, or a grid that makes them")
    return variants.files


def _read_objective(objective: Objective, value: Placed, places: Places) -> None:
    ways = {"minimise": Direction.DIRECTION_MINIMISE, "maximise": Direction.DIRECTION_MAXIMISE}
    given = value.mapping(*ways, "subject_to", "phase", "smallest_difference", "note")
    said = [name for name in ways if name in given]
    if len(said) != 1 and isinstance(value.value, dict):
        value.wrong("must say what is better: minimise or maximise")
    for name in said[:1]:
        objective.expression, objective.direction = given[name].text(), ways[name]
        places.put("spec.objective.expression", given[name])
        if not objective.expression.strip():
            given[name].wrong("must not be empty")
    if "subject_to" in given:
        constraints = given["subject_to"]
        several = isinstance(constraints.value, list)
        for index, one in enumerate(constraints.items() if several else [constraints]):
            places.put(f"spec.objective.constraints[{index}]", one)
            objective.constraints.append(one.text())
    if "phase" in given:
        objective.phase = given["phase"].text()
    if "smallest_difference" in given:
        objective.smallest_difference = given["smallest_difference"].number()
    if "note" in given:
        objective.note = given["note"].text()


def _read_design(spec: StudySpec, value: Placed, places: Places) -> None:
    given = value.mapping(
        "racing", "fixed", "error_rate", "baseline", "cache", "verify_cached", "shared_warm_up", "map_seeds"
    )
    design = spec.design
    design.SetInParent()
    if "racing" in given and "fixed" in given:
        value.wrong("only one of racing and fixed can be given")
    elif "racing" in given:
        design.racing.SetInParent()
        if given["racing"].value is not None:
            message_of(given["racing"], design.racing, places, "spec.design.racing")
    elif "fixed" in given:
        design.fixed.CopyFrom(FixedDesign())
    if "error_rate" in given:
        design.error_rate = given["error_rate"].number()
    if "baseline" in given:
        design.baseline = given["baseline"].text()
        names = [variant.name for variant in spec.variants]
        if design.baseline not in names:
            given["baseline"].wrong(f"no variant is called {design.baseline!r}{near_miss(design.baseline, names)}")
    if "cache" in given:
        places.put("spec.design.no_cache", given["cache"])
        design.no_cache = not given["cache"].flag()
    if "verify_cached" in given:
        places.put("spec.design.verify_cached_share", given["verify_cached"])
        design.verify_cached_share = given["verify_cached"].number()
    if "shared_warm_up" in given:
        places.put("spec.design.no_shared_warm_up", given["shared_warm_up"])
        design.no_shared_warm_up = not given["shared_warm_up"].flag()
    if "map_seeds" in given:
        # What no field could hold is refused as what is too large.
        design.map_seeds = min(given["map_seeds"].whole(), 2**31 - 1)


def _slug(name: str) -> str:
    """A name as templates are named."""
    return re.sub(r"[^a-z0-9_]+", "-", name.lower()).strip("-_")[:63].rstrip("-_") or "study"
