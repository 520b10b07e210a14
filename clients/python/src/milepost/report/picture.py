"""The report's plots as a PNG, for slides and mails."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from milepost.report.gather import Report
from milepost.report.history import MarkKind
from milepost.report.panels import COLOURS, Plot, clock, plots, time_ticks

_PANEL_INCHES = (6.2, 2.9)
_DPI = 130
_COLUMNS = 2


def draw(report: Report, to: Path, *, title: str = "") -> None:
    """Write a PNG. Needs no screen."""
    shown = list(plots(report.metrics, report.spans, report.bucket_s))
    rows = max(1, -(-len(shown) // _COLUMNS))
    width, height = _PANEL_INCHES
    figure = Figure(figsize=(width * _COLUMNS, height * rows + 0.8), layout="constrained")
    axes = figure.subplots(rows, _COLUMNS, squeeze=False)
    for plot, panel in zip(shown, axes.flat, strict=False):
        _panel(report, plot, panel)
    for unused in axes.flat[len(shown) :]:
        unused.set_visible(False)
    handles = axes.flat[0].get_lines()[: len(report.sessions)]
    names = [_plain(one.name) for one in report.sessions]
    figure.legend(handles, names, loc="outside lower center", ncols=min(4, len(names)), frameon=False)
    figure.suptitle(_plain(title) or "Traffic over simulated time")
    figure.savefig(to, dpi=_DPI, format="png")


def _panel(report: Report, plot: Plot, panel: Axes) -> None:
    for number, line in enumerate(plot.lines):
        panel.plot(plot.times_s, line, color=COLOURS[number], linewidth=1.5)
    for number, one in enumerate(report.sessions):
        for mark in one.history.marks:
            if mark.kind is MarkKind.INTERVENTION and mark.sim_time_s is not None and mark.run == one.session.run:
                panel.axvline(mark.sim_time_s, color=COLOURS[number], linestyle=":", linewidth=1.1)
    panel.set_title(plot.panel.heading, loc="left", fontsize=10)
    panel.set_xlim(report.begin_s, report.end_s)
    panel.set_ylim(bottom=0)
    panel.set_xticks(time_ticks(report.begin_s, report.end_s, 7))
    seconds = report.end_s - report.begin_s < 600
    panel.xaxis.set_major_formatter(FuncFormatter(lambda at_s, _: clock(at_s, seconds=seconds)))
    panel.grid(visible=True, alpha=0.25)
    panel.spines[["top", "right"]].set_visible(False)


def _plain(text: str) -> str:
    """A name as it is: `$` begins a formula otherwise, and what cannot be printed is left out."""
    return "".join(one for one in text if one.isprintable()).replace("$", r"\$")
