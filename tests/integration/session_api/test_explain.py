"""ExplainSession: sentences, as they follow from the log, the workers and the queue."""

from typing import Any

import pytest
from running_api import Api, refusal

from milepost.dispatch.v1.dispatch_pb2 import WorkerPresence
from milepost.event.v1.event_pb2 import (
    AttemptClaimed,
    ClaimReason,
    HandedOver,
    Paused,
    RecoveryJudged,
    SessionFailed,
    Verdict,
)
from milepost.session.v1 import session_service_pb2 as pb
from milepost.session.v1.session_pb2 import Failure, FailureReason
from runtime.broker import subject

pytestmark = pytest.mark.any_database

POOL = "sumo-1_28_0"


async def explain(api: Api, session_id: str) -> Any:
    return await api.sessions.ExplainSession(pb.ExplainSessionRequest(session_id=session_id))


async def present(api: Api, worker_id: str, **fields: Any) -> None:
    """A worker says that it is there, and the API has heard it."""
    presence = WorkerPresence(worker_id=worker_id, **{"pool": POOL, **fields})
    waiting = await api.create(create_only=True)
    known = (await explain(api, waiting.session_id)).workers
    await api.broker.publish(subject(WorkerPresence, worker=worker_id), presence.SerializeToString())
    while (await explain(api, waiting.session_id)).workers == known and fields.get("pool", POOL) == POOL:
        pass


async def test_a_session_waits_because_no_worker_of_its_pool_is_there(api: Api) -> None:
    session = await api.create()
    await present(api, "elsewhere", pool="other", slots=4)
    explained = await explain(api, session.session_id)
    assert list(explained.sentences) == [f"It waits: no worker of pool {POOL} is there."]
    assert (explained.workers, explained.free_slots) == (0, 0)
    # The demo session that stored the scenario waits, too.
    assert explained.waiting == 2


async def test_a_session_waits_because_every_slot_is_busy_and_others_are_before_it(api: Api) -> None:
    session = await api.create()
    await present(api, "w1", slots=2, busy=2)
    await present(api, "w2", slots=1, busy=1)
    explained = await explain(api, session.session_id)
    assert list(explained.sentences) == [
        f"It waits: all 3 slots of pool {POOL} are busy, and 1 session of class standard waits before it."
    ]
    assert (explained.workers, explained.free_slots) == (2, 0)


async def test_a_worker_that_takes_no_work_says_why(api: Api) -> None:
    session = await api.create()
    await present(api, "w1", slots=2, closed_because="memory pressure")
    explained = await explain(api, session.session_id)
    assert list(explained.sentences) == ["Worker w1 takes no work: memory pressure."]
    assert explained.free_slots == 0


async def test_a_session_that_is_about_to_be_claimed_says_so(api: Api) -> None:
    session = await api.create()
    await present(api, "w1", slots=4, busy=1)
    explained = await explain(api, session.session_id)
    assert list(explained.sentences) == [f"It is about to be claimed: 3 of 4 slots in pool {POOL} are free."]
    assert explained.free_slots == 3


async def test_why_a_session_was_moved_and_what_the_log_said(api: Api) -> None:
    worker = await api.running(20)
    await present(api, "v", slots=1, busy=1)
    because = ClaimReason.CLAIM_REASON_WORKER_LOST
    await worker.append(AttemptClaimed(attempt=2, worker_id="v", because=because))
    await api.until(worker.session_id, lambda session: session.attempt == 2)
    moved = "Attempt 2 began on worker v because the worker before did not answer any more."
    recovering = "It is simulated again up to step 20, at full speed; the log compares every interval."
    assert list((await explain(api, worker.session_id)).sentences) == [recovering, moved]
    await worker.append(RecoveryJudged(verdict=Verdict.VERDICT_EXACT, intervals=2))
    await api.until(worker.session_id, lambda session: session.attempts[-1].verdict)
    judged = f"{moved} It simulated 2 intervals again. The log's verdict: EXACT."
    assert (await explain(api, worker.session_id)).sentences[-1] == judged


async def test_a_session_that_was_handed_over_waits_like_a_new_one(api: Api) -> None:
    worker = await api.running(20)
    await worker.append(HandedOver())
    await api.until(
        worker.session_id, lambda session: session.conditions[:] and session.conditions[0].startswith("handed over")
    )
    assert (await explain(api, worker.session_id)).sentences[0] == f"It waits: no worker of pool {POOL} is there."


async def test_a_worker_that_is_not_heard_is_named(api: Api) -> None:
    worker = await api.running(20)
    await api.until(worker.session_id, lambda session: session.worker_id)
    (sentence,) = (await explain(api, worker.session_id)).sentences
    assert sentence == "Its worker w is not heard any more: another one takes over after its lease."


async def test_a_paused_session_is_slow_because_it_was_told_to(api: Api) -> None:
    worker = await api.running(20)
    await present(api, "w", slots=1, busy=1, cpu_load=0.99)
    await worker.append(Paused())
    await api.until(worker.session_id, lambda session: session.pace.paused)
    (sentence,) = (await explain(api, worker.session_id)).sentences
    assert sentence == "It is paused at step 20: SetPace, StepSession or RunUntil let it go on."


async def test_a_loaded_machine_is_named(api: Api) -> None:
    worker = await api.running(20)
    await present(api, "w", slots=1, busy=1, cpu_load=0.97)
    await api.until(worker.session_id, lambda session: session.worker_id)
    assert "The processors of its worker w are busy at 97%." in (await explain(api, worker.session_id)).sentences


async def test_sessions_that_want_no_worker_say_what_they_wait_for(api: Api) -> None:
    recorded = await api.create(create_only=True)
    assert "StartSession" in (await explain(api, recorded.session_id)).sentences[0]
    suspended = await api.create()
    await api.sessions.SuspendSession(pb.SuspendSessionRequest(session_id=suspended.session_id))
    assert "ResumeSession" in (await explain(api, suspended.session_id)).sentences[0]
    worker = await api.running(20)
    failure = Failure(reason=FailureReason.FAILURE_REASON_CHILD_DIED, message="SUMO died")
    await worker.append(SessionFailed(failure=failure))
    await api.until(worker.session_id, lambda session: session.HasField("end_time"))
    assert (await explain(api, worker.session_id)).sentences[0] == "It failed, CHILD_DIED: SUMO died"
    assert (await refusal(explain(api, "nobody"))).reason == "SESSION_NOT_FOUND"
