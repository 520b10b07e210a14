"""Which intervals of a log are those of one run: its own, and those it inherited from the runs it continues.

For whoever reads a log row by row: what is decided here needs the few events of HEADER_KINDS, never the intervals.
The rule is that of past.py, which recovery is judged by.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from milepost.event.v1.event_pb2 import Event, EventKind
from session_log.fold_past import past_of

HEADER_KINDS = (
    EventKind.EVENT_KIND_SESSION_CREATED,
    EventKind.EVENT_KIND_SESSION_UPDATED,
    EventKind.EVENT_KIND_RUN_OPENED,
)
"""Kinds a record is made of."""

# Times are sums of steps: two that mean the same instant differ by less, seconds.
_SAME_S = 1e-6


@dataclass(frozen=True, slots=True)
class PhaseSpan:
    """A phase as planned: what ends in begin_s < t <= end_s is its own, simulated seconds."""

    name: str
    begin_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class RunRecord:
    """Tells which SIMULATION events of a log belong to a run."""

    run: int
    begin_s: float
    """Where the simulation begins, simulated seconds."""
    from_origin: bool
    """Whether its first interval is the simulation's first; a fork's is not, nor that of a run whose past was cut."""
    inherited: Mapping[int, int]
    """How far earlier runs belong to it, steps by run."""
    interval_steps: int
    phases: tuple[PhaseSpan, ...]

    def holds_interval(self, run: int, step: int) -> bool:
        """Whether an interval that ends at a step of a run is one of this run's.

        An interval that an earlier run closed early, because it ended there, is not part of a longer one.
        """
        if run == self.run:
            return True
        return step <= self.inherited.get(run, -1) and step % self.interval_steps == 0

    def holds_phase_end(self, run: int, step: int, sim_time_s: float, phase: int) -> bool:
        """Whether a PhaseEnded is one of this run's."""
        if run == self.run:
            return True
        whole = phase < len(self.phases) and sim_time_s >= self.phases[phase].end_s - _SAME_S
        return step <= self.inherited.get(run, -1) and whole

    def phase_at(self, sim_time_s: float) -> PhaseSpan | None:
        """The phase in which an interval ends."""
        for phase in self.phases:
            if phase.begin_s + _SAME_S < sim_time_s <= phase.end_s + _SAME_S:
                return phase
        return None


def run_record(events: Iterable[Event], run: int) -> RunRecord | None:
    """The record of a run (0: the latest), from a log's events of HEADER_KINDS; None when there is no such run.

    A log of which the beginning is not kept any more tells what is left of its latest runs.
    """
    headers = list(events)
    opened = [event.run_opened for event in headers if event.HasField("run_opened")]
    wanted = run or max((one.run for one in opened), default=1)
    try:
        past = past_of(headers, wanted)
    except ValueError:
        return None
    spans, begin_s = [], past.scene.begin_time_s
    for planned in past.spec.plan:
        spans.append(PhaseSpan(planned.name, begin_s, begin_s + planned.duration_s))
        begin_s += planned.duration_s
    root = past.ancestors[-1].run if past.ancestors else wanted
    begins_at = next((one.step for one in opened if one.run == root), past.created.forked_from.step)
    return RunRecord(
        run=wanted,
        begin_s=past.scene.begin_time_s,
        from_origin=begins_at == 0,
        inherited={reach.run: reach.step for reach in past.ancestors},
        interval_steps=max(1, past.spec.interval_steps),
        phases=tuple(spans),
    )
