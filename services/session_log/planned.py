"""Interventions that are planned: part of the inputs, applied at their times by whoever simulates the session.

At one step: what is planned, then the journal of commands. A fork has what was planned for its parent up to its own
place, then its own; at the very step of the fork its parent's journal stands between the two (JournalEntry).
"""

from collections.abc import Sequence
from typing import Final

from milepost.event.v1.event_pb2 import JournalEntry
from milepost.intervention.v1.intervention_pb2 import Intervention
from milepost.scenario.v1.scenario_pb2 import Scene
from milepost.session.v1.session_pb2 import PlannedIntervention, SessionSpec

# SUMO counts time in milliseconds.
_MS_PER_S: Final = 1000


def whole_ms(time_s: float) -> int:
    """A simulated time as SUMO counts it: two that differ by less mean the same."""
    return round(time_s * _MS_PER_S)


def in_order(planned: Sequence[PlannedIntervention]) -> list[PlannedIntervention]:
    """As they are applied: by time, of equal times the earlier in the list first."""
    return sorted(planned, key=lambda one: whole_ms(one.at_time_s))


def step_of(planned: PlannedIntervention, scene: Scene) -> int:
    """The first step at or after its time; 0 for a time before the begin."""
    begin_ms, step_ms = whole_ms(scene.begin_time_s), whole_ms(scene.step_length_s)
    return max(0, -(-(whole_ms(planned.at_time_s) - begin_ms) // step_ms))


def planned_before(spec: SessionSpec, scene: Scene, step: int) -> int:
    """How many are due before a step."""
    return sum(step_of(one, scene) < step for one in spec.interventions)


def planned_up_to(spec: SessionSpec, scene: Scene, step: int) -> int:
    """How many are due before a step or at it."""
    return planned_before(spec, scene, step + 1)


def end_of(spec: SessionSpec, scene: Scene) -> float | None:
    """Where a run ends, simulated s; None: when its network is empty."""
    ends = [scene.end_time_s] if scene.HasField("end_time_s") else []
    ends += [spec.stop_time_s] if spec.HasField("stop_time_s") else []
    return min(ends, default=None)


def as_applied(
    planned: Sequence[PlannedIntervention], journal: Sequence[JournalEntry], scene: Scene
) -> list[Intervention]:
    """The first of a plan, `in_order`, and of a journal, in the one order in which they were applied."""
    applied: list[Intervention] = []
    rest = list(planned)
    for entry in journal:
        bound = entry.planned_length if entry.HasField("planned_length") else len(planned)
        while rest and step_of(rest[0], scene) <= entry.step and len(planned) - len(rest) < bound:
            applied.append(rest.pop(0).intervention)
        applied.append(entry.intervention)
    return [*applied, *(one.intervention for one in rest)]
