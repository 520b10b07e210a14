"""GetSessionState and VerifySession: questions to the workers of a pool, played by the test."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import zstandard
from google.protobuf.message import Message
from running_api import BEGIN_S, Api, refusal

from milepost.dispatch.v1.dispatch_pb2 import ReplayAnswer, ReplayRequest, RunVerified, Working
from milepost.session.v1 import session_service_pb2 as pb
from milepost.state.v1.state_pb2 import SimulationState
from runtime.broker import subject

pytestmark = pytest.mark.any_database

POOL = "sumo-1_28_0"
DEADLINE_S = 20


def state_of(request: ReplayRequest) -> ReplayAnswer:
    state = SimulationState(step=request.state_at_step, sim_time_s=BEGIN_S + request.state_at_step)
    return ReplayAnswer(state_zstd=zstandard.ZstdCompressor().compress(state.SerializeToString()))


async def answering(api: Api, *answers: Callable[[ReplayRequest], ReplayAnswer | None]) -> list[ReplayRequest]:
    """A worker that gives the n-th question the n-th answer, None being silence; the questions it gets."""
    asked: list[ReplayRequest] = []

    async def answer(message: Any) -> None:
        asked.append(ReplayRequest.FromString(message.data))
        found = answers[min(len(asked), len(answers)) - 1](asked[-1])
        await message.respond(ReplayAnswer(working=Working(step=1)).SerializeToString())
        if found is not None:
            await message.respond(found.SerializeToString())

    await api.broker.subscribe(subject(ReplayRequest, pool=POOL), cb=answer)
    await api.broker.flush()
    return asked


async def state(api: Api, session_id: str, timeout_s: float = DEADLINE_S, **fields: Any) -> Any:
    return await api.sessions.GetSessionState(
        pb.GetSessionStateRequest(session_id=session_id, **fields), timeout=timeout_s
    )


async def test_the_state_at_a_time_is_simulated_once_and_then_remembered(api: Api) -> None:
    worker = await api.running(45)
    asked = await answering(api, state_of)
    answer = await state(api, worker.session_id, sim_time_s=BEGIN_S + 32.4)
    assert (answer.state.step, answer.cached) == (33, False)
    again = await state(api, worker.session_id, sim_time_s=BEGIN_S + 33)
    assert (again.state, again.cached) == (answer.state, True)
    assert (await state(api, worker.session_id)).state.step == 45
    assert [(request.session_id, request.run, request.state_at_step) for request in asked] == [
        (worker.session_id, 1, 33),
        (worker.session_id, 1, 45),
    ]


async def test_a_time_that_was_not_reached_and_a_run_that_is_not_there_are_refused(api: Api) -> None:
    worker = await api.running(40)
    refused = await refusal(state(api, worker.session_id, sim_time_s=BEGIN_S + 40.1))
    assert (refused.reason, refused.metadata["sim_time_s"]) == ("TIME_NOT_REACHED", str(BEGIN_S + 40))
    refused = await refusal(state(api, worker.session_id, run=2))
    assert (refused.reason, refused.fields) == ("FIELD_INVALID", ["run"])


async def test_a_pool_without_workers_is_asked_until_one_comes_or_the_deadline(api: Api) -> None:
    worker = await api.running(40)
    assert (await refusal(state(api, worker.session_id, timeout_s=1.2))).reason == "NO_WORKER"
    call = asyncio.ensure_future(state(api, worker.session_id))
    await answering(api, state_of)
    assert (await call).state.step == 40


async def test_a_question_whose_worker_fell_silent_is_asked_again(api: Api) -> None:
    worker = await api.running(40)
    asked = await answering(api, lambda _: None, state_of)
    assert (await state(api, worker.session_id)).state.step == 40
    assert len(asked) == 2


async def test_a_replay_that_failed_says_how(api: Api) -> None:
    worker = await api.running(40)
    await answering(api, lambda _: ReplayAnswer(failed="SUMO died"))
    assert (await refusal(state(api, worker.session_id))).reason == "REPLAY_FAILED"


async def test_a_verdict_is_passed_on(api: Api) -> None:
    worker = await api.running(40)
    verdicts = [RunVerified(records=4), RunVerified(records=2, diverged_step=30, difference="mean speed")]
    asked = await answering(api, *(_verified(verdict) for verdict in verdicts))
    request = pb.VerifySessionRequest(session_id=worker.session_id)
    exact = await api.sessions.VerifySession(request, timeout=DEADLINE_S)
    assert (exact.exact, exact.records) == (True, 4)
    broken = await api.sessions.VerifySession(request, timeout=DEADLINE_S)
    assert (broken.exact, broken.diverged_step, broken.difference) == (False, 30, "mean speed")
    assert all(question.HasField("verify") for question in asked)


def _verified(verdict: Message) -> Callable[[ReplayRequest], ReplayAnswer]:
    return lambda _: ReplayAnswer(verified=verdict)  # type: ignore[arg-type]
