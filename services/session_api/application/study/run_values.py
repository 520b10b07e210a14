"""What a run is worth: the KPIs that count, the objective over them, the constraints they break."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from milepost.kpi.v1.kpi_pb2 import Kpis
from milepost.options.v1 import options_pb2
from milepost.session.v1.session_pb2 import PhaseStatus, Session
from milepost.study.v1.study_pb2 import Objective
from session_api.domain.study.expressions import Expression
from session_api.domain.study.objective import Constraint, compile_constraint, compile_objective

KPI_CLASSES: Mapping[str, int] = {
    field.name: field.GetOptions().Extensions[options_pb2.kpi_class]
    for field in Kpis.DESCRIPTOR.fields
    if field.GetOptions().HasExtension(options_pb2.kpi_class)
}
"""What each KPI counts, by name."""
_NO_VEHICLES = -1.0


def kpi_values(kpis: Kpis) -> dict[str, float | None]:
    """KPIs by name; None: undefined, as no trip has ended, or no vehicle drives."""
    values: dict[str, float | None] = {name: float(getattr(kpis, name)) for name in KPI_CLASSES}
    if not kpis.trips:
        values |= {name: None for name, kind in KPI_CLASSES.items() if kind == options_pb2.KPI_CLASS_TRIP_MEAN}
    if kpis.mean_speed_mps == _NO_VEHICLES:
        values["mean_speed_mps"] = None
    return values


@dataclass(frozen=True, slots=True)
class RunValue:
    """What a run is worth."""

    kpis: Kpis
    value: float | None = None
    """None: undefined."""
    broken: tuple[int, ...] = ()
    """Constraints it breaks; one that is undefined is broken."""


@dataclass(frozen=True, slots=True)
class Measure:
    """An objective, ready to be applied."""

    objective: Expression
    constraints: tuple[Constraint, ...]
    phase: str

    @classmethod
    def of(cls, objective: Objective) -> "Measure":
        """Raises BadExpression."""
        names = frozenset(KPI_CLASSES)
        return cls(
            compile_objective(objective.expression, names),
            tuple(compile_constraint(one, names) for one in objective.constraints),
            objective.phase,
        )

    def __call__(self, kpis: Kpis) -> RunValue:
        """The value of a run with these KPIs."""
        values = kpi_values(kpis)
        broken = tuple(index for index, one in enumerate(self.constraints) if not one.holds(values))
        return RunValue(kpis, self.objective.value(values), broken)

    def kpis_of(self, session: Session) -> Kpis | None:
        """The KPIs of a session that count; None: the phase did not come to its end."""
        if not self.phase:
            return session.results.kpis
        done = (one for one in session.phases if one.planned.name == self.phase)
        return next((one.kpis for one in done if one.status == PhaseStatus.PHASE_STATUS_DONE), None)


@functools.lru_cache(maxsize=64)
def measure_of(serialised: bytes) -> Measure:
    """The measure of a serialised Objective that was checked before."""
    return Measure.of(Objective.FromString(serialised))
