"""ForkSession: a new log that begins with another's past."""

import asyncio
import math
import uuid
from typing import Any

import pytest
from running_api import BEGIN_S, Api, PlayedWorker, refusal

from milepost.event.v1.event_pb2 import ForkPast, SessionCompleted
from milepost.intervention.v1.intervention_pb2 import Intervention, ScaleDemand
from milepost.session.v1 import session_service_pb2 as pb
from milepost.session.v1.session_pb2 import PlannedIntervention, SessionState
from runtime.blobs import Blobs

pytestmark = [pytest.mark.any_database, pytest.mark.asyncio(loop_scope="module")]

DEADLINE_S = 20


@pytest.fixture
def api(one_api: Api) -> Api:
    return one_api


async def past_of(api: Api, child: Any) -> ForkPast:
    """From the child's first event, or from the blob that it names."""
    first = (await api.events(child.session_id))[0].session_created
    assert first.HasField("fork_past") != bool(child.forked_from.past_sha256)
    if first.HasField("fork_past"):
        return first.fork_past
    content = await Blobs(api.store.blobs).get_bytes(child.forked_from.past_sha256, limit_bytes=1 << 20)
    return ForkPast.FromString(content)


async def intervened(api: Api, worker: PlayedWorker, factor: float) -> None:
    request = pb.ApplyInterventionRequest(session_id=worker.session_id)
    request.intervention.scale_demand.factor = factor
    call = asyncio.ensure_future(api.sessions.ApplyIntervention(request, timeout=DEADLINE_S))
    await worker.apply()
    await call


async def parent(api: Api, **spec: Any) -> PlayedWorker:
    """Simulated to step 60, with interventions at 20 and 40."""
    worker = await api.running(20, **spec)
    await intervened(api, worker, 2)
    await worker.simulate(40)
    await intervened(api, worker, 4)
    await worker.simulate(60)
    return worker


async def test_a_fork_at_a_time_brings_along_exactly_the_past_up_to_it(api: Api) -> None:
    worker = await parent(api, seed=3)
    change = Intervention(scale_demand=ScaleDemand(factor=9))
    request = pb.ForkSessionRequest(
        session_id=worker.session_id,
        sim_time_s=BEGIN_S + 34.5,
        new_session_id="child",
        labels={"k": "v"},
        end_time_s=BEGIN_S + 90,
        interventions=[change],
    )
    child = (await api.sessions.ForkSession(request)).session
    assert (child.session_id, child.state) == ("child", SessionState.SESSION_STATE_PENDING)
    assert (child.forked_from.session_id, child.forked_from.run) == (worker.session_id, 1)
    assert (child.forked_from.step, child.forked_from.sim_time_s) == (35, BEGIN_S + 35)
    assert (child.progress.step, child.spec.seed, child.scene.end_time_s) == (35, 3, BEGIN_S + 90)
    assert dict(child.labels) == {"k": "v"}
    past = await past_of(api, child)
    assert (past.sumo_version, past.libm_fingerprint) == ("1.28.0", "libm")
    assert [(entry.step, entry.intervention.scale_demand.factor) for entry in past.journal] == [(20, 2)]
    assert (past.digest_step, past.state_digest) == (30, (30).to_bytes(16, "big"))
    created, asked = await api.events("child")
    assert created.HasField("session_created")
    assert asked.command_requested.intervene == change
    assert (await api.reader.read("default", "child")).life.open_commands
    assert (await api.kinds(worker.session_id))[-3:] == ["command_requested", "session_forked", "command_applied"]
    assert (await api.until(worker.session_id, lambda s: s.forks)).forks == ["child"]


async def test_a_large_past_travels_as_a_blob(api: Api) -> None:
    worker = await api.running(20)
    change = await api.change_much(worker)
    await worker.simulate(40)
    request = pb.ForkSessionRequest(session_id=worker.session_id, sim_time_s=BEGIN_S + 30)
    child = (await api.sessions.ForkSession(request)).session
    assert child.forked_from.past_sha256
    assert [entry.intervention for entry in (await past_of(api, child)).journal] == [change]
    await api.worker(child.session_id).begin(step=30)
    again = pb.ForkSessionRequest(session_id=child.session_id, sim_time_s=BEGIN_S + 30)
    grandchild = (await api.sessions.ForkSession(again)).session
    assert await past_of(api, grandchild) == await past_of(api, child)


async def test_a_fork_of_a_fork_has_the_whole_journal_and_needs_no_parent(api: Api) -> None:
    worker = await parent(api)
    request = pb.ForkSessionRequest(session_id=worker.session_id, sim_time_s=BEGIN_S + 40)
    child = (await api.sessions.ForkSession(request)).session
    second = await api.worker(child.session_id).begin(40)
    await intervened(api, second, 8)
    at_once = pb.ForkSessionRequest(session_id=child.session_id, sim_time_s=BEGIN_S + 40)
    grandchild = (await api.sessions.ForkSession(at_once)).session
    past = await past_of(api, grandchild)
    assert [(entry.step, entry.intervention.scale_demand.factor) for entry in past.journal] == [
        (20, 2),
        (40, 4),
        (40, 8),
    ]
    assert (past.digest_step, past.sumo_version) == (40, "1.28.0")
    await second.simulate(60)
    earlier = pb.ForkSessionRequest(session_id=child.session_id, sim_time_s=BEGIN_S + 25)
    past = await past_of(api, (await api.sessions.ForkSession(earlier)).session)
    assert [entry.step for entry in past.journal] == [20]
    later = pb.ForkSessionRequest(session_id=child.session_id, sim_time_s=BEGIN_S + 55)
    past = await past_of(api, (await api.sessions.ForkSession(later)).session)
    assert ([entry.step for entry in past.journal], past.digest_step) == ([20, 40, 40], 50)


async def test_a_fork_of_a_running_session_here_and_now_makes_a_checkpoint_first(api: Api) -> None:
    worker = await parent(api)
    request = pb.ForkSessionRequest(session_id=worker.session_id, request_id=str(uuid.uuid4()))
    call = asyncio.ensure_future(api.sessions.ForkSession(request, timeout=DEADLINE_S))
    made = await worker.make_checkpoint()
    child = (await call).session
    assert (child.forked_from.step, made.journal_length) == (60, 2)
    assert len((await past_of(api, child)).journal) == 2
    await worker.simulate(90)
    again = (await api.sessions.ForkSession(request)).session
    assert again.session_id == child.session_id


async def test_a_fork_whose_checkpoint_comes_late_is_completed_by_the_same_request(api: Api) -> None:
    worker = await parent(api)
    request = pb.ForkSessionRequest(session_id=worker.session_id, request_id=str(uuid.uuid4()))
    assert (await refusal(api.sessions.ForkSession(request, timeout=0.9))).reason == "NOT_STORED_YET"
    await worker.make_checkpoint()
    await worker.simulate(90)
    assert (await api.sessions.ForkSession(request)).session.forked_from.step == 60


async def test_the_fork_of_a_completed_session_wants_a_later_end_and_drops_the_interval_closed_early(api: Api) -> None:
    worker = await api.running(25, end_time_s=BEGIN_S + 25)
    await worker.append(SessionCompleted())
    refused = await refusal(api.sessions.ForkSession(pb.ForkSessionRequest(session_id=worker.session_id)))
    assert (refused.reason, refused.fields) == ("FIELD_INVALID", ["end_time_s"])
    request = pb.ForkSessionRequest(session_id=worker.session_id, end_time_s=BEGIN_S + 50)
    child = (await api.sessions.ForkSession(request)).session
    assert child.forked_from.step == 25
    assert (await past_of(api, child)).digest_step == 20


async def test_a_fork_asked_for_again_is_the_same_session_and_one_id_is_one_request(api: Api) -> None:
    worker = await parent(api)
    request = pb.ForkSessionRequest(session_id=worker.session_id, sim_time_s=BEGIN_S + 20, request_id=str(uuid.uuid4()))
    children = await asyncio.gather(*(api.sessions.ForkSession(request) for _ in range(4)))
    assert len({child.session.session_id for child in children}) == 1
    assert (await api.kinds(worker.session_id)).count("session_forked") == 1
    request.sim_time_s = BEGIN_S + 30
    assert (await refusal(api.sessions.ForkSession(request))).reason == "REQUEST_ID_REUSED"


async def test_a_fork_that_cannot_be_leaves_nothing_behind(api: Api) -> None:
    worker = await parent(api)
    name = worker.session_id
    before = await api.kinds(name)
    for request, reason in (
        (pb.ForkSessionRequest(session_id=name, sim_time_s=BEGIN_S + 61, new_session_id="unborn"), "TIME_NOT_REACHED"),
        (pb.ForkSessionRequest(session_id=name, checkpoint_id="none", new_session_id="unborn"), "CHECKPOINT_NOT_FOUND"),
        (pb.ForkSessionRequest(session_id=name, sim_time_s=BEGIN_S + 10, new_session_id=name), "SESSION_EXISTS"),
        (pb.ForkSessionRequest(session_id="nobody"), "SESSION_NOT_FOUND"),
    ):
        assert (await refusal(api.sessions.ForkSession(request))).reason == reason
    assert (
        await refusal(api.sessions.GetSession(pb.GetSessionRequest(session_id="unborn")))
    ).reason == "SESSION_NOT_FOUND"
    assert await api.kinds(name) == before
    waiting = await api.create()
    refused = await refusal(api.sessions.ForkSession(pb.ForkSessionRequest(session_id=waiting.session_id)))
    assert (refused.reason, refused.metadata["from"]) == ("INVALID_TRANSITION", "PENDING")


def planned(at_s: float, factor: float) -> PlannedIntervention:
    change = Intervention(scale_demand=ScaleDemand(factor=factor))
    return PlannedIntervention(at_time_s=BEGIN_S + at_s, intervention=change)


def plan_of(child: Any) -> list[tuple[float, float]]:
    """Times after the begin, and factors."""
    return [(one.at_time_s - BEGIN_S, one.intervention.scale_demand.factor) for one in child.spec.interventions]


async def test_a_fork_keeps_what_was_applied_of_a_plan_and_may_have_another_after_it(api: Api) -> None:
    worker = await parent(api, interventions=[planned(50, 5), planned(40, 4), planned(12, 1), planned(70, 7)])

    async def forked(at_s: float, *asked: PlannedIntervention, replan: bool = False) -> Any:
        request = pb.ForkSessionRequest(session_id=worker.session_id, sim_time_s=BEGIN_S + at_s, replan=replan)
        request.planned_interventions.extend(asked)
        return (await api.sessions.ForkSession(request)).session

    child = await forked(40)
    assert plan_of(child) == [(50, 5), (40, 4), (12, 1), (70, 7)]
    assert (
        len(
            (
                await api.sessions.GetSession(pb.GetSessionRequest(session_id=child.session_id))
            ).session.spec.interventions
        )
        == 4
    )
    # A page of plans could be larger than any message.
    listed = (await api.sessions.ListSessions(pb.ListSessionsRequest())).sessions
    assert not any(session.spec.interventions for session in listed)
    past = await past_of(api, child)
    # At the very step of the fork its parent's journal comes before what the fork alone has planned.
    assert past.planned_length == 2
    assert [entry.planned_length for entry in past.journal if entry.HasField("planned_length")] == [2]
    assert plan_of(await forked(40, replan=True)) == [(12, 1), (40, 4)]
    assert plan_of(await forked(40, planned(60, 6), planned(40, 9))) == [(12, 1), (40, 4), (40, 9), (60, 6)]
    # Between two steps: applied at the second of them, where the fork is.
    assert plan_of(await forked(39.5, planned(39.5, 9))) == [(12, 1), (40, 4), (40, 9)]


async def test_what_was_planned_for_the_very_end_is_not_applied_by_then(api: Api) -> None:
    worker = await api.running(20, end_time_s=BEGIN_S + 20, interventions=[planned(10, 1), planned(20, 2)])
    await worker.append(SessionCompleted())
    request = pb.ForkSessionRequest(session_id=worker.session_id, end_time_s=BEGIN_S + 50)
    child = (await api.sessions.ForkSession(request)).session
    assert ((await past_of(api, child)).planned_length, len(plan_of(child))) == (1, 2)
    request.replan = True
    assert plan_of((await api.sessions.ForkSession(request)).session) == [(10, 1)]


async def test_what_is_planned_before_a_fork_is_refused_by_its_place(api: Api) -> None:
    worker = await parent(api)
    request = pb.ForkSessionRequest(session_id=worker.session_id, sim_time_s=BEGIN_S + 40)
    request.planned_interventions.extend([planned(40, 1), planned(39, 1), planned(0, 1)])
    refused = await refusal(api.sessions.ForkSession(request))
    places = [f"planned_interventions[{index}].at_time_s" for index in (1, 2)]
    assert (refused.reason, refused.fields) == ("FIELD_INVALID", places)


@pytest.mark.parametrize("time_s", [math.inf, -math.inf, math.nan])
async def test_a_place_in_the_past_has_a_time_that_is_a_number(api: Api, time_s: float) -> None:
    worker = await api.running(20)
    where = {"session_id": worker.session_id, "sim_time_s": time_s}
    for call in (
        api.sessions.ForkSession(pb.ForkSessionRequest(**where)),
        api.sessions.RollbackSession(pb.RollbackSessionRequest(**where)),
        api.sessions.GetSessionState(pb.GetSessionStateRequest(**where)),
    ):
        refused = await refusal(call)
        assert (refused.reason, refused.fields) == ("FIELD_INVALID", ["sim_time_s"])
