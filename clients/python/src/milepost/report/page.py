"""The report as one HTML page: no address in it leads outside, no name in it becomes a tag.

The page's own policy forbids to load anything, and to run any script but the one whose digest it names.
"""

import base64
import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from importlib.resources import files

from milepost.report import charts, tables
from milepost.report.gather import Report
from milepost.report.history import MarkKind
from milepost.report.markup import Markup, tag
from milepost.report.panels import Plot, clock, plots


def page(report: Report, *, title: str = "") -> str:
    """The whole page."""
    own = files("milepost.report")
    script = own.joinpath("hover.js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"
    shown = list(plots(report.metrics, report.spans, report.bucket_s))
    heading = title or _title(report)
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", heading),
        tag("style", Markup(own.joinpath("style.css").read_text("utf-8"))),
    )
    body = tag(
        "body",
        tag("main", _header(report, heading), list(_sections(report, shown)), _footer(report)),
        tag("div", id="tip"),
        tag("script", _values(report, shown), type="application/json", id="values"),
        tag("script", Markup(script)),
    )
    return "<!doctype html>\n" + tag("html", head, body, lang="en")


def _title(report: Report) -> str:
    names = [one.name for one in report.sessions]
    return names[0] if len(names) == 1 else f"{' · '.join(names[:3])}{' …' if len(names) > 3 else ''}"


def _header(report: Report, heading: str) -> Markup:
    span = f"{clock(report.begin_s, seconds=True)} to {clock(report.end_s, seconds=True)}"
    return tag(
        "header",
        tag("h1", heading),
        tag("p", f"Traffic simulation, simulated time {span}; lines in steps of {report.bucket_s:g} s", class_="soft"),
        tag(
            "ul",
            [tag("li", tables.dot(number), one.name) for number, one in enumerate(report.sessions)],
            class_="legend",
        ),
    )


def _sections(report: Report, shown: Sequence[Plot]) -> Iterator[Markup]:
    yield tag("h2", "Results")
    yield tables.results(report)
    yield tag("h2", "Over simulated time")
    yield tag("div", [charts.chart(report, plot) for plot in shown], class_="charts")
    yield tag("h2", "Runs, attempts and places")
    yield tag("div", charts.timeline(report), class_="scroll")
    yield _key()
    if report.phases.buckets:
        yield tag("h2", "Phases")
        yield tables.phases(report)
    if any(mark.kind is MarkKind.INTERVENTION for one in report.sessions for mark in one.history.marks):
        yield tag("h2", "Interventions")
        yield tables.interventions(report)
    if any(one.history.marks for one in report.sessions):
        yield from tables.checkpoints(report)
    yield tag("h2", "Attempts")
    yield tables.attempts(report)
    yield tag("h2", "How to get the same again")
    yield tables.origins(report)


def _key() -> Markup:
    def sign(words: str, shape: str, fill: str) -> Markup:
        return tag("span", tag("svg", tag("path", d=shape, fill=fill, stroke=charts.INK), viewBox="0 0 18 16"), words)

    return tag(
        "div",
        sign("another attempt takes over", "M9,1v14", "none"),
        sign("checkpoint (grey: gone)", "M9,3l5,8h-10z", charts.MARKS[MarkKind.CHECKPOINT]),
        sign("intervention", "M9,2l6,6l-6,6l-6,-6z", charts.MARKS[MarkKind.INTERVENTION]),
        sign("milestone", "M5,2v12m0,-12l8,3l-8,3z", charts.MARKS[MarkKind.MILESTONE]),
        class_="key",
    )


def _footer(report: Report) -> Markup:
    return tag("footer", f"Made by Milepost on {report.made:%Y-%m-%d at %H:%M} UTC from the logs of these sessions.")


def _values(report: Report, shown: Sequence[Plot]) -> Markup:
    """What the page's script reads. `<` is written as JSON may, so that no text ends the element."""
    left, right, width = charts.frame()
    told = {
        "begin_s": report.begin_s,
        "end_s": report.end_s,
        "left": left,
        "right": right,
        "width": width,
        "names": [one.name for one in report.sessions],
        "times_s": list(shown[0].times_s) if shown else [],
        "clocks": [clock(at_s, seconds=True) for at_s in shown[0].times_s] if shown else [],
        "panels": {
            plot.panel.metric: {
                "decimals": plot.panel.decimals,
                "lines": [[None if math.isnan(value) else round(value, 3) for value in line] for line in plot.lines],
            }
            for plot in shown
        },
    }
    return Markup(json.dumps(told).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
