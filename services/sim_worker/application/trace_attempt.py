"""What a trace tells of an attempt: its loading, and its intervals in stretches.

session.attempt ─┬─ session.load        from the plan to the first word of the simulation
├─ session.intervals   the first interval alone
└─ session.intervals   as many as close in STRETCH_S, and so on
"""

from __future__ import annotations

import time

from milepost.event.v1.event_pb2 import StartKind
from runtime import traces
from sim_worker.application.session import Session, Start

# How much wall time the intervals of one span cover, seconds: a long run is hundreds of spans, not millions.
STRETCH_S = 5.0


class TraceAttempt:
    """Spans of one process that simulates, from its beginning to its end; all of it nothing while traces are off."""

    def __init__(self, session: Session, start: Start) -> None:
        """Made in the attempt's span."""
        self._on = traces.enabled()
        self._session_id = session.attempt.session_id
        self._attempt = traces.current()
        self._since_ns = time.time_ns() if self._on else 0
        self._first = True
        self._intervals = 0
        self._from_step = start.step
        self._step = start.step
        self._load = traces.begin(
            "session.load",
            session_id=self._session_id,
            start=StartKind.Name(start.kind).removeprefix("START_KIND_"),
            start_step=start.step,
        )

    def started(self) -> None:
        """The scene is loaded."""
        self._load.end()
        if self._on:
            self._since_ns = time.time_ns()

    def interval(self, step: int) -> None:
        """An interval was closed at a step."""
        if not self._on:
            return
        self._step = step
        self._intervals += 1
        if self._first or time.time_ns() - self._since_ns > STRETCH_S * 1e9:
            self._first = False
            self._tell()

    def close(self) -> None:
        """The process is gone."""
        if self._on:
            if self._load.is_recording():
                # It never started.
                self._load.end()
            self._tell()

    def _tell(self) -> None:
        if self._intervals:
            traces.happened(
                "session.intervals",
                parent=self._attempt,
                since_ns=self._since_ns,
                session_id=self._session_id,
                intervals=self._intervals,
                from_step=self._from_step,
                to_step=self._step,
            )
        self._since_ns, self._from_step, self._intervals = time.time_ns(), self._step, 0
