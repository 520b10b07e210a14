"""`milepost top`: workers, sessions and lags, now and as they change."""

import asyncio
import sys
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from milepost.cli.command import Target, console
from milepost.cli.json_form import json_line
from milepost.cli.words import enum_word
from milepost.client import Milepost
from milepost.event.v1.event_service_pb2 import GetHeadResponse
from milepost.exceptions import MilepostError, NotFound
from milepost.session.v1.session_pb2 import Session, SessionState
from milepost.session.v1.statistics_pb2 import GetStatisticsResponse, WorkerStatistics
from milepost.sessions import END_STATES

_GIB = 1024**3
# Everything that has not ended.
_LIVING = tuple(value for value in SessionState.values() if value and value not in END_STATES)
# Questions to the store at a time.
_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Row:
    """A session, and where its log stands at the store; `head` None: the store does not know it yet."""

    session: Session
    head: GetHeadResponse | None


@dataclass(frozen=True, slots=True)
class View:
    """All that is shown at a time."""

    statistics: GetStatisticsResponse
    rows: list[Row]
    left_out: int
    """Sessions that found no room."""

    @property
    def ingest_lag_s(self) -> float | None:
        """How far the store is behind the broker, seconds, as the answers about heads say; None: unknown."""
        lags = [row.head.ingest_lag for row in self.rows if row.head and row.head.HasField("ingest_lag")]
        return max((lag.ToNanoseconds() / 1e9 for lag in lags), default=None)

    @property
    def projection_lag(self) -> int:
        """Events that the store has and session_api has not applied, in the sessions shown."""
        return sum(max(0, row.head.head_seq - row.session.seq) for row in self.rows if row.head)


async def top(
    target: Target,
    once: Annotated[bool, typer.Option("--once", help="Print it once and leave.")] = False,
    every: Annotated[float, typer.Option(min=0.2, metavar="S", help="How often to look, seconds.")] = 2.0,
    limit: Annotated[int, typer.Option(min=1, help="At most this many sessions.")] = 30,
) -> None:
    """Show workers, the sessions that have not ended, and how far anything is behind. Ctrl-C leaves.

    JSON: the statistics on a line, then a line per session.
    """
    async with target.client() as client:
        if once or target.json or not sys.stdout.isatty():
            view = await look(client, limit)
            if target.json:
                print(json_line(view.statistics))
                for row in view.rows:
                    print(json_line(row.session))
            else:
                console().print(picture(view))
            return
        with Live(console=console(), screen=True, auto_refresh=False) as live:
            while True:
                try:
                    live.update(picture(await look(client, limit)), refresh=True)
                except MilepostError as error:
                    live.update(Text(f"{error}; looking again"), refresh=True)
                await asyncio.sleep(every)


async def look(client: Milepost, limit: int) -> View:
    """What is there now. Raises MilepostError."""
    statistics = await client.sessions.statistics()
    found: list[Session] = []
    async for session in client.sessions.list(states=_LIVING, page_size=limit):
        found.append(session)
        if len(found) == limit:
            break
    living = sum(one.sessions for one in statistics.states if one.state in _LIVING)
    free = asyncio.Semaphore(_AT_ONCE)

    async def row(session: Session) -> Row:
        async with free:
            try:
                return Row(session, await client.events.head(session.session_id))
            except NotFound:
                return Row(session, None)

    return View(statistics, list(await asyncio.gather(*map(row, found))), max(0, living - len(found)))


def picture(view: View) -> Group:
    """Everything, for a screen."""
    return Group(_summary(view), Text(), _workers(view), Text(), _sessions(view))


def _summary(view: View) -> Text:
    states = (
        f"{one.sessions} {enum_word(SessionState.Name(one.state), 'SESSION_STATE_')}" for one in view.statistics.states
    )
    store = "store unknown" if view.ingest_lag_s is None else f"store {view.ingest_lag_s:.2f} s behind the broker"
    lines = [
        f"sessions   {', '.join(states) or 'none'}",
        f"behind     {store}, session list {view.projection_lag} events behind the store",
    ]
    return Text("\n".join(lines))


def _workers(view: View) -> Table:
    table = Table("worker", "pool", box=None)
    for column in ("busy", "load", "memory left", "attempts", "lost"):
        table.add_column(column, justify="right")
    table.add_column("takes work")
    for worker in view.statistics.workers:
        if worker.present:
            table.add_row(Text(worker.worker_id), Text(worker.pool), *_of(worker), worker.closed_because or "yes")
    return table


def _of(worker: WorkerStatistics) -> tuple[str, ...]:
    return (
        f"{worker.busy}/{worker.slots}",
        f"{worker.cpu_load:.0%}",
        f"{worker.memory_free_bytes / _GIB:.1f} GiB",
        str(worker.attempts),
        str(worker.lost),
    )


def _sessions(view: View) -> Table:
    table = Table("session", "state", "worker", box=None)
    for column in ("simulated", "of", "pace", "vehicles", "watchers", "events"):
        table.add_column(column, justify="right")
    table.add_column("")
    for row in view.rows:
        session, progress = row.session, row.session.progress
        begun = progress.step > 0
        end = f"{progress.end_time_s - progress.begin_time_s:.0f} s" if progress.HasField("end_time_s") else ""
        table.add_row(
            Text(session.display_name or session.session_id),
            enum_word(SessionState.Name(session.state), "SESSION_STATE_"),
            Text(session.worker_id),
            f"{progress.sim_time_s - progress.begin_time_s:.0f} s" if begun else "",
            end if begun else "",
            f"{progress.real_time_factor:.1f}x" if progress.real_time_factor else "",
            str(progress.kpis.running) if begun else "",
            str(row.head.watchers) if row.head else "",
            str(row.head.head_seq) if row.head else "",
            Text(", ".join(session.conditions)),
        )
    if view.left_out:
        table.caption = f"and {view.left_out} more"
    return table
