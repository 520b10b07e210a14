"""`milepost stats`: what an operator wants to know."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from milepost.cli.command import Target, console
from milepost.cli.json_form import json_line
from milepost.cli.lifecycle import labels_of
from milepost.cli.words import enum_word
from milepost.session.v1.session_pb2 import FailureReason, SessionState
from milepost.session.v1.statistics_pb2 import Distribution, GetStatisticsResponse


async def stats(
    target: Target,
    hours: Annotated[float | None, typer.Option(min=0, help="Only sessions created in the last so many hours.")] = None,
    label: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Only sessions with this label.")] = None,
) -> None:
    """Show how sessions fare, why and how fast they were taken over, and what each worker does."""
    since = None if hours is None else datetime.now(UTC) - timedelta(hours=hours)
    async with target.client() as client:
        found = await client.sessions.statistics(since=since, labels=labels_of(label or []))
    if target.json:
        print(json_line(found))
        return
    for table in (_counts(found), _times(found), _workers(found)):
        console().print(table)
        print()


def _counts(found: GetStatisticsResponse) -> Table:
    table = Table("", "", box=None, show_header=False)
    states = (f"{one.sessions} {enum_word(SessionState.Name(one.state), 'SESSION_STATE_')}" for one in found.states)
    table.add_row("sessions", ", ".join([str(found.sessions), *states]))
    for failure in found.failures:
        reason = FailureReason.Name(failure.reason).removeprefix("FAILURE_REASON_")
        table.add_row("failed", f"{failure.sessions} of {reason}")
    for claim in found.claims:
        table.add_row("attempts", f"{claim.attempts} because {claim.because}")
    for verdict in found.verdicts:
        table.add_row("verdicts", f"{verdict.attempts} {verdict.verdict}")
    if found.verdicts:
        table.add_row("simulated again", f"{found.intervals_again} intervals")
    table.add_row("level with the store", f"{found.behind_store.ToTimedelta().total_seconds():.1f} s ago")
    return table


def _times(found: GetStatisticsResponse) -> Table:
    table = Table("", box=None)
    for column in ("count", "least", "half", "nine of ten", "most", "mean"):
        table.add_column(column, justify="right")
    rows: list[tuple[str, Distribution, str]] = [
        ("waiting for a worker", found.queue_s, "s"),
        ("claim to first step", found.preparation_s, "s"),
        ("recovery: claim to going on", found.recovery_s, "s"),
        ("outage: last event to going on", found.outage_s, "s"),
        ("real time, running", found.running_factor, "x"),
        ("real time, ended", found.ended_factor, "x"),
    ]
    for name, one, unit in rows:
        values = (one.min, one.p50, one.p90, one.max, one.mean) if one.count else ()
        table.add_row(name, str(one.count), *(f"{value:.3g} {unit}" for value in values))
    return table


def _workers(found: GetStatisticsResponse) -> Table:
    table = Table("worker", "pool", "there", box=None)
    for column in ("busy", "load", "sessions", "attempts", "lost", "recoveries"):
        table.add_column(column, justify="right")
    for worker in found.workers:
        table.add_row(
            Text(worker.worker_id),
            Text(worker.pool),
            Text((worker.closed_because or "yes") if worker.present else "no"),
            f"{worker.busy}/{worker.slots}" if worker.present else "",
            f"{worker.cpu_load:.0%}" if worker.present else "",
            *map(str, (worker.sessions, worker.attempts, worker.lost, worker.recoveries)),
        )
    return table
