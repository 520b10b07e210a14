"""Commands a worker carries out at a step boundary: checkpoints, interventions, pace."""

import asyncio
import uuid
from collections.abc import Awaitable
from typing import Any

import pytest
from running_api import BEGIN_S, Api, PlayedWorker, refusal

from milepost.dispatch.v1.dispatch_pb2 import WorkerAnswer, WorkerQuestion
from milepost.event.v1.event_pb2 import CommandApplied, CommandRejected, Paused, SessionCompleted
from milepost.session.v1 import session_service_pb2 as pb
from milepost.session.v1.session_pb2 import SessionState
from runtime.broker import subject

pytestmark = [pytest.mark.any_database, pytest.mark.asyncio(loop_scope="module")]

DEADLINE_S = 20


@pytest.fixture
def api(one_api: Api) -> Api:
    return one_api


def scale(session_id: str, factor: float = 2, **fields: Any) -> Any:
    request = pb.ApplyInterventionRequest(session_id=session_id, **fields)
    request.intervention.scale_demand.factor = factor
    return request


def begun(call: Awaitable[Any]) -> "asyncio.Future[Any]":
    return asyncio.ensure_future(call)


async def checkpointed(api: Api, worker: PlayedWorker, **fields: Any) -> Any:
    request = pb.CreateCheckpointRequest(session_id=worker.session_id, **fields)
    call = begun(api.sessions.CreateCheckpoint(request, timeout=DEADLINE_S))
    await worker.make_checkpoint()
    return (await call).checkpoint


async def test_an_intervention_is_answered_with_the_step_it_was_applied_at(api: Api) -> None:
    worker = await api.running(20)
    call = begun(api.sessions.ApplyIntervention(scale(worker.session_id, comment="why"), timeout=DEADLINE_S))
    command = await worker.next_command()
    assert (command.comment, command.intervene.scale_demand.factor) == ("why", 2)
    await worker.simulate(30)
    await worker.append(CommandApplied(command_id=command.command_id))
    answer = await call
    assert (answer.applied, answer.step, answer.sim_time_s) == (True, 30, BEGIN_S + 30)
    assert answer.command_id == command.command_id
    assert (await api.events(worker.session_id))[answer.seq - 1].HasField("command_applied")


async def test_an_intervention_the_worker_rejects_is_refused_in_its_words(api: Api) -> None:
    worker = await api.running(20)
    call = begun(refusal(api.sessions.ApplyIntervention(scale(worker.session_id), timeout=DEADLINE_S)))
    command = await worker.next_command()
    await worker.append(CommandRejected(command_id=command.command_id, message="no such edge", field="edge_ids"))
    refused = await call
    assert refused.reason == "COMMAND_REJECTED"
    assert refused.metadata == {"command_id": command.command_id, "field": "edge_ids"}
    assert refused.fields == ["edge_ids"]


async def test_an_outcome_is_found_also_when_it_came_before_the_call(api: Api) -> None:
    worker = await api.running(20)
    request = scale(worker.session_id, request_id=str(uuid.uuid4()))
    unanswered = await api.sessions.ApplyIntervention(request, timeout=0.8)
    assert not unanswered.applied
    await worker.apply()
    await worker.simulate(40)
    answer = await api.sessions.ApplyIntervention(request, timeout=DEADLINE_S)
    assert (answer.applied, answer.step) == (True, 20)
    assert (await api.kinds(worker.session_id)).count("command_requested") == 1
    other = await refusal(api.sessions.ApplyIntervention(scale(worker.session_id, 3, request_id=request.request_id)))
    assert other.reason == "REQUEST_ID_REUSED"


async def test_commands_asked_for_at_once_all_stand_in_the_log_and_each_gets_its_own_outcome(api: Api) -> None:
    worker = await api.running(20)
    calls = [
        begun(api.sessions.ApplyIntervention(scale(worker.session_id, n), timeout=DEADLINE_S)) for n in range(1, 6)
    ]
    for n in range(1, 6):
        await worker.apply()
        await worker.simulate(20 + 10 * n)
    answers = await asyncio.gather(*calls)
    assert sorted(answer.step for answer in answers) == [20, 30, 40, 50, 60]
    assert len({answer.command_id for answer in answers}) == 5


async def test_an_intervention_in_a_state_that_does_not_step_is_refused(api: Api) -> None:
    session = await api.create(create_only=True)
    refused = await refusal(api.sessions.ApplyIntervention(scale(session.session_id)))
    assert (refused.reason, refused.metadata["from"]) == ("INVALID_TRANSITION", "CREATED")
    dry = await refusal(api.sessions.ApplyIntervention(scale(session.session_id, validate_only=True)))
    assert dry.reason == "INVALID_TRANSITION"


async def test_a_dry_run_asks_the_worker_and_leaves_no_trace(api: Api) -> None:
    worker = await api.running(20)
    dry = scale(worker.session_id, validate_only=True)
    assert (await refusal(api.sessions.ApplyIntervention(dry))).reason == "NO_WORKER"
    answers = [WorkerAnswer(running=True), WorkerAnswer(running=True, refused="no such edge", field="place.edge_ids")]
    asked = []

    async def answer(message: Any) -> None:
        asked.append(WorkerQuestion.FromString(message.data).check_intervention)
        await message.respond(answers[len(asked) - 1].SerializeToString())

    await api.broker.subscribe(subject(WorkerQuestion, worker="w"), cb=answer)
    await api.broker.flush()
    assert not (await api.sessions.ApplyIntervention(dry)).applied
    refused = await refusal(api.sessions.ApplyIntervention(dry))
    assert (refused.reason, refused.metadata, refused.fields) == (
        "INTERVENTION_INVALID",
        {"field": "place.edge_ids"},
        ["place.edge_ids"],
    )
    assert asked[0].session_id == worker.session_id
    assert asked[0].intervention == dry.intervention
    assert "command_requested" not in await api.kinds(worker.session_id)


async def test_a_checkpoint_is_answered_once_it_is_committed(api: Api) -> None:
    worker = await api.running(20)
    made = await checkpointed(api, worker, name="n")
    assert (made.name, made.step) == ("n", 20)
    session = await api.get(worker.session_id)
    assert [one.checkpoint_id for one in session.checkpoints] == [made.checkpoint_id]
    assert session.last_checkpoint == made


async def test_a_checkpoint_asked_for_again_is_the_same_checkpoint(api: Api) -> None:
    worker = await api.running(20)
    request_id = str(uuid.uuid4())
    first = await checkpointed(api, worker, request_id=request_id)
    request = pb.CreateCheckpointRequest(session_id=worker.session_id, request_id=request_id)
    again = await api.sessions.CreateCheckpoint(request, timeout=DEADLINE_S)
    assert again.checkpoint == first


async def test_a_checkpoint_that_could_not_be_made_is_refused(api: Api) -> None:
    worker = await api.running(20)
    request = pb.CreateCheckpointRequest(session_id=worker.session_id)
    call = begun(refusal(api.sessions.CreateCheckpoint(request, timeout=DEADLINE_S)))
    command = await worker.next_command()
    await worker.append(CommandRejected(command_id=command.command_id, message="disk full"))
    assert (await call).reason == "COMMAND_REJECTED"


async def test_a_checkpoint_is_pinned_and_deleted_by_the_calls_also_after_the_end(api: Api) -> None:
    worker = await api.running(20)
    made = await checkpointed(api, worker)
    pin = pb.PinCheckpointRequest(session_id=worker.session_id, checkpoint_id=made.checkpoint_id, pinned=True)
    await api.sessions.PinCheckpoint(pin)
    assert (await api.get(worker.session_id)).checkpoints[0].pinned
    await worker.append(SessionCompleted())
    delete = pb.DeleteCheckpointRequest(session_id=worker.session_id, checkpoint_id=made.checkpoint_id)
    await api.sessions.DeleteCheckpoint(delete)
    session = await api.get(worker.session_id)
    assert not session.checkpoints
    assert not session.HasField("last_checkpoint")
    assert (await api.kinds(worker.session_id))[-3:] == ["command_requested", "checkpoint_deleted", "command_applied"]
    for refused in (
        await refusal(api.sessions.DeleteCheckpoint(delete)),
        await refusal(api.sessions.PinCheckpoint(pin)),
    ):
        assert (refused.reason, refused.metadata) == ("CHECKPOINT_NOT_FOUND", {"checkpoint_id": made.checkpoint_id})


async def test_a_pace_is_answered_when_it_holds(api: Api) -> None:
    worker = await api.running(20)
    request = pb.SetPaceRequest(session_id=worker.session_id, factor=4)
    call = begun(api.sessions.SetPace(request, timeout=DEADLINE_S))
    await worker.apply()
    assert (await call).session.pace.factor == 4


async def test_steps_are_answered_when_the_session_stands_behind_them(api: Api) -> None:
    worker = await api.running(20)
    request = pb.StepSessionRequest(session_id=worker.session_id, steps=5)
    call = begun(api.sessions.StepSession(request, timeout=DEADLINE_S))
    await worker.apply()
    await api.until(worker.session_id, lambda session: session.pace.hold_at_step == 25)
    assert not call.done()
    worker.step = 25
    await worker.append(Paused())
    session = (await call).session
    assert (session.pace.paused, session.progress.step) == (True, 25)


async def test_run_until_is_answered_also_when_the_session_ends_before(api: Api) -> None:
    worker = await api.running(20)
    request = pb.RunUntilRequest(session_id=worker.session_id, sim_time_s=BEGIN_S + 500)
    call = begun(api.sessions.RunUntil(request, timeout=DEADLINE_S))
    await worker.apply()
    await worker.append(SessionCompleted())
    assert (await call).session.state == SessionState.SESSION_STATE_COMPLETED


async def test_a_command_of_a_waiting_session_waits_in_the_log(api: Api) -> None:
    session = await api.create()
    request = pb.SetPaceRequest(session_id=session.session_id, paused=True)
    answer = await api.sessions.SetPace(request, timeout=0.8)
    assert answer.session.state == SessionState.SESSION_STATE_PENDING
    worker = await api.worker(session.session_id).begin()
    assert (await worker.apply()).set_pace.paused
    await api.until(session.session_id, lambda s: s.pace.paused)
