"""`milepost export | metrics SESSION…`: logs as tables for other programs, KPIs as a table for humans."""

import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from milepost.cli.command import Target, console
from milepost.cli.events import kinds_of
from milepost.cli.json_form import json_line
from milepost.cli.lifecycle import labels_of
from milepost.cli.tables import metrics_table
from milepost.event.v1.export_pb2 import ExportContent, ExportEventsRequest, ExportFormat
from milepost.event.v1.metrics_pb2 import Aggregation, SessionStatistic
from milepost.event.v1.session_set_pb2 import SessionSet

SESSIONS = typer.Argument(metavar="[SESSION]...", help="Ids of sessions.", show_default=False)
LABEL = typer.Option("--label", metavar="KEY=VALUE", help="Sessions with this label.")
ALL = typer.Option("--all", help="All sessions.")
RUN = typer.Option("--run", min=0, help="Which run; 0: the latest of each.")
BEGIN = typer.Option("--begin", help="Only what stands after this simulated time, s.")
END = typer.Option("--end", help="Only what stands at this simulated time or before, s.")

_DEFAULT_METRICS = ("departed", "arrived", "running", "halting", "mean_speed_mps", "mean_travel_time_s")


class Form(Enum):
    """Form of a table."""

    ARROW = "arrow"
    PARQUET = "parquet"
    CSV = "csv"


class What(Enum):
    """Rows of a table."""

    EVENTS = "events"
    METRICS = "metrics"


class Across(Enum):
    """What is made of several sessions."""

    MEAN = "mean"
    MIN = "min"
    MAX = "max"
    STANDARD_DEVIATION = "sd"


class In(Enum):
    """What is made of a bucket."""

    LAST = "last"
    MEAN = "mean"
    MIN = "min"
    MAX = "max"
    INCREMENT = "increment"


_FORMS = {
    Form.ARROW: ExportFormat.EXPORT_FORMAT_ARROW_STREAM,
    Form.PARQUET: ExportFormat.EXPORT_FORMAT_PARQUET,
    Form.CSV: ExportFormat.EXPORT_FORMAT_CSV,
}


async def export(
    target: Target,
    *,
    to: Annotated[Path, typer.Option("--to", "-o", help="Where to; `-` is standard output.")],
    session_ids: Annotated[list[str] | None, SESSIONS] = None,
    form: Annotated[
        Form | None, typer.Option("--format", help="Form; by default what the file's name ends with.")
    ] = None,
    what: Annotated[What, typer.Option(help="A row per event, or per interval with its KPIs.")] = What.EVENTS,
    kind: Annotated[list[str] | None, typer.Option(help="Only these kinds of events.")] = None,
    label: Annotated[list[str] | None, LABEL] = None,
    everything: Annotated[bool, ALL] = False,
    run: Annotated[int, typer.Option(min=0, help="Only this run; 0: events of all, metrics of the latest.")] = 0,
    begin: Annotated[float | None, BEGIN] = None,
    end: Annotated[float | None, END] = None,
) -> None:
    """Write events or KPIs as one table: Arrow IPC stream, Parquet or CSV."""
    request = ExportEventsRequest(
        sessions=sessions_of(session_ids, label, everything=everything),
        format=_FORMS[form or _form_of(to)],
        content=ExportContent.Value(f"EXPORT_CONTENT_{what.name}"),
        kinds=kinds_of(kind or []),
        run=run,
        begin_time_s=begin,
        end_time_s=end,
    )
    async with target.client() as client:
        if str(to) == "-":
            async for piece in client.events.export(request):
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
        else:
            size_bytes = await client.events.export_to(to, request)
            sys.stderr.write(f"{to}: {size_bytes} bytes\n")


async def metrics(
    target: Target,
    *,
    session_ids: Annotated[list[str] | None, SESSIONS] = None,
    metric: Annotated[list[str] | None, typer.Option("--metric", "-m", help="A KPI, for example arrived.")] = None,
    bucket: Annotated[float | None, typer.Option(min=0.001, help="Length of a bucket, simulated s.")] = None,
    by_phase: Annotated[bool, typer.Option("--by-phase", help="A bucket per phase of the plan.")] = False,
    aggregation: Annotated[
        In | None, typer.Option("--in", help="What is made of a bucket; by default what is natural to each KPI.")
    ] = None,
    across: Annotated[list[Across] | None, typer.Option(help="Over all sessions instead of each.")] = None,
    label: Annotated[list[str] | None, LABEL] = None,
    everything: Annotated[bool, ALL] = False,
    run: Annotated[int, RUN] = 0,
    begin: Annotated[float | None, BEGIN] = None,
    end: Annotated[float | None, END] = None,
) -> None:
    """Show KPIs over simulated time: as recorded, in buckets or per phase; of each session or across them."""
    if bucket is not None and by_phase:
        raise typer.BadParameter("say --bucket or --by-phase, not both")
    sessions = sessions_of(session_ids, label, everything=everything)
    async with target.client() as client:
        answer = await client.events.metrics(
            metric or _DEFAULT_METRICS,
            session_ids=sessions.session_ids,
            labels=sessions.labels,
            run=run,
            begin_time_s=begin,
            end_time_s=end,
            bucket_s=bucket,
            by_phase=by_phase,
            aggregation=Aggregation.Value(f"AGGREGATION_{aggregation.name if aggregation else 'UNSPECIFIED'}"),
            across=[SessionStatistic.Value(f"SESSION_STATISTIC_{one.name}") for one in across or []],
        )
    if target.json:
        print(json_line(answer))
    else:
        console().print(metrics_table(answer))


def sessions_of(session_ids: list[str] | None, labels: list[str] | None, *, everything: bool) -> SessionSet:
    """The sessions a command is about. Raises typer.BadParameter when none are named, or some beside all."""
    if everything == bool(session_ids or labels):
        raise typer.BadParameter("name sessions, or --label, or --all")
    return SessionSet(session_ids=session_ids or [], labels=labels_of(labels or []))


def _form_of(path: Path) -> Form:
    for form, suffixes in ((Form.PARQUET, (".parquet",)), (Form.CSV, (".csv",)), (Form.ARROW, (".arrow", ".arrows"))):
        if path.suffix.lower() in suffixes:
            return form
    raise typer.BadParameter(f"say --format: {path.name!r} ends with none of .arrow, .parquet, .csv")
