"""A session goes on whatever dies, and its log equals that of an undisturbed run (P3)."""

import asyncio

import pytest
from observations import at_rest, beyond, ended, has, intervals, kill, simulated, simulating
from rig import Rig, slow

from milepost.checkpoint.v1.checkpoint_pb2 import CheckpointPolicy
from milepost.event.v1 import event_pb2 as pb
from milepost.event.v1.event_pb2 import (
    CheckpointCommand,
    ClaimReason,
    CommandRequested,
    Event,
    ResumeCommand,
    RollbackCommand,
    SetPaceCommand,
    StartKind,
    StepCommand,
    SuspendCommand,
    TerminateCommand,
    Verdict,
)
from milepost.session.v1.session_pb2 import CompletionReason, FailureReason, SessionSpec

pytestmark = pytest.mark.asyncio(loop_scope="module")

END_S = 600.0


def kinds(log: list[Event]) -> list[str]:
    return [event.WhichOneof("payload") or "" for event in log if not event.HasField("interval_closed")]


def verdicts(log: list[Event]) -> list[tuple[int, int]]:
    return [
        (event.recovery_judged.verdict, event.recovery_judged.start)
        for event in log
        if event.HasField("recovery_judged")
    ]


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, list[tuple[int, int, float, bytes]]]:
    return {}


async def reference(
    stage: Rig, cache: dict[str, list[tuple[int, int, float, bytes]]]
) -> list[tuple[int, int, float, bytes]]:
    """The SIMULATION records of a run that nobody disturbs."""
    if "plain" not in cache:
        async with stage.worker("calm"):
            log = await stage.until(await stage.create(SessionSpec(seed=3), end_s=END_S), ended)
        cache["plain"] = simulated(log)
    return cache["plain"]


async def paced(stage: Rig, factor: float = 200.0) -> str:
    """A session that takes its time."""
    pace = CommandRequested(set_pace=SetPaceCommand(factor=factor))
    return await stage.create(SessionSpec(seed=3), pace, end_s=END_S)


async def full_speed(stage: Rig, session_id: str) -> None:
    await stage.ask(session_id, CommandRequested(set_pace=SetPaceCommand(factor=0)))


async def test_a_killed_child_goes_on_from_a_sleeping_copy(stage: Rig, undisturbed: dict) -> None:  # type: ignore[type-arg]
    expected = await reference(stage, undisturbed)
    async with stage.worker("w-copy"):
        session_id = await paced(stage, 40)
        # The survival copy is taken some seconds after the start.
        async with asyncio.timeout(30):
            while len(simulating(session_id)) < 2:
                await asyncio.sleep(0.05)
        slept = intervals(await stage.log(session_id))[-1]
        await stage.until(session_id, beyond(slept + 20))
        kill(simulating(session_id)[0])
        await stage.until(session_id, has("session_recovered"))
        await full_speed(stage, session_id)
        log = await stage.until(session_id, ended)
    assert verdicts(log) == [(Verdict.VERDICT_EXACT, StartKind.START_KIND_MEMORY_SNAPSHOT)]
    claims = [event.attempt_claimed.because for event in log if event.HasField("attempt_claimed")]
    assert claims == [ClaimReason.CLAIM_REASON_NEW, ClaimReason.CLAIM_REASON_CHILD_DIED]
    assert simulated(log) == expected
    await at_rest(session_id)


@pytest.mark.slow
async def test_a_child_killed_before_any_copy_begins_again_at_the_origin(stage: Rig, undisturbed: dict) -> None:  # type: ignore[type-arg]
    expected = await reference(stage, undisturbed)
    async with stage.worker("w-origin"):
        session_id = await paced(stage)
        await stage.until(session_id, lambda log: len(intervals(log)) > 3)
        kill(simulating(session_id)[0])
        await full_speed(stage, session_id)
        log = await stage.until(session_id, ended)
    assert verdicts(log) == [(Verdict.VERDICT_EXACT, StartKind.START_KIND_ORIGIN)]
    assert simulated(log) == expected


async def test_interventions_are_replayed_at_their_steps(stage: Rig) -> None:
    async with stage.worker("w-replay"):
        session_id = await paced(stage)
        for factor in (4.0, 9.0):
            await stage.until(session_id, lambda log: len(intervals(log)) > 5)
            command = CommandRequested(intervene=slow(factor))
            name = await stage.ask(session_id, command)
            log = await stage.until(
                session_id, lambda log, name=name: any(e.command_applied.command_id == name for e in log)
            )
        applied = [e.step for e in log if e.HasField("command_applied")]
        await stage.until(session_id, lambda log: intervals(log)[-1] > max(applied) + 20)
        for pid in simulating(session_id):
            kill(pid)
        await full_speed(stage, session_id)
        log = await stage.until(session_id, ended)
    assert log[-1].HasField("session_completed"), log[-1]
    assert [verdict for verdict, _ in verdicts(log)] == [Verdict.VERDICT_EXACT]
    assert sorted(intervals(log)) == intervals(log) == list(range(10, int(END_S) + 1, 10))


async def test_a_suspended_session_goes_on_elsewhere_in_the_same_run(stage: Rig, undisturbed: dict) -> None:  # type: ignore[type-arg]
    expected = await reference(stage, undisturbed)
    async with stage.worker("w-first"):
        session_id = await paced(stage)
        await stage.until(session_id, lambda log: len(intervals(log)) > 5)
        name = await stage.ask(session_id, CommandRequested(suspend=SuspendCommand()))
        log = await stage.until(session_id, lambda log: any(e.command_applied.command_id == name for e in log))
        assert kinds(log)[-2:] == ["checkpoint_committed", "command_applied"]
        async with asyncio.timeout(10):
            while simulating(session_id):
                await asyncio.sleep(0.02)
    async with stage.worker("w-second"):
        command = CommandRequested(command_id="again", resume=ResumeCommand())
        await stage.append(session_id, command, pb.CommandApplied(command_id="again"))
        await stage.order(session_id)
        await full_speed(stage, session_id)
        log = await stage.until(session_id, ended)
    assert {event.run for event in log} == {1}
    assert [e.attempt_claimed.worker_id for e in log if e.HasField("attempt_claimed")] == ["w-first", "w-second"]
    assert verdicts(log) == [(Verdict.VERDICT_EXACT, StartKind.START_KIND_ORIGIN)]
    assert simulated(log) == expected


async def test_a_worker_told_to_stop_hands_over_and_the_next_goes_on(stage: Rig, undisturbed: dict) -> None:  # type: ignore[type-arg]
    expected = await reference(stage, undisturbed)
    async with stage.worker("w-leaving") as leaving:
        session_id = await paced(stage)
        await stage.until(session_id, lambda log: len(intervals(log)) > 5)
        leaving.stop.set()
        await stage.until(session_id, has("handed_over"))
    async with stage.worker("w-coming"):
        await full_speed(stage, session_id)
        log = await stage.until(session_id, ended)
    assert simulated(log) == expected


@pytest.mark.slow
async def test_stepping_pauses_and_a_new_attempt_stands_where_the_old_one_stood(stage: Rig, undisturbed: dict) -> None:  # type: ignore[type-arg]
    expected = await reference(stage, undisturbed)
    async with stage.worker("w-step"):
        step = CommandRequested(step=StepCommand(steps=17))
        session_id = await stage.create(SessionSpec(seed=3), step, end_s=END_S)
        log = await stage.until(session_id, has("paused"))
        stood = next(e.step for e in log if e.HasField("paused"))
        started = next(e.step for e in log if e.HasField("command_applied"))
        assert stood == started + 17
        kill(simulating(session_id)[0])
        await stage.until(session_id, has("session_recovered"))
        await stage.ask(session_id, CommandRequested(step=StepCommand(steps=5)))
        log = await stage.until(session_id, lambda log: sum(e.HasField("paused") for e in log) == 2)
        assert [e.step for e in log if e.HasField("paused")] == [stood, stood + 5]
        await full_speed(stage, session_id)
        log = await stage.until(session_id, ended)
    assert simulated(log) == expected


@pytest.mark.slow
async def test_a_session_suspended_while_it_stood_stands_again_and_moves_on_when_told(stage: Rig) -> None:
    async with stage.worker("w-stood"):
        session_id = await stage.create(SessionSpec(seed=3, start_paused=True), end_s=END_S)
        await stage.until(session_id, has("paused"))
        await stage.ask(session_id, CommandRequested(step=StepCommand(steps=20)))
        await stage.until(session_id, lambda log: sum(e.HasField("paused") for e in log) == 2)
        name = await stage.ask(session_id, CommandRequested(suspend=SuspendCommand()))
        await stage.until(session_id, lambda log: any(e.command_applied.command_id == name for e in log))
        again = CommandRequested(command_id="again", resume=ResumeCommand())
        await stage.append(session_id, again, pb.CommandApplied(command_id="again"))
        # Carried out at the very end of the past, where it stands.
        await stage.ask(session_id, CommandRequested(set_pace=SetPaceCommand()))
        await stage.order(session_id)
        log = await stage.until(session_id, ended)
    assert [e.step for e in log if e.HasField("paused")] == [0, 20]
    assert log[-1].HasField("session_completed")


@pytest.mark.slow
async def test_a_rollback_is_a_new_run_that_continues_the_old_one(stage: Rig, undisturbed: dict) -> None:  # type: ignore[type-arg]
    expected = await reference(stage, undisturbed)
    async with stage.worker("w-back"):
        session_id = await paced(stage)
        await stage.until(session_id, lambda log: len(intervals(log)) > 5)
        command = CommandRequested(checkpoint=CheckpointCommand(checkpoint_id="here", name="before the storm"))
        name = await stage.ask(session_id, command)
        log = await stage.until(session_id, lambda log: any(e.command_applied.command_id == name for e in log))
        place = next(e.checkpoint_committed.checkpoint for e in log if e.HasField("checkpoint_committed"))
        await stage.ask(session_id, CommandRequested(intervene=slow(3.0)))
        await stage.until(session_id, lambda log: intervals(log)[-1] > place.step + 50)
        await stage.ask(session_id, CommandRequested(rollback=RollbackCommand(checkpoint_id="here")))
        await stage.until(session_id, has("run_opened"))
        await full_speed(stage, session_id)
        log = await stage.until(session_id, ended)
    opened = next(e.run_opened for e in log if e.HasField("run_opened"))
    assert (opened.run, opened.base_run, opened.step, opened.journal_length) == (2, 1, place.step, 0)
    second = [event for event in log if event.run == 2]
    assert intervals(second)[0] > place.step
    # From the checkpoint on it is the run that nobody has disturbed: the intervention came later.
    assert simulated(second) == [item for item in expected if item[1] > place.step]


async def test_terminating_keeps_results_and_is_applied(stage: Rig) -> None:
    async with stage.worker("w-end"):
        session_id = await paced(stage)
        await stage.until(session_id, lambda log: len(intervals(log)) > 3)
        name = await stage.ask(session_id, CommandRequested(terminate=TerminateCommand()))
        log = await stage.until(session_id, ended)
    results = log[-1].session_completed.results
    assert results.reason == CompletionReason.COMPLETION_REASON_TERMINATED
    assert results.steps == log[-1].step == intervals(log)[-1]
    assert log[-2].command_applied.command_id == name


async def test_three_deaths_without_progress_park_the_session_with_its_evidence(stage: Rig) -> None:
    # It stands, and is too large: every attempt is killed before it closes an interval.
    async with stage.worker("w-poison"):
        session_id = await stage.create(SessionSpec(seed=3, start_paused=True, memory_limit_mib=1), end_s=END_S)
        log = await stage.until(session_id, ended)
    failure = log[-1].session_failed.failure
    assert failure.reason == FailureReason.FAILURE_REASON_POISONED
    assert "3 attempts" in failure.message
    assert "MEMORY_LIMIT" in failure.message or failure.last_words
    claims = [event.attempt_claimed.fruitless_attempts for event in log if event.HasField("attempt_claimed")]
    assert claims == [0, 1, 2]
    await at_rest(session_id)


@pytest.mark.slow
async def test_a_session_that_stands_is_not_given_up_however_often_its_process_is_killed(stage: Rig) -> None:
    async with stage.worker("w-stands"):
        session_id = await stage.create(SessionSpec(seed=3, start_paused=True), end_s=END_S)
        await stage.until(session_id, has("paused"))
        for lives in range(2, 7):
            kill(simulating(session_id)[0])
            await stage.until(
                session_id, lambda log, lives=lives: sum(e.HasField("session_recovered") for e in log) == lives - 1
            )
        await full_speed(stage, session_id)
        log = await stage.until(session_id, ended)
    assert log[-1].HasField("session_completed")


@pytest.mark.slow
async def test_checkpoints_on_schedule_stand_where_the_schedule_says_and_only_the_last_are_kept(stage: Rig) -> None:
    policy = CheckpointPolicy(every_sim_s=60, keep_last=3)
    async with stage.worker("w-schedule"):
        session_id = await stage.create(SessionSpec(seed=3, checkpoints=policy), end_s=END_S)
        log = await stage.until(session_id, ended)
    made = [e.checkpoint_committed.checkpoint for e in log if e.HasField("checkpoint_committed")]
    assert [checkpoint.step for checkpoint in made] == list(range(60, int(END_S), 60))
    gone = [e.checkpoint_deleted.checkpoint_id for e in log if e.HasField("checkpoint_deleted")]
    assert gone == [checkpoint.checkpoint_id for checkpoint in made[:-3]]
    await at_rest(session_id)
