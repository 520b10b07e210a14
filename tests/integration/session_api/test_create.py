"""CreateSession: what is filled in and what is refused of plans, milestones and policies."""

import uuid
from typing import Any

import pytest
from running_api import BEGIN_S, Api, refusal

from milepost.checkpoint.v1.checkpoint_pb2 import CheckpointPolicy, RecoveryPolicy
from milepost.event.v1.event_pb2 import SessionCompleted
from milepost.event.v1.record_pb2 import EventBatch
from milepost.session.v1 import session_service_pb2 as pb
from milepost.session.v1.session_pb2 import Engine, MilestoneRule, PhaseKind, PhaseStatus, PlannedPhase
from runtime.broker import binding, subject
from runtime.settings import DEFAULT_TENANT

pytestmark = pytest.mark.asyncio(loop_scope="module")

WARM_UP = PlannedPhase(name="warm", kind=PhaseKind.PHASE_KIND_WARM_UP, duration_s=60)
MEASURE = PlannedPhase(name="measure", kind=PhaseKind.PHASE_KIND_MEASURE, duration_s=120.5)


@pytest.fixture
def api(one_api: Api) -> Api:
    return one_api


async def test_a_session_with_a_plan_ends_with_its_last_phase(api: Api) -> None:
    session = await api.create(plan=[WARM_UP, MEASURE])
    assert session.scene.end_time_s == session.progress.end_time_s == BEGIN_S + 180.5
    assert [phase.planned.name for phase in session.phases] == ["warm", "measure"]
    assert {phase.status for phase in session.phases} == {PhaseStatus.PHASE_STATUS_PENDING}
    own = await api.create(plan=[WARM_UP, MEASURE], end_time_s=BEGIN_S + 90)
    assert own.scene.end_time_s == BEGIN_S + 90


async def test_recovery_is_exact_unless_told_otherwise(api: Api) -> None:
    assert (await api.create()).spec.recovery == RecoveryPolicy.RECOVERY_POLICY_EXACT
    fast = await api.create(recovery=RecoveryPolicy.RECOVERY_POLICY_FAST)
    assert fast.spec.recovery == RecoveryPolicy.RECOVERY_POLICY_FAST


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"plan": [WARM_UP, WARM_UP]}, "spec.plan"),
        ({"plan": [PlannedPhase(name="p", kind=PhaseKind.PHASE_KIND_MEASURE)]}, "spec.plan[0].duration_s"),
        ({"milestones": [MilestoneRule()]}, "spec.milestones[0].rule"),
        ({"checkpoints": CheckpointPolicy(every_sim_s=-1)}, "spec.checkpoints.every_sim_s"),
        ({"end_time_s": BEGIN_S}, "spec.end_time_s"),
        ({"recovery": RecoveryPolicy.RECOVERY_POLICY_REBASE}, "spec.checkpoints.every_sim_s"),
        (
            {
                "recovery": RecoveryPolicy.RECOVERY_POLICY_REBASE,
                "checkpoints": CheckpointPolicy(every_sim_s=60),
                "engine": Engine.ENGINE_TRACI,
            },
            "spec.recovery",
        ),
    ],
)
async def test_a_task_that_cannot_be_is_refused_by_its_field(api: Api, spec: dict[str, Any], field: str) -> None:
    refused = await refusal(api.create(**spec))
    assert (refused.reason, refused.fields) == ("FIELD_INVALID", [field])


async def test_a_request_made_again_when_the_broker_has_forgotten_its_log_has_its_first_answer(api: Api) -> None:
    spec = (await api.create(create_only=True)).spec
    request = pb.CreateSessionRequest(request_id=str(uuid.uuid4()), spec=spec)
    session = (await api.sessions.CreateSession(request)).session
    worker = await api.worker(session.session_id).begin()
    await worker.append(SessionCompleted())
    ended = await api.until(session.session_id, lambda now: now.HasField("end_time"))
    # As the store does it once nothing was added for an hour.
    log = subject(EventBatch, tenant=DEFAULT_TENANT, session=session.session_id)
    await api.events(session.session_id)
    await api.js.purge_stream(binding(EventBatch).stream, subject=log, keep=1)
    again = (await api.sessions.CreateSession(request)).session
    assert (again.session_id, again.end_time) == (session.session_id, ended.end_time)
    other = pb.CreateSessionRequest(session_id=session.session_id, spec=spec)
    assert (await refusal(api.sessions.CreateSession(other))).reason == "SESSION_EXISTS"
