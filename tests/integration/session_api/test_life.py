"""Suspend, resume, restart, roll back, terminate: what stands in the log after each, and what is refused."""

import asyncio
import uuid

import pytest
from running_api import BEGIN_S, Api, refusal

from milepost.event.v1.event_pb2 import CommandApplied, HandedOver, RunCause, RunOpened, SessionCompleted
from milepost.session.v1 import session_service_pb2 as pb
from milepost.session.v1.session_pb2 import CompletionReason, Results, SessionState

pytestmark = [pytest.mark.any_database, pytest.mark.asyncio(loop_scope="module")]


@pytest.fixture
def api(one_api: Api) -> Api:
    return one_api


async def completed(api: Api, to_step: int = 25, **spec: object) -> str:
    """The id of a session that completed."""
    worker = await api.running(to_step, **spec)
    await worker.append(SessionCompleted(results=Results(steps=worker.step)))
    return worker.session_id


async def test_a_waiting_session_is_suspended_and_resumed_by_the_calls_themselves(api: Api) -> None:
    session = await api.create()
    suspended = await api.sessions.SuspendSession(pb.SuspendSessionRequest(session_id=session.session_id))
    assert suspended.session.state == SessionState.SESSION_STATE_SUSPENDED
    resumed = await api.sessions.ResumeSession(
        pb.ResumeSessionRequest(session_id=session.session_id, end_time_s=BEGIN_S + 77)
    )
    assert resumed.session.state == SessionState.SESSION_STATE_PENDING
    assert resumed.session.scene.end_time_s == resumed.session.progress.end_time_s == BEGIN_S + 77
    assert await api.kinds(session.session_id, after=1) == [
        "command_requested",
        "command_applied",
        "command_requested",
        "session_updated",
        "command_applied",
    ]


async def test_a_running_session_is_suspended_by_its_worker_and_the_call_waits_for_it(api: Api) -> None:
    worker = await api.running(20)
    call = asyncio.ensure_future(
        api.sessions.SuspendSession(pb.SuspendSessionRequest(session_id=worker.session_id), timeout=20)
    )
    await worker.next_command()
    await api.until(worker.session_id, lambda s: s.state == SessionState.SESSION_STATE_SUSPENDING)
    await worker.apply()
    assert (await call).session.state == SessionState.SESSION_STATE_SUSPENDED
    assert (await call).session.progress.step == 20


async def test_a_call_whose_deadline_is_near_is_answered_before_the_worker_is(api: Api) -> None:
    worker = await api.running(20)
    request = pb.SuspendSessionRequest(session_id=worker.session_id)
    answer = await api.sessions.SuspendSession(request, timeout=1)
    assert answer.session.state == SessionState.SESSION_STATE_SUSPENDING


async def test_a_completed_session_is_resumed_as_a_new_run_with_its_whole_past(api: Api) -> None:
    name = await completed(api, 25, end_time_s=BEGIN_S + 25)
    refused = await refusal(api.sessions.ResumeSession(pb.ResumeSessionRequest(session_id=name)))
    assert (refused.reason, refused.fields) == ("FIELD_INVALID", ["end_time_s"])
    answer = await api.sessions.ResumeSession(pb.ResumeSessionRequest(session_id=name, end_time_s=BEGIN_S + 60))
    session = answer.session
    assert (session.state, session.run) == (SessionState.SESSION_STATE_PENDING, 2)
    assert (session.progress.step, session.progress.end_time_s) == (25, BEGIN_S + 60)
    assert not session.HasField("results")
    assert not session.HasField("end_time")
    requested, opened, applied = (await api.events(name))[-3:]
    assert requested.HasField("command_requested")
    assert applied.command_applied.command_id == requested.command_requested.command_id
    run = opened.run_opened
    assert (run.run, run.base_run, run.step, run.sim_time_s) == (2, 1, 25, BEGIN_S + 25)
    assert (run.because, run.spec.end_time_s, run.scene.end_time_s) == (
        RunCause.RUN_CAUSE_RESUME,
        BEGIN_S + 60,
        BEGIN_S + 60,
    )


async def test_resuming_from_a_checkpoint_takes_its_run_and_its_journal(api: Api) -> None:
    worker = await api.running(20)
    for _ in range(2):
        change = pb.ApplyInterventionRequest(session_id=worker.session_id)
        change.intervention.scale_demand.factor = 2
        call = asyncio.ensure_future(api.sessions.ApplyIntervention(change, timeout=20))
        await worker.apply()
        await call
    call = asyncio.ensure_future(
        api.sessions.CreateCheckpoint(pb.CreateCheckpointRequest(session_id=worker.session_id, name="n"), timeout=20)
    )
    made = await worker.make_checkpoint()
    assert (await call).checkpoint.checkpoint_id == made.checkpoint_id
    await worker.simulate(40)
    await worker.append(SessionCompleted())
    unknown = pb.ResumeSessionRequest(session_id=worker.session_id, checkpoint_id="none")
    assert (await refusal(api.sessions.ResumeSession(unknown))).reason == "CHECKPOINT_NOT_FOUND"
    request = pb.ResumeSessionRequest(session_id=worker.session_id, checkpoint_id=made.checkpoint_id)
    await api.sessions.ResumeSession(request)
    run = (await api.events(worker.session_id))[-2].run_opened
    assert (run.base_run, run.step, run.journal_length, run.checkpoint_id) == (1, 20, 2, made.checkpoint_id)


async def test_a_restart_begins_at_the_origin_with_what_was_updated_meanwhile(api: Api) -> None:
    name = await completed(api)
    update = pb.UpdateSessionRequest(session_id=name)
    update.update_mask.paths.append("spec.seed")
    update.spec.seed = 42
    await api.sessions.UpdateSession(update)
    session = (await api.sessions.RestartSession(pb.RestartSessionRequest(session_id=name))).session
    assert (session.run, session.progress.step, session.spec.seed) == (2, 0, 42)
    run = (await api.events(name))[-2].run_opened
    assert (run.because, run.base_run, run.step, run.spec.seed) == (RunCause.RUN_CAUSE_RESTART, 0, 0, 42)


async def test_a_run_that_goes_on_keeps_its_seed_and_a_later_restart_has_the_new_one(api: Api) -> None:
    worker = await api.running(20, seed=1)
    await worker.append(SessionCompleted())
    update = pb.UpdateSessionRequest(session_id=worker.session_id)
    update.update_mask.paths.append("spec.seed")
    update.spec.seed = 42
    await api.sessions.UpdateSession(update)
    await api.sessions.ResumeSession(pb.ResumeSessionRequest(session_id=worker.session_id))
    assert (await api.events(worker.session_id))[-2].run_opened.spec.seed == 1
    assert (await api.reader.read_past("default", worker.session_id)).spec.seed == 1
    await api.sessions.CancelSession(pb.CancelSessionRequest(session_id=worker.session_id))
    await api.sessions.RestartSession(pb.RestartSessionRequest(session_id=worker.session_id))
    assert (await api.events(worker.session_id))[-2].run_opened.spec.seed == 42


async def test_a_suspended_session_is_rolled_back_to_a_time_as_a_new_run(api: Api) -> None:
    worker = await api.running(40)
    call = asyncio.ensure_future(
        api.sessions.SuspendSession(pb.SuspendSessionRequest(session_id=worker.session_id), timeout=20)
    )
    await worker.apply()
    await call
    beyond = pb.RollbackSessionRequest(session_id=worker.session_id, sim_time_s=BEGIN_S + 41)
    refused = await refusal(api.sessions.RollbackSession(beyond))
    assert (refused.reason, refused.metadata["sim_time_s"]) == ("TIME_NOT_REACHED", str(BEGIN_S + 40))
    request = pb.RollbackSessionRequest(session_id=worker.session_id, sim_time_s=BEGIN_S + 22.5)
    session = (await api.sessions.RollbackSession(request)).session
    assert (session.state, session.run, session.progress.step) == (SessionState.SESSION_STATE_PENDING, 2, 23)
    run = (await api.events(worker.session_id))[-2].run_opened
    assert (run.because, run.base_run, run.step) == (RunCause.RUN_CAUSE_ROLLBACK, 1, 23)


async def test_a_running_session_is_rolled_back_by_its_worker_and_answered_in_its_new_run(api: Api) -> None:
    worker = await api.running(40)
    unknown = pb.RollbackSessionRequest(session_id=worker.session_id, checkpoint_id="none")
    assert (await refusal(api.sessions.RollbackSession(unknown))).reason == "CHECKPOINT_NOT_FOUND"
    request = pb.RollbackSessionRequest(session_id=worker.session_id, sim_time_s=BEGIN_S + 20)
    call = asyncio.ensure_future(api.sessions.RollbackSession(request, timeout=20))
    command = await worker.next_command()
    assert command.rollback.sim_time_s == BEGIN_S + 20
    await worker.append(CommandApplied(command_id=command.command_id))
    await api.until(worker.session_id, lambda session: session.seq >= 9)
    assert not call.done()
    await worker.append(RunOpened(run=2, base_run=1, step=20, sim_time_s=BEGIN_S + 20), run=2)
    session = (await call).session
    assert (session.run, session.progress.step) == (2, 20)


@pytest.mark.parametrize("verb", ["SuspendSession", "CancelSession", "TerminateSession"])
async def test_a_session_that_was_handed_over_needs_no_worker_to_stop(api: Api, verb: str) -> None:
    worker = await api.running(20)
    await worker.append(HandedOver())
    answer = await getattr(api.sessions, verb)(getattr(pb, f"{verb}Request")(session_id=worker.session_id))
    assert answer.session.state in (
        SessionState.SESSION_STATE_SUSPENDED,
        SessionState.SESSION_STATE_CANCELLED,
        SessionState.SESSION_STATE_COMPLETED,
    )


async def test_terminating_a_session_no_worker_has_completes_it_with_what_is_known(api: Api) -> None:
    worker = await api.running(20)
    call = asyncio.ensure_future(
        api.sessions.SuspendSession(pb.SuspendSessionRequest(session_id=worker.session_id), timeout=20)
    )
    await worker.apply()
    await call
    answer = await api.sessions.TerminateSession(pb.TerminateSessionRequest(session_id=worker.session_id))
    results = answer.session.results
    assert answer.session.state == SessionState.SESSION_STATE_COMPLETED
    assert results.reason == CompletionReason.COMPLETION_REASON_TERMINATED
    assert (results.steps, results.sim_time_s, results.kpis.arrived) == (20, BEGIN_S + 20, 20)


async def test_an_end_by_the_call_itself_answers_every_open_command(api: Api) -> None:
    session = await api.create()
    pace = pb.SetPaceRequest(session_id=session.session_id, factor=2)
    await api.sessions.SetPace(pace, timeout=1)
    await api.sessions.CancelSession(pb.CancelSessionRequest(session_id=session.session_id))
    kinds = await api.kinds(session.session_id, after=2)
    assert kinds == ["command_requested", "command_applied", "command_rejected", "session_cancelled"]


@pytest.mark.parametrize("verb", ["SuspendSession", "ResumeSession", "RestartSession", "TerminateSession"])
async def test_an_illegal_verb_says_what_is_legal_instead(api: Api, verb: str) -> None:
    name = await completed(api) if verb in ("SuspendSession", "TerminateSession") else (await api.running()).session_id
    request = getattr(pb, f"{verb}Request")(session_id=name)
    refused = await refusal(getattr(api.sessions, verb)(request))
    assert refused.reason == "INVALID_TRANSITION"
    assert refused.metadata["from"] in ("COMPLETED", "RUNNING")
    assert refused.metadata["verb"] == verb.removesuffix("Session").lower()
    assert "fork" in refused.metadata["legal_verbs"]


async def test_the_same_request_id_is_the_same_command_and_another_payload_is_refused(api: Api) -> None:
    name = await completed(api)
    request_id = str(uuid.uuid4())
    request = pb.ResumeSessionRequest(session_id=name, request_id=request_id)
    answers = await asyncio.gather(*(api.sessions.ResumeSession(request) for _ in range(4)))
    assert {answer.session.run for answer in answers} == {2}
    assert (await api.kinds(name)).count("run_opened") == 1
    other = pb.ResumeSessionRequest(session_id=name, request_id=request_id, end_time_s=BEGIN_S + 99)
    assert (await refusal(api.sessions.ResumeSession(other))).reason == "REQUEST_ID_REUSED"


async def test_of_two_who_resume_at_once_one_wins(api: Api) -> None:
    name = await completed(api)
    calls = [api.sessions.ResumeSession(pb.ResumeSessionRequest(session_id=name)) for _ in range(3)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(answer, pb.ResumeSessionResponse) for answer in answers) == 1
    assert (await api.kinds(name)).count("run_opened") == 1
