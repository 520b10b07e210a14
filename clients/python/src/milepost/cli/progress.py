"""Following runs on a screen: a bar each at a terminal, a line now and then anywhere else."""

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, aclosing
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from milepost.cli.run_view import RunView
from milepost.client import Milepost
from milepost.event.v1.event_pb2 import Event
from milepost.event.v1.event_service_pb2 import CaughtUp, Terminal
from milepost.session.v1.session_pb2 import Session
from milepost.sessions import END_STATES
from milepost.watch_cursor import WatchItem

# How often a run that has not changed its state gets a line where there is no terminal, seconds.
_LINE_INTERVAL_S = 5.0


class Display(Protocol):
    """Shows how far runs are."""

    def show(self, view: RunView) -> None:
        """A run went on."""


class Nothing:
    """For programs, which read the result."""

    def show(self, view: RunView) -> None:
        """Show nothing."""


class Lines:
    """Where nobody looks at a terminal: a line when a state changes and every few seconds."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[str, float]] = {}

    def show(self, view: RunView) -> None:
        """Print a line when it is due."""
        state, said_at = self._said.get(view.session_id, ("", 0.0))
        now = time.monotonic()
        if view.state == state and now - said_at < _LINE_INTERVAL_S:
            return
        self._said[view.session_id] = (view.state, now)
        sys.stderr.write(f"{view.name}: {view.state}, {_clock(view)}, {_vehicles(view)}, {_pace(view)} real time\n")


class Bars:
    """At a terminal: a bar per run. A context manager; the bars stay when it ends."""

    def __init__(self) -> None:
        self._progress = Progress(
            # A session's name is text, not markup.
            TextColumn("{task.description}", style="bold", markup=False),
            TextColumn("{task.fields[state]:<9}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[clock]:>15}"),
            TextColumn("{task.fields[vehicles]:>13}"),
            TextColumn("{task.fields[pace]:>6}"),
            console=Console(stderr=True),
            expand=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def show(self, view: RunView) -> None:
        """Move the run's bar."""
        fields: dict[str, Any] = {
            "state": view.state,
            "clock": _clock(view),
            "vehicles": _vehicles(view),
            "pace": _pace(view),
        }
        total = None if view.end_s is None else view.end_s - view.begin_s
        if view.session_id not in self._tasks:
            self._tasks[view.session_id] = self._progress.add_task(view.name, total=total, **fields)
        task = self._tasks[view.session_id]
        done = view.sim_time_s - view.begin_s
        if view.state == "completed":
            total = done
        self._progress.update(task, total=total, completed=done, **fields)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self._progress.stop()


def display(*, quiet: bool, stack: ExitStack) -> Display:
    """The display that fits; `stack` ends it."""
    if quiet:
        return Nothing()
    return stack.enter_context(Bars()) if sys.stderr.isatty() else Lines()


async def follow(
    client: Milepost,
    session: Session,
    shown: Display,
    *,
    after_seq: int = 0,
    on_item: Callable[[WatchItem], None] | None = None,
) -> Session:
    """Show a session until its end; the FULL session then. Raises MilepostError."""
    view, end_seq = RunView.of(session), 0
    told_seq, rest_seq = after_seq, None
    shown.show(view)
    async with aclosing(client.events.watch(session.session_id, after_seq=after_seq)) as items:
        async for item in items:
            if on_item is not None:
                on_item(item)
            if isinstance(item, Event):
                view.apply(item)
                shown.show(view)
                told_seq = item.seq
            elif isinstance(item, Terminal):
                end_seq = item.seq
            elif isinstance(item, CaughtUp):
                # What is said of a session after its end (a fork, a new name) hides the end from its watchers.
                session = await client.sessions.get(session.session_id, full=True, min_seq=item.seq)
                told_seq = max(told_seq, item.seq)
                # The answer may know of more than has been told: the end is the end once it was shown.
                rest_seq = session.seq if session.state in END_STATES else None
            if rest_seq is not None and told_seq >= rest_seq:
                return session
    # What is stored may not have reached the session API yet.
    return await client.sessions.get(session.session_id, full=True, min_seq=end_seq)


def _clock(view: RunView) -> str:
    return f"{view.sim_time_s:.0f} s" if view.end_s is None else f"{view.sim_time_s:.0f} / {view.end_s:.0f} s"


def _vehicles(view: RunView) -> str:
    return f"{view.kpis.running} vehicles"


def _pace(view: RunView) -> str:
    return f"{view.real_time_factor:.0f} x"
