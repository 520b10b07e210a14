"""Following a study on a screen: a bar at a terminal, a line now and then anywhere else; decisions as lines."""

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, aclosing
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from milepost.client import Milepost
from milepost.study.v1.study_pb2 import Study, StudyProgress
from milepost.study.v1.study_service_pb2 import WatchStudyResponse

# How often a study that goes on gets a line where there is no terminal, seconds.
_LINE_INTERVAL_S = 5.0


class Display(Protocol):
    """Shows how far a study is."""

    def show(self, message: WatchStudyResponse) -> None:
        """It went on."""


class Nothing:
    """For programs, which read the result."""

    def show(self, message: WatchStudyResponse) -> None:
        """Show nothing."""


class Lines:
    """Where nobody looks at a terminal: each decision, and how far it is every few seconds."""

    def __init__(self) -> None:
        self._said = ""
        self._said_at = -_LINE_INTERVAL_S

    def show(self, message: WatchStudyResponse) -> None:
        """Print what is due."""
        for text in _news(message):
            sys.stderr.write(f"{text}\n")
        words, now = progress_words(message.study), time.monotonic()
        if not message.study.progress.cells:
            return
        if words != self._said and now - self._said_at >= _LINE_INTERVAL_S:
            self._said, self._said_at = words, now
            sys.stderr.write(f"{words}\n")


class Bar:
    """At a terminal: a bar, with decisions above it. A context manager; the bar stays when it ends."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, markup=False, highlight=False)
        self._progress = Progress(
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[words]}", markup=False),
            console=self._console,
            expand=True,
        )
        self._task = self._progress.add_task("", total=None, words="")

    def show(self, message: WatchStudyResponse) -> None:
        """Move the bar."""
        for text in _news(message):
            self._console.print(text)
        progress = message.study.progress
        self._progress.update(
            self._task,
            total=progress.cells or None,
            completed=progress.done + progress.failed,
            words=progress_words(message.study),
        )

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
    return stack.enter_context(Bar()) if sys.stderr.isatty() else Lines()


async def follow(
    client: Milepost,
    study_id: str,
    shown: Display,
    *,
    after_seq: int = 0,
    on_message: Callable[[WatchStudyResponse], None] | None = None,
) -> Study:
    """Show a study until its end; the study then. Raises MilepostError."""
    study = Study()
    watching = client.studies.watch(study_id, after_seq=after_seq, with_ranking=on_message is not None)
    async with aclosing(watching) as messages:
        async for message in messages:
            study = message.study
            shown.show(message)
            if on_message is not None:
                on_message(message)
    return study


def progress_words(study: Study) -> str:
    """How far a study is, as one line; counts that are nought are left out but for the first."""
    progress = study.progress
    counts = (
        ("cached", progress.cached),
        ("failed", progress.failed),
        ("running", progress.running),
        ("waiting", progress.waiting),
        ("variants dropped", progress.dropped_variants),
    )
    parts = [f"{progress.done}/{progress.cells} done", *(f"{count} {word}" for word, count in counts if count)]
    if progress.HasField("eta_s") and _goes_on(progress):
        parts.append(f"about {clock_words(progress.eta_s)} left")
    return ", ".join([*parts, *study.conditions])


def clock_words(seconds: float) -> str:
    """A stretch of wall time for humans."""
    minutes, rest_s = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest_s:02} s" if minutes else f"{rest_s} s"


def _news(message: WatchStudyResponse) -> list[str]:
    """Decisions, but for the answer: that is told with the ranking."""
    return [decision.text for decision in message.decisions if decision.text != message.study.answer]


def _goes_on(progress: StudyProgress) -> bool:
    return progress.done + progress.failed < progress.cells
