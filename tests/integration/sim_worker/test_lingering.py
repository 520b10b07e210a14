"""A copy stays when its session has ended: forks from the end wake it, and nothing is left when its time is over."""

import asyncio
from pathlib import Path

import pytest
from observations import at_rest, ended, kill, simulated, simulating
from rig import BEGIN_S, Rig, slow
from test_forks_and_replays import past_of

from milepost.event.v1.event_pb2 import (
    CommandRequested,
    Event,
    ForkPast,
    RunUntilCommand,
    SessionCreated,
    StartKind,
    TerminateCommand,
)
from milepost.session.v1.session_pb2 import Engine, ForkOrigin, PlannedIntervention, SessionSpec

pytestmark = pytest.mark.asyncio(loop_scope="module")

# In the middle of an interval.
END_S, WARM_S = 400.0, 203
LATER = PlannedIntervention(at_time_s=BEGIN_S + 300, intervention=slow(4.0))
FROM_A_COPY = [StartKind.START_KIND_MEMORY_SNAPSHOT]
FROM_THE_ORIGIN = [StartKind.START_KIND_ORIGIN]


def spec(**others: object) -> SessionSpec:
    return SessionSpec(seed=5, interventions=[LATER], **others)  # type: ignore[arg-type]


async def trunk(stage: Rig, *, linger_s: float = 300.0, engine: Engine.ValueType = Engine.ENGINE_LIBSUMO) -> str:
    wanted = spec(stop_time_s=BEGIN_S + WARM_S, linger_s=linger_s, engine=engine)
    session_id = await stage.create(wanted, end_s=END_S)
    log = await stage.until(session_id, ended)
    assert log[-1].session_completed.results.steps == WARM_S
    return session_id


async def fork(stage: Rig, of: str, past: ForkPast | None = None, *interventions: PlannedIntervention) -> list[Event]:
    """A fork from its end, as the session API makes it, to its end."""
    origin = ForkOrigin(session_id=of, run=1, step=WARM_S, sim_time_s=BEGIN_S + WARM_S)
    past = past or past_of([event for event in await stage.log(of) if event.step < WARM_S], WARM_S)
    origin.past_sha256 = await stage.put_past(past)
    wanted = SessionSpec(seed=5, interventions=interventions or [LATER])
    child = await stage.create(wanted, end_s=END_S, created=SessionCreated(forked_from=origin))
    return await stage.until(child, ended)


def starts(log: list[Event]) -> list[int]:
    return [event.run_started.start for event in log if event.HasField("run_started")]


async def whole(stage: Rig) -> list[tuple[int, int, float, bytes]]:
    """What an undisturbed session simulates behind the place of the forks."""
    log = await stage.until(await stage.create(spec(), end_s=END_S), ended)
    return [item for item in simulated(log) if item[1] > WARM_S]


@pytest.mark.slow
async def test_forks_from_the_end_wake_the_copy_one_by_one_and_together(stage: Rig, tmp_path: Path) -> None:
    async with stage.worker("w-linger", slots=4):
        expected = await whole(stage)
        of = await trunk(stage)
        assert len(simulating(of)) == 1
        logs = [await fork(stage, of), *await asyncio.gather(*(fork(stage, of) for _ in range(9)))]
        assert [starts(log) for log in logs] == [FROM_A_COPY] * 10
        assert all(simulated(log) == expected for log in logs)
        # One is still there, and it is not the first.
        assert len(simulating(of)) == 1
        # A copy that is gone costs the replay only.
        kill(simulating(of)[0])
        await at_rest(of)
        log = await fork(stage, of)
        assert (starts(log), simulated(log)) == (FROM_THE_ORIGIN, expected)


@pytest.mark.slow
async def test_a_terminated_session_leaves_a_copy_too(stage: Rig) -> None:
    async with stage.worker("w-linger-cut"):
        halt = CommandRequested(run_until=RunUntilCommand(sim_time_s=BEGIN_S + WARM_S))
        of = await stage.create(spec(linger_s=300), halt, end_s=END_S)
        await stage.until(of, lambda log: any(event.HasField("paused") for event in log))
        await stage.ask(of, CommandRequested(terminate=TerminateCommand()))
        await stage.until(of, ended)
        expected = await whole(stage)
        log = await fork(stage, of)
    assert (starts(log), simulated(log)) == (FROM_A_COPY, expected)


@pytest.mark.slow
async def test_copies_leave_after_their_time_by_number_and_with_their_worker(stage: Rig) -> None:
    async with stage.worker("w-linger-few", lingering_copies=2):
        short = await trunk(stage, linger_s=0.5)
        await at_rest(short)
        stay = [await trunk(stage) for _ in range(3)]
        await at_rest(stay[0])
        assert [len(simulating(of)) for of in stay] == [0, 1, 1]
        # Its directory is gone as that of any session that has ended.
        assert not list(Path(f"/proc/{simulating(stay[1])[0]}/cwd/.").iterdir())
        assert starts(await fork(stage, stay[0])) == FROM_THE_ORIGIN
        assert starts(await fork(stage, stay[1])) == FROM_A_COPY
    for of in stay:
        await at_rest(of)


@pytest.mark.slow
async def test_at_the_step_of_a_fork_its_plan_comes_behind_what_was_applied_by_hand(stage: Rig) -> None:
    at_fork = BEGIN_S + WARM_S
    first, third = (PlannedIntervention(at_time_s=at_fork, intervention=slow(speed)) for speed in (9.0, 4.0))
    async with stage.worker("w-linger-order"):
        halt = CommandRequested(run_until=RunUntilCommand(sim_time_s=at_fork))
        of = await stage.create(SessionSpec(seed=5, interventions=[first], linger_s=300), halt, end_s=END_S)
        await stage.until(of, lambda log: any(event.HasField("paused") for event in log))
        second = await stage.ask(of, CommandRequested(intervene=slow(6.0)))
        await stage.until(of, lambda log: any(event.command_applied.command_id == second for event in log))
        await stage.ask(of, CommandRequested(terminate=TerminateCommand()))
        log = await stage.until(of, ended)
        # The last interval was closed early.
        past = past_of([event for event in log if not event.HasField("interval_closed") or event.step < WARM_S], WARM_S)
        past.planned_length = 1
        past.journal[0].planned_length = 1
        # Each has the last word over the same streets.
        logs = [await fork(stage, of, past, first, third)]
        kill(simulating(of)[0])
        await at_rest(of)
        logs += [await fork(stage, of, past, first, third), await fork(stage, of, past, first)]
        third_alone = await stage.until(
            await stage.create(SessionSpec(seed=5, interventions=[third]), end_s=END_S), ended
        )
    assert [starts(log) for log in logs] == [FROM_A_COPY, FROM_THE_ORIGIN, FROM_THE_ORIGIN]
    assert simulated(logs[0]) == simulated(logs[1]) != simulated(logs[2])
    assert simulated(logs[0]) == [item for item in simulated(third_alone) if item[1] > WARM_S]


@pytest.mark.slow
async def test_another_engine_leaves_none_and_its_forks_are_equal(stage: Rig) -> None:
    async with stage.worker("w-linger-traci"):
        of = await trunk(stage, engine=Engine.ENGINE_TRACI)
        assert not simulating(of)
        expected = await whole(stage)
        log = await fork(stage, of)
    assert (starts(log), simulated(log)) == (FROM_THE_ORIGIN, expected)
