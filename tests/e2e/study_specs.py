"""Studies of the bundled city, and how they are refused."""

import pytest

from milepost.exceptions import MilepostError
from milepost.scenario.v1.scenario_pb2 import SumoOption
from milepost.session.v1.session_pb2 import SessionSpec
from milepost.study.v1.study_pb2 import (
    Design,
    Objective,
    Patch,
    StudyBase,
    StudySpec,
    Variant,
)
from milepost.study.v1.study_service_pb2 import CreateStudyRequest
from stack import RunningStack

# The bundled city begins at seven; three minutes of it are enough to tell demand apart.
BEGIN_S = 25200.0
END_S = BEGIN_S + 180.0
# Less demand, fewer vehicles under way: their true order, best first.
SCALES = ("0.4", "0.7", "1", "1.3")


def option(name: str, value: str) -> Patch:
    return Patch(options=[SumoOption(name=name, value=value)])


def demand(name: str, value: str) -> Variant:
    return Variant(name=name, patch=option("scale", value))


def spec_of(digest: str, *, seeds: range, design: Design | None = None, **fields: object) -> StudySpec:
    """Four variants of known order; the baseline is the city as it is."""
    return StudySpec(
        base=StudyBase(scenario_digest=digest),
        variants=[demand(f"x{scale}", scale) for scale in reversed(SCALES)],
        seeds=list(seeds),
        objective=Objective(expression="running + mean_time_loss_s", constraints=["teleports <= 1000"]),
        design=design or Design(baseline="x1", map_seeds=0),
        session=SessionSpec(end_time_s=END_S),
        **fields,
    )


async def refused(stack: RunningStack, spec: StudySpec, *fields: str) -> None:
    with pytest.raises(MilepostError) as error:
        await stack.client.studies.create(CreateStudyRequest(spec=spec))
    assert {one.field for one in error.value.violations} >= set(fields), error.value
