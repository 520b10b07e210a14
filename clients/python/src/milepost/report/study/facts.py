"""What was run, what came of it, and how to do it again."""

from collections.abc import Iterator, Sequence

from milepost.cli.study_tables import state_words
from milepost.report.markup import Markup, join, tag
from milepost.report.study import words
from milepost.report.study.model import StudyReport
from milepost.report.study.ranking import SHOWN
from milepost.report.tables import table
from milepost.study.v1.study_pb2 import Cell, CellState, Direction, StudyBase, StudySpec, Variant

_MOST_FAILED = 50
_MOST_DECISIONS = 200
_MOST_SEEDS = 200


def figures(report: StudyReport) -> Markup:
    """How many runs, and what they cost."""
    study, cells = report.study, report.cells
    progress = study.progress
    over = progress.done + progress.failed
    full = len(study.spec.variants) * len(study.spec.seeds)
    wall_s = _wall_s(report)
    verified = sum(cell.cached_differs for cell in cells)
    facts = [
        (f"{progress.done:,}", "runs with a value"),
        (f"{progress.cached:,}", f"of them stored results ({_share(progress.cached, progress.done)})"),
        (f"{progress.failed:,}", f"failed ({_share(progress.failed, over)})"),
        (f"{max(0, full - over):,}", f"not run, of {full:,}"),
        (f"{progress.dropped_variants:,}", f"of {len(study.spec.variants):,} variants dropped"),
        (f"{progress.sessions:,}", "sessions started"),
        (f"{progress.simulated_s / 3600:,.1f} h", "simulated"),
        (_duration(wall_s), "from creation to end" if study.HasField("end_time") else "since creation"),
        (f"{progress.simulated_s / wall_s:,.0f} ×" if wall_s > 0 else "–", "simulated time over real time"),
        (f"{progress.rungs}", f"rung{'s' if progress.rungs != 1 else ''} of seeds"),
    ]
    if verified:
        facts.append((f"{verified}", "stored results came out differently when they were simulated again"))
    return tag("dl", [tag("div", tag("dt", value), tag("dd", what)) for value, what in facts], class_="figures")


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "–"


def _wall_s(report: StudyReport) -> float:
    study = report.study
    end = study.end_time.ToSeconds() if study.HasField("end_time") else report.made.timestamp()
    return float(end - study.create_time.ToSeconds()) if study.HasField("create_time") else 0.0


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def question(report: StudyReport) -> Markup:
    """What was asked: the objective in a sentence, and what it is meant for."""
    objective = report.study.spec.objective
    way = "Maximise" if objective.direction == Direction.DIRECTION_MAXIMISE else "Minimise"
    subject = [
        [" and " if place else " subject to ", tag("code", one)] for place, one in enumerate(objective.constraints)
    ]
    counted = f", over the phase {objective.phase}" if objective.phase else ""
    matters = objective.smallest_difference
    smallest = f", where less than {matters:g} does not matter" if matters else ""
    asked = tag("p", f"{way} ", tag("code", objective.expression), subject, f"{counted}{smallest}.")
    return join([asked, tag("p", objective.note, class_="soft") if objective.note else ""])


def safety(report: StudyReport) -> Markup:
    """Constraints that were broken, by whom and when."""
    constraints = report.study.spec.objective.constraints
    if not constraints:
        return tag("p", "The study has no constraints.", class_="soft")
    broken = [(one.name, finding, one.runs + one.failed) for one in report.ranking.variants for finding in one.findings]
    if not broken:
        return tag("p", f"All runs of all variants keep all constraints ({'; '.join(constraints)}).")
    rows = [
        [
            tag("td", name, class_="left name"),
            tag("td", tag("code", finding.constraint), class_="left"),
            tag("td", f"{len(finding.seeds)} of {runs}"),
            tag("td", words.seeds(finding.seeds), class_="left"),
        ]
        for name, finding, runs in broken[:SHOWN]
    ]
    more = len(broken) - len(rows)
    found = table(["Variant", "Broken", "Runs", "Seeds"], rows, left=2, left_too=(3,))
    return join([found, tag("p", f"and {more:,} more", class_="soft") if more > 0 else ""])


def decisions(report: StudyReport) -> Markup:
    """What the study decided, and why."""
    if not report.decisions:
        return tag("p", "Nothing was decided so far.", class_="soft")
    rows = [
        [tag("td", f"{one.seq}"), tag("td", one.text, class_="left wide")] for one in report.decisions[:_MOST_DECISIONS]
    ]
    more = len(report.decisions) - len(rows)
    told = table(["Event", "Decision"], rows, left=0, left_too=(1,))
    return join([told, tag("p", f"and {more:,} more", class_="soft") if more > 0 else ""])


def failed_runs(report: StudyReport) -> Markup:
    """Runs without a value: each costs its own cell only."""
    failed = [cell for cell in report.cells if cell.state == CellState.CELL_STATE_FAILED]
    if not failed:
        return tag("p", "No run failed.")
    rows = [_failed(cell) for cell in failed[:_MOST_FAILED]]
    more = len(failed) - len(rows)
    told = table(["Variant", "Seed", "Why", "Session"], rows, left=1, left_too=(2, 3))
    return join([told, tag("p", f"and {more:,} more", class_="soft") if more > 0 else ""])


def _failed(cell: Cell) -> list[Markup]:
    return [
        tag("td", cell.variant, class_="left name"),
        tag("td", f"{cell.seed}"),
        tag("td", cell.failure, class_="left wide"),
        tag("td", tag("code", cell.session_id), class_="left"),
    ]


def what_was_run(report: StudyReport) -> Markup:
    """Base, design, common options, and every variant with its version and parents."""
    spec = report.study.spec
    facts = [
        ("study", report.study.study_id),
        ("state", state_words(report.study)),
        ("base", _base(spec.base)),
        *(("SUMO", one) for one in report.simulators),
        *report.versions.items(),
        ("design", _design(spec)),
        ("seeds", _seeds(spec)),
        ("budget", _budget(spec)),
        ("common to all", _common(spec)),
    ]
    lines = [[tag("dt", name), tag("dd", tag("code", value))] for name, value in facts if value]
    return join([tag("dl", lines, class_="facts"), _variants(report)])


def _base(base: StudyBase) -> str:
    match base.WhichOneof("from"):
        case "scenario_digest":
            return f"scenario {base.scenario_digest}"
        case "template":
            return f"template {base.template.name}, version {base.template.version or 'the latest'}"
        case "session":
            place = base.session
            at = f"checkpoint {place.checkpoint_id}" if place.checkpoint_id else f"{place.sim_time_s:g} s"
            return f"session {place.session_id} at {at}"
        case _:
            return ""


def _design(spec: StudySpec) -> str:
    design = spec.design
    kind = "all variants on all seeds"
    if design.WhichOneof("kind") == "racing":
        kind = f"racing, first {design.racing.first_seeds or 4} seeds, then twice as many"
    parts = [kind, f"error rate {design.error_rate or 0.05:g}"]
    parts += ["every run from its begin"] if design.no_shared_warm_up else []
    parts += ["no stored results"] if design.no_cache else []
    if design.verify_cached_share:
        parts.append(f"{design.verify_cached_share:.0%} of stored results simulated again")
    return ", ".join(parts)


def _seeds(spec: StudySpec) -> str:
    seeds = sorted(spec.seeds)
    shown = ", ".join(str(one) for one in seeds[:_MOST_SEEDS])
    return shown + (f" and {len(seeds) - _MOST_SEEDS:,} more" if len(seeds) > _MOST_SEEDS else "")


def _budget(spec: StudySpec) -> str:
    budget = spec.budget
    parts = [f"{budget.sessions:,} sessions"] if budget.sessions else []
    parts += [f"{budget.simulated_hours:g} simulated hours"] if budget.simulated_hours else []
    parts += [f"{budget.wall_time_s:g} s"] if budget.wall_time_s else []
    return ", ".join(parts)


def _common(spec: StudySpec) -> str:
    session = spec.session
    parts = [f"--{option.name} {option.value}" for option in session.options]
    parts += [f"until {session.end_time_s:g} s"] if session.HasField("end_time_s") else []
    parts += [f"phase {phase.name} of {phase.duration_s:g} s" for phase in session.plan]
    return ", ".join(parts)


def _variants(report: StudyReport) -> Markup:
    spec = report.study.spec
    resolved = {one.name: one for one in report.study.variants}
    rows = []
    for variant in spec.variants[:SHOWN]:
        of = resolved.get(variant.name)
        lineage = " › ".join([*of.lineage]) if of is not None else variant.parent
        rows.append(
            [
                tag("td", variant.name, tag("small", variant.comment) if variant.comment else "", class_="left name"),
                tag("td", list(_patch(variant)), class_="left wide"),
                tag("td", lineage or "–", class_="left"),
                tag("td", tag("code", of.version[:12] if of is not None else ""), class_="digest"),
                tag("td", tag("code", of.session.scenario_digest[:12] if of is not None else ""), class_="digest"),
            ]
        )
    more = len(spec.variants) - len(rows)
    heads = ["Variant", "Changes of its parent", "Parents", "Version", "Scenario"]
    told = table(heads, rows, left=5)
    return join([told, tag("p", f"and {more:,} more variants", class_="soft") if more > 0 else ""])


def _patch(variant: Variant) -> Iterator[Markup]:
    phrases: Sequence[str] = words.patch(variant.patch)
    if not phrases:
        yield tag("span", "nothing", class_="soft")
    for phrase in phrases:
        yield tag("code", phrase)
        yield tag("br")


def reproduce(report: StudyReport) -> Markup:
    """One command, and the file it reads where there is one."""
    parts = [tag("p", "The same study again; what is stored already is not simulated again:")]
    parts.append(tag("pre", tag("code", report.reproduce or f"milepost study show {report.study.study_id}")))
    if report.study_file:
        parts += [tag("p", "with this as the file:"), tag("pre", tag("code", report.study_file))]
    return join(parts)
