"""The report of a study as one HTML page, without a script: no address in it leads outside, no name becomes a tag.

It prints as it is: a browser's "save as PDF" breaks it between sections.
"""

from collections.abc import Iterator
from importlib.resources import files

from milepost.report.markup import Child, Markup, tag
from milepost.report.study import facts
from milepost.report.study.colours import colours_of
from milepost.report.study.curves import curves
from milepost.report.study.model import StudyReport
from milepost.report.study.network import maps
from milepost.report.study.ranking import intervals, ranking_table
from milepost.report.study.seeds import seed_by_seed
from milepost.study.v1.study_pb2 import StudyState

# Nothing is loaded, no script is run.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(report: StudyReport, *, title: str = "") -> str:
    """The whole page."""
    own = files("milepost.report")
    styles = own.joinpath("style.css").read_text("utf-8") + own.joinpath("study", "study.css").read_text("utf-8")
    heading = title or report.study.display_name or report.study.study_id
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", heading),
        tag("style", Markup(styles)),
    )
    body = tag("body", tag("main", _header(report, heading), list(_sections(report)), _footer(report)))
    return "<!doctype html>\n" + tag("html", head, body, lang="en")


def _header(report: StudyReport, heading: str) -> Markup:
    study = report.study
    size = f"{len(study.spec.variants):,} variants on {len(study.spec.seeds):,} seeds"
    created = (
        f", created {study.create_time.ToDatetime():%Y-%m-%d at %H:%M} UTC" if study.HasField("create_time") else ""
    )
    who = f" by {study.owner}" if study.owner else ""
    decided = report.ranking.decided
    return tag(
        "header",
        tag("h1", heading),
        tag("p", f"Study {study.study_id}: {size}{created}{who}", class_="soft"),
        tag("p", report.ranking.answer or study.answer, class_="answer" if decided else "answer open"),
        facts.question(report),
        tag("p", _unfinished(report), class_="soft"),
    )


def _unfinished(report: StudyReport) -> str:
    match report.study.state:
        case StudyState.STUDY_STATE_RUNNING:
            return "The study still runs: this is how it stands."
        case StudyState.STUDY_STATE_CANCELLED | StudyState.STUDY_STATE_CANCELLING:
            return "The study was cancelled: this is what was found until then."
        case _:
            return ""


def _sections(report: StudyReport) -> Iterator[Markup]:
    yield _section("Ranking", ranking_table(report.ranking))
    yield _section("How much better, and how sure", intervals(report.ranking, report.study.spec))
    yield _section("Seed by seed", seed_by_seed(report))
    if report.curves is not None and report.curves.lines and report.curves.times_s:
        yield _section("Over simulated time", curves(report.curves, colours_of(report)), new_page=True)
    yield _section("Where it changes", _map(report), new_page=report.map is not None)
    yield _section("Safety", facts.safety(report))
    yield _section("Runs", facts.figures(report))
    yield _section("Failed runs", facts.failed_runs(report))
    yield _section("Decisions", facts.decisions(report))
    yield _section("What was run", facts.what_was_run(report), new_page=True)
    yield _section("How to get the same again", facts.reproduce(report))


def _section(heading: str, *children: Child, new_page: bool = False) -> Markup:
    return tag("section", tag("h2", heading), *children, class_="page" if new_page else None)


def _map(report: StudyReport) -> Markup:
    if report.map is not None and report.map.shapes:
        return maps(report.map)
    return tag("p", f"There is no map: {report.why_no_map or 'no runs with edge data'}.", class_="soft")


def _footer(report: StudyReport) -> Markup:
    return tag("footer", f"Made by Milepost on {report.made:%Y-%m-%d at %H:%M} UTC from the log of this study.")
