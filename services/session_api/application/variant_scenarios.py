"""Stub."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from milepost.scenario.v1.scenario_pb2 import ScenarioFile, SumoOption
from milepost.study.v1.study_pb2 import StudyBase
from runtime.errors import FieldViolation
from session_api.application.delete_scenario import no_scenario
from session_api.gateways.scenarios_sql import Scenarios


@dataclass(frozen=True, slots=True)
class Wanted:
    """A patch."""

    path: str
    parameters: dict[str, float | str | bool]
    files: list[ScenarioFile]


@dataclass(frozen=True, slots=True)
class MadeScenario:
    """A scenario."""

    digest: str
    options: list[SumoOption] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Made:
    """All."""

    scenarios: list[MadeScenario]
    violations: list[FieldViolation]


@dataclass(frozen=True, slots=True)
class VariantScenarios:
    """From patches to scenarios."""

    scenarios: Scenarios

    async def __call__(self, tenant: str, base: StudyBase, wanted: Sequence[Wanted]) -> Made:
        """Made."""
        if await self.scenarios.get(tenant, base.scenario_digest) is None:
            raise no_scenario(base.scenario_digest)
        return Made([MadeScenario(base.scenario_digest) for _ in wanted], [])
