"""What is planned is part of the inputs: applied at its time by whoever simulates the session, however often."""

import pytest
import zstandard
from observations import at_rest, beyond, ended, has, intervals, kill, simulated, simulating
from rig import BEGIN_S, Rig, slow
from test_forks_and_replays import ask, verified

from milepost.checkpoint.v1.checkpoint_pb2 import CheckpointPolicy, RecoveryPolicy
from milepost.dispatch.v1.dispatch_pb2 import ReplayRequest
from milepost.event.v1.event_pb2 import (
    CommandRequested,
    Event,
    RunUntilCommand,
    SetPaceCommand,
    Verdict,
)
from milepost.intervention.v1.intervention_pb2 import Intervention, SetSignal
from milepost.session.v1.session_pb2 import Engine, FailureReason, PlannedIntervention, SessionSpec
from milepost.state.v1.state_pb2 import SimulationState

pytestmark = pytest.mark.asyncio(loop_scope="module")

END_S = 600.0
# In the middle of an interval, at the end of one.
FIRST_S, SECOND_S = 125, 250


def planned(at_s: float, speed_mps: float) -> PlannedIntervention:
    return PlannedIntervention(at_time_s=BEGIN_S + at_s, intervention=slow(speed_mps))


def spec(*interventions: PlannedIntervention, **others: object) -> SessionSpec:
    return SessionSpec(seed=5, interventions=interventions, **others)  # type: ignore[arg-type]


PLAN = (planned(SECOND_S, 3.0), planned(FIRST_S, 4.0), planned(END_S + 1, 1.0))


async def whole(stage: Rig, wanted: SessionSpec, *commands: CommandRequested) -> list[Event]:
    return await stage.until(await stage.create(wanted, *commands, end_s=END_S), ended)


async def applied_by_hand(stage: Rig, engine: Engine.ValueType) -> list[Event]:
    """The same interventions, each asked for while the session stands at the very step."""
    halt = CommandRequested(run_until=RunUntilCommand(sim_time_s=BEGIN_S + FIRST_S))
    session_id = await stage.create(spec(engine=engine), halt, end_s=END_S)
    for at_s, speed_mps in ((FIRST_S, 4.0), (SECOND_S, 3.0)):
        await stage.until(session_id, lambda log, at_s=at_s: any(e.HasField("paused") and e.step == at_s for e in log))
        await stage.ask(session_id, CommandRequested(intervene=slow(speed_mps)))
        on = RunUntilCommand(sim_time_s=BEGIN_S + (SECOND_S if at_s == FIRST_S else END_S))
        await stage.ask(session_id, CommandRequested(run_until=on))
    log = await stage.until(session_id, ended)
    assert [e.step for e in log if e.HasField("command_applied")][1::2] == [FIRST_S, SECOND_S]
    return log


@pytest.mark.parametrize("engine", [Engine.ENGINE_LIBSUMO, pytest.param(Engine.ENGINE_TRACI, marks=pytest.mark.slow)])
async def test_what_is_planned_is_what_is_applied_by_hand_at_that_step(stage: Rig, engine: Engine.ValueType) -> None:
    async with stage.worker(f"w-planned-{engine}"):
        log = await whole(stage, spec(*PLAN, engine=engine))
        by_hand = await applied_by_hand(stage, engine)
        without = await whole(stage, spec(engine=engine))
        assert simulated(log) == simulated(by_hand)
        first = next(a for a, b in zip(simulated(log), simulated(without), strict=True) if a != b)
        assert FIRST_S < first[1] <= FIRST_S + 20
        session_id = log[0].session_id
        assert (await verified(stage, session_id)).difference == ""


@pytest.mark.slow
async def test_a_killed_session_with_a_plan_equals_an_undisturbed_one(stage: Rig) -> None:
    async with stage.worker("w-planned-calm"):
        expected = simulated(await whole(stage, spec(*PLAN)))
    pace = CommandRequested(set_pace=SetPaceCommand(factor=300))
    async with stage.worker("w-planned-1"):
        session_id = await stage.create(spec(*PLAN), pace, end_s=END_S)
        # Between the two, then behind both.
        await stage.until(session_id, beyond(FIRST_S))
        for pid in simulating(session_id):
            kill(pid)
        await stage.until(session_id, has("session_recovered"))
        await stage.until(session_id, beyond(SECOND_S + 20))
    async with stage.worker("w-planned-2"):
        await stage.order(session_id)
        await stage.ask(session_id, CommandRequested(set_pace=SetPaceCommand(factor=0)))
        log = await stage.until(session_id, ended)
    assert simulated(log) == expected
    assert {e.recovery_judged.verdict for e in log if e.HasField("recovery_judged")} == {Verdict.VERDICT_EXACT}
    await at_rest(session_id)


async def test_a_refused_one_fails_the_session_and_is_named(stage: Rig) -> None:
    nobody = Intervention(set_signal=SetSignal(signal_id="nobody", program_id="off"))
    wrong = PlannedIntervention(at_time_s=BEGIN_S + 75, intervention=nobody)
    async with stage.worker("w-planned-wrong"):
        log = await whole(stage, spec(planned(70, 9.0), planned(300, 9.0), wrong))
    failure = log[-1].session_failed.failure
    assert failure.reason == FailureReason.FAILURE_REASON_PLAN_REFUSED
    assert "spec.interventions[2], set_signal at 25275 s" in failure.message
    assert "there is no signal nobody" in failure.message
    assert intervals(log)[-1] == 70


@pytest.mark.slow
async def test_times_before_the_begin_count_as_the_begin_and_equal_times_keep_their_order(stage: Rig) -> None:
    async with stage.worker("w-planned-begin"):
        early = await whole(stage, spec(planned(-BEGIN_S, 4.0)))
        at_begin = await whole(stage, spec(planned(0, 9.0), planned(0, 4.0)))
        other = await whole(stage, spec(planned(0, 4.0), planned(0, 9.0)))
    assert simulated(early) == simulated(at_begin) != simulated(other)


@pytest.mark.slow
@pytest.mark.parametrize("recovery", [RecoveryPolicy.RECOVERY_POLICY_REBASE, RecoveryPolicy.RECOVERY_POLICY_FAST])
async def test_what_state_files_forget_of_a_plan_is_applied_again(
    stage: Rig, recovery: RecoveryPolicy.ValueType
) -> None:
    policy = CheckpointPolicy(every_sim_s=SECOND_S, state_files=recovery == RecoveryPolicy.RECOVERY_POLICY_FAST)
    wanted = spec(*PLAN, planned(SECOND_S, 2.0), recovery=recovery, checkpoints=policy)
    async with stage.worker("w-planned-file-calm"):
        calm = await whole(stage, wanted)
        slower = spec(*PLAN[1:], recovery=recovery, checkpoints=policy)
        assert simulated(calm) != simulated(await whole(stage, slower))
    async with stage.worker("w-planned-file"):
        pace = CommandRequested(set_pace=SetPaceCommand(factor=300))
        session_id = await stage.create(wanted, pace, end_s=END_S)
        await stage.until(session_id, beyond(SECOND_S + 50))
        for pid in simulating(session_id):
            kill(pid)
        await stage.until(session_id, has("session_recovered"))
        await stage.ask(session_id, CommandRequested(set_pace=SetPaceCommand(factor=0)))
        log = await stage.until(session_id, ended)
    assert log[-1].HasField("session_completed"), log[-1]
    if recovery == RecoveryPolicy.RECOVERY_POLICY_REBASE:
        assert simulated(log) == simulated(calm)


@pytest.mark.slow
async def test_the_state_at_the_step_of_a_plan_is_that_before_it(stage: Rig) -> None:
    async with stage.worker("w-planned-state"):
        plain = await whole(stage, spec())
        signals = (await state_at(stage, plain, 200)).signals
        off = Intervention(set_signal=SetSignal(signal_id=signals.ids[0], program_id="off"))
        changed = await whole(stage, spec(PlannedIntervention(at_time_s=BEGIN_S + 200, intervention=off)))
        assert (await state_at(stage, changed, 200)).signals == signals
        assert (await state_at(stage, changed, 201)).signals.states[0] != signals.states[0]


async def state_at(stage: Rig, log: list[Event], step: int) -> SimulationState:
    answer = await ask(stage, ReplayRequest(session_id=log[0].session_id, run=1, state_at_step=step))
    return SimulationState.FromString(zstandard.decompress(answer.state_zstd))
