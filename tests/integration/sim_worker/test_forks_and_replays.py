"""A fork equals its parent from its place on, and a past time can be looked at (log.md R19)."""

import asyncio
import uuid

import pytest
import zstandard
from observations import ended, has, intervals, simulated, simulating
from rig import BEGIN_S, POOL, Rig, slow

from milepost.dispatch.v1.dispatch_pb2 import ReplayAnswer, ReplayRequest, RunVerified, VerifyRun
from milepost.event.v1.event_pb2 import (
    CommandRequested,
    Event,
    ForkPast,
    JournalEntry,
    SessionCreated,
    SetPaceCommand,
    TerminateCommand,
)
from milepost.session.v1.session_pb2 import (
    ForkOrigin,
    MilestoneRule,
    PhaseKind,
    PlannedPhase,
    SessionSpec,
)
from milepost.state.v1.state_pb2 import SimulationState
from runtime.broker import subject
from runtime.settings import DEFAULT_TENANT

pytestmark = pytest.mark.asyncio(loop_scope="module")

END_S = 400.0
SLOW = slow(4.0)


def spec() -> SessionSpec:
    """With phases and a mark, so that every kind of record is compared."""
    wanted = SessionSpec(seed=5)
    wanted.plan.append(PlannedPhase(name="warm", kind=PhaseKind.PHASE_KIND_WARM_UP, duration_s=155))
    wanted.plan.append(PlannedPhase(name="measure", kind=PhaseKind.PHASE_KIND_MEASURE, duration_s=200))
    wanted.milestones.append(MilestoneRule(gridlock_share=0.2))
    return wanted


async def parent(stage: Rig) -> tuple[str, list[Event]]:
    """A session with an intervention, to its end."""
    change = CommandRequested(intervene=SLOW)
    session_id = await stage.create(spec(), change, end_s=END_S)
    return session_id, await stage.until(session_id, ended)


def past_of(log: list[Event], step: int) -> ForkPast:
    """What the session API would store."""
    asked = {e.command_requested.command_id: e.command_requested for e in log if e.HasField("command_requested")}
    past = ForkPast()
    for event in log:
        if event.HasField("command_applied") and event.step <= step:
            name = event.command_applied.command_id
            if asked[name].HasField("intervene"):
                past.journal.append(JournalEntry(step=event.step, command_id=name, intervention=asked[name].intervene))
        if event.HasField("interval_closed") and event.step <= step:
            past.digest_step, past.state_digest = event.step, event.interval_closed.state_digest
    return past


async def fork(
    stage: Rig,
    of: str,
    past: ForkPast,
    step: int,
    *commands: CommandRequested,
    wanted: SessionSpec | None = None,
    end_s: float = END_S,
    state_sha256: str = "",
) -> str:
    """As the session API does."""
    origin = ForkOrigin(session_id=of, run=1, step=step, sim_time_s=BEGIN_S + step, state_sha256=state_sha256)
    origin.past_sha256 = await stage.put_past(past)
    return await stage.create(wanted or spec(), *commands, end_s=end_s, created=SessionCreated(forked_from=origin))


async def ask(stage: Rig, request: ReplayRequest) -> ReplayAnswer:
    """Ask the pool and wait for the answer behind the signs of life."""
    client = stage.js._nc
    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox)
    request.tenant = DEFAULT_TENANT
    await client.publish(subject(ReplayRequest, pool=POOL), request.SerializeToString(), reply=inbox)
    async with asyncio.timeout(60):
        while True:
            answer = ReplayAnswer.FromString((await subscription.next_msg(timeout=10)).data)
            if not answer.HasField("working"):
                await subscription.unsubscribe()
                return answer


async def verified(stage: Rig, session_id: str) -> RunVerified:
    """What verifying its first run says."""
    answer = await ask(stage, ReplayRequest(session_id=session_id, run=1, verify=VerifyRun()))
    assert not answer.failed, answer.failed
    return answer.verified


async def test_a_fork_without_changes_equals_its_parent_from_there_on(stage: Rig) -> None:
    async with stage.worker("w-fork"):
        of, log = await parent(stage)
        for step in (0, 150, 155, 233):
            child = await stage.until(await fork(stage, of, past_of(log, step), step), ended)
            assert simulated(child) == [item for item in simulated(log) if item[1] > step], step
            assert intervals(child)[0] > step


@pytest.mark.slow
async def test_a_fork_whose_past_comes_out_differently_fails_and_writes_no_interval(stage: Rig) -> None:
    async with stage.worker("w-wrong"):
        of, log = await parent(stage)
        past = past_of(log, 200)
        del past.journal[:]
        child = await stage.until(await fork(stage, of, past, 200), ended)
    assert not intervals(child)
    assert child[-1].session_failed.failure.message


@pytest.mark.slow
async def test_interventions_given_with_a_fork_are_applied_at_its_very_step(stage: Rig) -> None:
    async with stage.worker("w-changed"):
        of, log = await parent(stage)
        change = CommandRequested(command_id=str(uuid.uuid4()), intervene=SLOW)
        child = await stage.until(await fork(stage, of, past_of(log, 233), 233, change), ended)
    assert [event.step for event in child if event.HasField("command_applied")] == [233]


async def test_a_fork_of_a_running_session_wakes_a_copy_and_leaves_the_parent_alone(stage: Rig) -> None:
    async with stage.worker("w-live"):
        # Slow enough to be there still when its first copy is, on a busy machine too.
        pace = CommandRequested(set_pace=SetPaceCommand(factor=14))
        of = await stage.create(spec(), pace, end_s=END_S)
        async with asyncio.timeout(30):
            while len(simulating(of)) < 2:
                await asyncio.sleep(0.05)
        reached = intervals(await stage.log(of))[-1]
        log = await stage.until(of, lambda log: intervals(log)[-1] >= reached + 20)
        step = intervals(log)[-1]
        child = await stage.until(await fork(stage, of, past_of(log, step), step), ended)
        await stage.ask(of, CommandRequested(set_pace=SetPaceCommand()))
        whole = await stage.until(of, ended)
    assert simulated(child) == [item for item in simulated(whole) if item[1] > step]
    assert not any(event.HasField("start_rejected") for event in child)


@pytest.mark.slow
async def test_the_state_at_a_past_time_is_that_of_the_run(stage: Rig) -> None:
    async with stage.worker("w-state"):
        of, log = await parent(stage)
        answer = await ask(stage, ReplayRequest(session_id=of, run=1, state_at_step=300))
        state = SimulationState.FromString(zstandard.decompress(answer.state_zstd))
        interval = next(event for event in log if event.step == 300 and event.HasField("interval_closed"))
        assert (state.step, state.sim_time_s) == (300, BEGIN_S + 300)
        assert state.kpis == interval.interval_closed.kpis
        assert len(state.vehicles.ids) == state.kpis.running
        answer = await ask(stage, ReplayRequest(session_id=of, run=1, state_at_step=int(END_S)))
        last = SimulationState.FromString(zstandard.decompress(answer.state_zstd))
        assert (last.step, last.kpis.running) == (END_S, log[-1].session_completed.results.kpis.running)
        answer = await ask(stage, ReplayRequest(session_id=of, run=7, state_at_step=300))
        assert "no run 7" in answer.failed
        answer = await ask(stage, ReplayRequest(session_id="nobody", run=1, state_at_step=300))
        assert answer.failed


async def test_a_run_verifies_against_its_log_and_a_changed_log_does_not(stage: Rig) -> None:
    async with stage.worker("w-verify"):
        of, log = await parent(stage)
        answer = await ask(stage, ReplayRequest(session_id=of, run=1, verify=VerifyRun()))
        assert answer.verified.difference == ""
        assert answer.verified.records == len(simulated(log))
        # A log whose intervention was applied elsewhere is not what SUMO computes.
        forged = await stage.create(spec(), end_s=END_S)
        await stage.until(forged, ended)
        copied = f"forged-{uuid.uuid4().hex[:8]}"
        payloads = [event for event in log if event.HasField("session_created")]
        await stage.append(copied, payloads[0].session_created)
        await stage.copy_records(copied, [event for event in await stage.log(forged) if intervals([event])])
        answer = await ask(stage, ReplayRequest(session_id=copied, run=1, verify=VerifyRun()))
        assert answer.verified.difference or answer.failed


@pytest.mark.slow
async def test_a_terminated_run_verifies_too(stage: Rig) -> None:
    async with stage.worker("w-cut"):
        pace = CommandRequested(set_pace=SetPaceCommand(factor=100))
        of = await stage.create(spec(), pace, end_s=END_S)
        await stage.until(of, lambda log: len(intervals(log)) > 4)
        await stage.ask(of, CommandRequested(terminate=TerminateCommand()))
        log = await stage.until(of, ended)
        answer = await ask(stage, ReplayRequest(session_id=of, run=1, verify=VerifyRun()))
    assert answer.verified.difference == "", answer
    assert answer.verified.records == len(simulated(log))


@pytest.mark.slow
async def test_phases_and_milestones_are_told_in_order(stage: Rig) -> None:
    async with stage.worker("w-plan"):
        _, log = await parent(stage)
    told = [
        (event.WhichOneof("payload"), event.step)
        for event in log
        if event.WhichOneof("payload") in ("phase_started", "phase_ended")
    ]
    assert told == [("phase_started", 0), ("phase_ended", 155), ("phase_started", 155), ("phase_ended", 355)]
    ended_phases = [event.phase_ended.kpis for event in log if event.HasField("phase_ended")]
    assert ended_phases[0].departed + ended_phases[1].departed < log[-1].session_completed.results.kpis.departed
    assert has("session_completed")(log)
