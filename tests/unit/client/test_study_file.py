"""A study's file is a request; what is wrong with it, or with the request, is told with its place in the file."""

from pathlib import Path

import pytest

from milepost.exceptions import InputFileError
from milepost.session.v1.session_pb2 import PhaseKind
from milepost.studies.form import StudyFile, read_study
from milepost.studies.written import written_study
from milepost.study.v1.study_pb2 import Direction, Study

DIGEST = "ab" * 32
WHOLE = f"""\
name: Cologne cycle lengths
labels: {{team: signals}}
base:
  scenario: {DIGEST}
parameters:
  cycle_s: {{default: 90, min: 40, max: 150, description: Cycle}}
  ttt: 300
bindings:
  - {{file: a.net.xml, select: "tlLogic[@id='A']/phase[1]", attribute: duration, value: cycle_s - 10}}
  - {{option: time-to-teleport, value: ttt}}
session:
  end_time_s: 3600
  options: {{step-length: 1}}
  plan:
    - {{name: warm, kind: warm_up, duration_s: 600}}
    - {{name: rush, kind: measure, duration_s: 3000}}
seeds: [1, 2, 5-7]
objective:
  minimise: mean_time_loss_s
  subject_to: [collisions <= 0, teleports <= 3]
  phase: rush
  note: what drivers feel
design: {{racing: {{first_seeds: 2}}, baseline: base, cache: false, shared_warm_up: false, map_seeds: 0}}
budget: {{sessions: 50}}
variants:
  - name: base
  - name: c60
    parent: base
    parameters: {{cycle_s: 60}}
    options: {{time-to-teleport: 120}}
    interventions:
      - {{at_s: 600, close: {{place: {{edge_ids: [e1]}}}}}}
    files: {{a.rou.xml: other.rou.xml}}
grid:
  cycle_s: [60, 80]
  options.scale: [1, 1.50]
"""


@pytest.fixture
def study(tmp_path: Path):
    """Reads a file's text; `(old, new)` is replaced in it."""
    (tmp_path / "other.rou.xml").write_text("<routes/>")

    def read(text: str = WHOLE, *changes: tuple[str, str]) -> StudyFile:
        for old, new in changes:
            assert old in text
            text = text.replace(old, new, 1)
        (tmp_path / "study.yaml").write_text(text)
        return read_study(tmp_path / "study.yaml")

    return read


def test_everything_in_the_file_is_in_the_request(study, tmp_path):
    read = study()
    spec = read.request.spec
    assert (read.request.display_name, dict(read.request.labels)) == ("Cologne cycle lengths", {"team": "signals"})
    assert (spec.base.scenario_digest, read.scenario) == (DIGEST, None)
    assert (read.template.name, [one.name for one in read.template.parameters]) == (
        "cologne-cycle-lengths",
        ["cycle_s", "ttt"],
    )
    cycle, ttt = read.template.parameters
    assert (cycle.default.number_value, cycle.minimum, cycle.maximum) == (90, 40, 150)
    assert (ttt.default.number_value, ttt.HasField("minimum")) == (300, False)
    assert read.template.bindings[0].attribute.select == "tlLogic[@id='A']/phase[1]"
    assert read.template.bindings[1].option == "time-to-teleport"
    assert spec.session.plan[0].kind == PhaseKind.PHASE_KIND_WARM_UP
    assert [(one.name, one.value) for one in spec.session.options] == [("step-length", "1")]
    assert list(spec.seeds) == [1, 2, 5, 6, 7]
    assert spec.objective.direction == Direction.DIRECTION_MINIMISE
    assert list(spec.objective.constraints) == ["collisions <= 0", "teleports <= 3"]
    assert spec.design.racing.first_seeds == 2
    assert (spec.design.no_cache, spec.design.no_shared_warm_up, spec.design.map_seeds) == (True, True, 0)
    assert spec.budget.sessions == 50
    assert [variant.name for variant in spec.variants] == [
        "base",
        "c60",
        "cycle_s=60 scale=1",
        "cycle_s=60 scale=1.50",
        "cycle_s=80 scale=1",
        "cycle_s=80 scale=1.50",
    ]
    patch = spec.variants[1].patch
    assert patch.parameters["cycle_s"].number_value == 60
    assert (patch.interventions[0].at_time_s, patch.interventions[0].intervention.close.place.edge_ids[0]) == (
        600,
        "e1",
    )
    assert [(one.path, one.described.path) for one in read.files] == [(tmp_path / "other.rou.xml", "a.rou.xml")]
    read.files[0].described.sha256 = DIGEST
    assert patch.files[0].sha256 == DIGEST


def place(text: str, marked: str) -> str:
    """Where what follows `|` in `marked` stands in a text that holds `marked` without it once."""
    before, after = marked.split("|")
    assert text.count(before + after) == 1, marked
    above = text[: text.index(before + after) + len(before)].split("\n")
    return f"study.yaml:{len(above)}:{len(above[-1]) + 1}"


@pytest.mark.parametrize(
    ("field", "marked", "said"),
    [
        ("spec.variants[1].patch.parameters.cycle_s", "{cycle_s: |60}", "variants[1].parameters.cycle_s"),
        ('spec.variants[1].patch.parameters["cycle_s"]', "{cycle_s: |60}", "variants[1].parameters.cycle_s"),
        ("spec.variants[1].patch.options[0].value", "teleport: |120", "variants[1].options.time-to-teleport"),
        (
            "spec.variants[1].patch.interventions[0].intervention.close.place.edge_ids[0]",
            "[|e1]",
            "variants[1].interventions[0].close.place.edge_ids[0]",
        ),
        ("spec.variants[1].patch.interventions[0].at_time_s", "at_s: |600", "variants[1].interventions[0].at_s"),
        ("spec.variants[1].patch.files[0].sha256", "|other", 'variants[1].files["a.rou.xml"].sha256'),
        ("spec.variants[1].parent", "parent: |base", "variants[1].parent"),
        ("spec.variants[3].patch.parameters.cycle_s", "cycle_s: [|60, 80]", "grid.cycle_s[0]"),
        ("spec.variants[3].patch.options[0].value", "[1, |1.50]", 'grid["options.scale"][1]'),
        ("spec.variants[4].name", "|grid:", "grid.name"),
        ("spec.seeds[3]", "|5-7", "seeds[2]"),
        ("spec.objective.constraints[1]", "|teleports", "objective.subject_to[1]"),
        ("spec.objective.expression", "|mean_time_loss_s", "objective.minimise"),
        ("spec.objective.phase", "phase: |rush", "objective.phase"),
        ("spec.session.plan[1].duration_s", "|3000", "session.plan[1].duration_s"),
        ("spec.session.options[0].name", "step-length: |1", "session.options.step-length"),
        ("spec.session.goal", "|session:", "session.goal"),
        ("spec.design.racing.first_seeds", "first_seeds: |2", "design.racing.first_seeds"),
        ("spec.base.scenario_digest", f"|{DIGEST}", "base.scenario"),
        ("spec.budget.sessions", "{sessions: |50", "budget.sessions"),
        ("display_name", "|Cologne", "name"),
        ("parameters[0].minimum", "min: |40", "parameters.cycle_s.min"),
        ("bindings[0].attribute.select", '|"tlLogic', "bindings[0].select"),
        ("bindings[1].value", "value: |ttt", "bindings[1].value"),
        ("request_id", "|name: Cologne", "request_id"),
    ],
)
def test_a_field_of_the_request_has_its_place_in_the_file(study, field, marked, said):
    found = study().places.violation(field, "is wrong")
    assert (found.field, found.description) == (place(WHOLE, marked), f"{said}: is wrong")


@pytest.mark.parametrize(
    ("old", "new", "marked", "finding"),
    [
        ("seeds: [1, 2, 5-7]", "seeds: []", "|seeds: []", "seeds: must hold at least one seed"),
        ("seeds: [1, 2, 5-7]", "seeds: 7-5", "|7-5", "seeds: must hold at least one seed"),
        ("[1, 2, 5-7]", "{first: 3, count: 0}", "|seeds: {", "seeds: must hold at least one seed"),
        ("[1, 2, 5-7]", "[1, 2, 2-7]", "|2-7", "seeds[2]: seed 2 is there twice"),
        ("[1, 2, 5-7]", "1-99999", "|1-99999", "seeds: these are over 10000 seeds"),
        ("[1, 2, 5-7]", "one", "|one", "seeds: 'one' is no seed and no range of seeds, such as 1-10"),
        ("  - name: base", '  - name: ""', '|""', "variants[0].name: must not be empty"),
        ("  - name: c60", "  - name: base\n    ", "- name: |base\n    ", "variants[1].name: two variants are called"),
        (
            "parent: base",
            "parent: bass",
            "|bass",
            "variants[1].parent: no variant before this one is called 'bass'; did",
        ),
        (
            "baseline: base",
            "baseline: bose",
            "|bose",
            "design.baseline: no variant is called 'bose'; did you mean base",
        ),
        ("options: {time", "option: {time", "|option: {", "variants[1].option: unknown key; did you mean options?"),
        ("other.rou.xml", "none.rou.xml", "|none.rou", 'variants[1].files["a.rou.xml"]: '),
        ("at_s: 600, ", "", "|{close", "variants[1].interventions[0]: at_s is missing"),
        (
            "close: {place",
            "clos: {place",
            "|clos:",
            "variants[1].interventions[0].clos: unknown key; did you mean close",
        ),
        (
            "edge_ids",
            "edges",
            "|edges",
            "variants[1].interventions[0].close.place.edges: unknown key; did you mean edge",
        ),
        (
            "kind: measure",
            "kind: measured",
            "|measured",
            "session.plan[1].kind: unknown word 'measured'; did you mean me",
        ),
        ("end_time_s: 3600", "end_time_s: noon", "|noon", "session.end_time_s: must be a number, is 'noon'"),
        ("end_time_s: 3600", "seed: 3", "|seed: 3", "session.seed: unknown key"),
        ("minimise: mean", "least: mean", "|objective:", "objective: must say what is better"),
        ("minimise: mean_time_loss_s", "minimise: ''", "|''", "objective.minimise: must not be empty"),
        (DIGEST, "nowhere", "|nowhere", "base.scenario: "),
        (DIGEST, "$NO_SUCH_PLACE/a", "|$NO", "base.scenario: the environment has no NO_SUCH_PLACE"),
        (f"scenario: {DIGEST}", "template: x", "|parameters:\n", "parameters: only a scenario can be given parameters"),
        (f"scenario: {DIGEST}", "{}", "|base:\n", "base: must be one of scenario, template and session"),
        ("  - {option: time-to-teleport, ", "  - {", "|{value: ttt", "bindings[1]: must say what follows"),
        ("[60, 80]", "[]", "|cycle_s: []", "grid.cycle_s: must hold at least one value"),
        ("sessions: 50", "sessions: 1.5", "|1.5}", "budget.sessions: must be a whole number, is 1.5"),
        ("objective:", "goal:", "|name: Cologne", "objective is missing"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(study, old, new, marked, finding):
    with pytest.raises(InputFileError) as refused:
        study(WHOLE, (old, new))
    found = [f"{one.field}: {one.description}" for one in refused.value.violations]
    where = place(WHOLE.replace(old, new, 1), marked)
    assert any(one.startswith(f"{where}: {finding}") for one in found), found


def test_a_scenario_is_found_beside_the_file_and_by_the_environment(study, tmp_path, monkeypatch):
    (tmp_path / "city").mkdir()
    monkeypatch.setenv("SCENARIOS", str(tmp_path))
    for text in ("city", "$SCENARIOS/city", "${SCENARIOS}/city"):
        assert study(WHOLE, (DIGEST, text)).scenario.resolve() == tmp_path / "city"


def test_a_place_in_a_session_is_a_base(study):
    text = "base: {session: {id: s1, at_s: 600}}\nseeds: 1-3\nobjective: {maximise: arrived}\nvariants: [{name: a}]\n"
    spec = study(text).request.spec
    assert (spec.base.session.session_id, spec.base.session.sim_time_s) == ("s1", 600)
    assert spec.objective.direction == Direction.DIRECTION_MAXIMISE
    with pytest.raises(InputFileError, match=r"1:8: base.session: must say where"):
        study(text, ("at_s: 600", "at_s: 600, checkpoint: c1"))


def test_a_grid_of_too_many_variants_is_refused_before_it_is_made(study):
    with pytest.raises(InputFileError, match="makes 10000000000 variants"):
        axes = "\n".join(f"  p{n}: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]" for n in range(10))
        study(WHOLE, ("  cycle_s: [60, 80]", axes), ("  options.scale: [1, 1.50]\n", ""))


def test_a_study_is_written_as_a_file_that_is_the_same_study(study, tmp_path):
    read = study()
    read.files[0].described.sha256, read.files[0].described.size_bytes = DIGEST, 9
    stored = Study(display_name=read.request.display_name, labels=read.request.labels, spec=read.request.spec)
    stored.spec.base.template.name, stored.spec.base.template.version = "cologne", 3

    (tmp_path / "again.yaml").write_text(written_study(stored))
    again = read_study(tmp_path / "again.yaml")

    assert again.request.spec == stored.spec
    assert (again.request.display_name, again.request.labels) == (stored.display_name, stored.labels)
    assert (again.template, again.files, again.scenario) == (None, [], None)


def test_a_place_in_a_session_and_fixed_designs_are_written_too(study, tmp_path):
    text = "base: {session: {id: s1, at_s: 600.5}}\nseeds: [3]\nobjective: {maximise: arrived}\nvariants: [{name: a}]\n"
    text += "design: {verify_cached: 0.25}\nsession: {scheduling: {work_class: interactive}, linger_s: 0.5}\n"
    spec = study(text).request.spec
    (tmp_path / "again.yaml").write_text(written_study(Study(spec=spec, display_name="a")))
    assert read_study(tmp_path / "again.yaml").request.spec == spec
