"""Studies for humans: rankings, cells, lists."""

import math
from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from milepost.cli.study_progress import progress_words
from milepost.cli.words import enum_word
from milepost.kpi.v1.kpi_pb2 import Kpis
from milepost.report.study.words import decimals, standing
from milepost.study.v1.study_pb2 import (
    Cell,
    CellState,
    Comparison,
    PairedDifference,
    RankedVariant,
    Ranking,
    Study,
    StudyEnd,
    StudyState,
)

_MAX_SEEDS = 5
CELL_COLUMNS = (
    "variant",
    "seed",
    "state",
    "value",
    "cached",
    "session_id",
    "broken_constraints",
    "simulated_s",
    "failure",
)
KPI_COLUMNS = tuple(field.name for field in Kpis.DESCRIPTOR.fields if field.type != field.TYPE_BOOL)


def ranking_table(ranking: Ranking, *, limit: int | None = None) -> Table:
    """One row per variant, best first; differences are to the baseline."""
    shown = ranking.variants[:limit]
    places = decimals(shown)
    table = Table("", "variant", box=None)
    for heading in ("mean ± sd", "runs", f"less {ranking.baseline or 'baseline'}", "interval", "P(best)", "Elo"):
        table.add_column(Text(heading), justify="right")
    table.add_column("standing")
    table.add_column("findings")
    for one in shown:
        table.add_row(
            f"{one.rank}",
            Text(one.name),
            f"{_number(one.mean, places)} ± {_number(one.standard_deviation, places)}",
            f"{one.runs}" + (f" ({one.failed} failed)" if one.failed else ""),
            *_difference(one, places),
            f"{one.probability_best:.0%}" if one.runs else "",
            f"{one.elo:.0f}" if one.runs else "",
            standing(one),
            Text(findings_words(one)),
        )
    return table


def findings_words(one: RankedVariant) -> str:
    """Which constraints a variant broke, and on which seeds."""
    return "; ".join(f"{finding.constraint} broken on {_seeds(finding.seeds)}" for finding in one.findings)


def studies_table(studies: Iterable[Study]) -> Table:
    """One row per study."""
    table = Table("study", "name", "state", "progress", "created", "answer", box=None)
    for study in studies:
        table.add_row(
            study.study_id,
            Text(study.display_name),
            state_words(study),
            Text(progress_words(study)),
            f"{study.create_time.ToDatetime():%Y-%m-%d %H:%M}",
            Text(study.answer),
        )
    return table


def study_table(study: Study) -> Table:
    """What there is about one study, a row per property."""
    table = Table("", "", box=None, show_header=False)
    spec = study.spec
    rows = [
        ("study", study.study_id),
        ("name", study.display_name),
        ("state", state_words(study)),
        *(("label", f"{key}={value}") for key, value in sorted(study.labels.items())),
        ("progress", progress_words(study)),
        ("answer", study.answer),
        ("objective", spec.objective.expression),
        *(("subject to", constraint) for constraint in spec.objective.constraints),
        ("variants", f"{len(study.variants)}"),
        ("seeds", f"{len(spec.seeds)}"),
        ("sessions", f"{study.progress.sessions}, {study.progress.simulated_s / 3600:.1f} simulated hours"),
        ("owner", study.owner),
        ("created", f"{study.create_time.ToDatetime():%Y-%m-%d %H:%M:%S}"),
        ("ended", f"{study.end_time.ToDatetime():%Y-%m-%d %H:%M:%S}" if study.HasField("end_time") else ""),
    ]
    for name, value in rows:
        if value:
            table.add_row(name, Text(value))
    return table


def state_words(study: Study) -> str:
    """Where a study stands, and why it ended."""
    state = enum_word(StudyState.Name(study.state), "STUDY_STATE_")
    ends = {
        StudyEnd.STUDY_END_ALL_CELLS: "all cells are over",
        StudyEnd.STUDY_END_DECIDED: "it is decided",
        StudyEnd.STUDY_END_BUDGET: "its budget is used up",
    }
    return f"{state}: {ends[study.end]}" if study.end in ends else state


def cells_table(cells: Iterable[Cell]) -> Table:
    """One row per cell."""
    table = Table("variant", "seed", "value", "state", "session", "", box=None)
    for cell in cells:
        done = cell.state == CellState.CELL_STATE_DONE
        table.add_row(
            Text(cell.variant),
            f"{cell.seed}",
            f"{cell.value:.6g}" if done else "",
            "cached" if cell.cached else enum_word(CellState.Name(cell.state), "CELL_STATE_"),
            cell.session_id,
            Text("; ".join(_cell_notes(cell))),
        )
    return table


def cell_row(cell: Cell) -> list[object]:
    """A cell as a row of CELL_COLUMNS and KPI_COLUMNS."""
    done = cell.state == CellState.CELL_STATE_DONE
    own: list[object] = [
        cell.variant,
        cell.seed,
        enum_word(CellState.Name(cell.state), "CELL_STATE_"),
        f"{cell.value:.12g}" if done else "",
        int(cell.cached),
        cell.session_id,
        " ".join(str(index) for index in cell.broken_constraints),
        cell.simulated_s,
        cell.failure,
    ]
    return own + [getattr(cell.kpis, name) if cell.HasField("kpis") else "" for name in KPI_COLUMNS]


def _cell_notes(cell: Cell) -> list[str]:
    notes = [cell.failure] if cell.failure else []
    if cell.broken_constraints:
        notes.append(f"breaks {', '.join(f'constraint {index + 1}' for index in cell.broken_constraints)}")
    if cell.cached_differs:
        notes.append("came out differently than what was stored")
    return notes


def _difference(one: RankedVariant, places: int) -> tuple[Text, Text]:
    if not one.HasField("to_baseline"):
        return Text("–"), Text("")
    difference: PairedDifference = one.to_baseline
    mark = {Comparison.COMPARISON_BETTER: " better", Comparison.COMPARISON_WORSE: " worse"}
    return (
        Text(_number(difference.mean, places, sign="+") + mark.get(difference.comparison, "")),
        Text(f"[{_number(difference.lower, places, sign='+')}, {_number(difference.upper, places, sign='+')}]"),
    )


def _number(value: float, places: int, *, sign: str = "") -> str:
    return f"{value:{sign}.{places}f}" if math.isfinite(value) else "?"


def _seeds(seeds: Sequence[int]) -> str:
    shown = ", ".join(str(seed) for seed in seeds[:_MAX_SEEDS])
    more = len(seeds) - _MAX_SEEDS
    return f"seed{'s' if len(seeds) > 1 else ''} {shown}{f' and {more} more' if more > 0 else ''}"
