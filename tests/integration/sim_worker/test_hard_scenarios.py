"""What SUMO's state files get wrong is recovered exactly all the same: the log and equal inputs are all it takes.

Every scenario runs undisturbed, and again with a death in the middle: once with a sleeping copy to wake, once with
none left, once under FAST with a state file.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from hard_scenarios import CHANGES, CONFIG, FEATURES, Hard, lay_out
from observations import beyond, ended, has, kill, simulated, simulating
from rig import Rig

from milepost.checkpoint.v1.checkpoint_pb2 import RecoveryPolicy
from milepost.event.v1.event_pb2 import (
    CheckpointCommand,
    CommandRequested,
    Event,
    RunUntilCommand,
    SetPaceCommand,
    StartKind,
    Verdict,
)
from milepost.scenario.v1.scenario_pb2 import Scene
from milepost.session.v1.session_pb2 import SessionSpec

pytestmark = pytest.mark.asyncio(loop_scope="module")

CASES = FEATURES | {name: Hard(interventions=asked) for name, asked in CHANGES.items()}

# What SUMO's state files get wrong most often, and what they forget.
OFTEN = {
    *("actuated signals", "sublane", "walks", "scale", "teleports"),
    *("signal state", "closed lanes"),
}

# There it stands, is changed and marked; it dies some intervals later, and stands once more before the end.
MARK_S = 100.0
LAST_S = 200.0
END_S = 220.0
# Simulated seconds a second on the way from the mark.
PACE = 200.0
SESSIONS_AT_ONCE = 8


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hard_stage(stage: Rig) -> AsyncIterator[Rig]:
    """With one worker for all."""
    async with stage.worker("w-hard", slots=SESSIONS_AT_ONCE):
        yield stage


async def marked(stage: Rig, scene: Scene, hard: Hard, *, fast: bool = False, pace: float = PACE) -> str:
    """A session that has stood at the mark, was changed, made a checkpoint, and is on its way to the last stand."""
    spec = SessionSpec(seed=3, ignore_route_errors=True)
    if fast:
        spec.recovery = RecoveryPolicy.RECOVERY_POLICY_FAST
    command = CommandRequested(run_until=RunUntilCommand(sim_time_s=MARK_S))
    session_id = await stage.create(spec, command, scene=scene, end_s=END_S)
    await stage.until(session_id, has("paused"))
    for intervention in hard.interventions:
        await stage.ask(session_id, CommandRequested(intervene=intervention))
    mark = CommandRequested(checkpoint=CheckpointCommand(checkpoint_id="mark", state_file=fast))
    command_id = await stage.ask(session_id, mark)
    log = await stage.until(session_id, lambda log: any(e.command_applied.command_id == command_id for e in log))
    assert not any(e.HasField("command_rejected") for e in log)
    # In one append: between the two it would be on its way to the end.
    await stage.append(
        session_id,
        CommandRequested(command_id="pace", set_pace=SetPaceCommand(factor=pace)),
        CommandRequested(command_id="last", run_until=RunUntilCommand(sim_time_s=LAST_S)),
    )
    return session_id


async def to_its_end(stage: Rig, session_id: str) -> list[Event]:
    """The log of a session that stands for the last time, or will, and is let go."""
    await stage.until(session_id, lambda log: sum(e.HasField("paused") for e in log) == 2)
    await stage.ask(session_id, CommandRequested(set_pace=SetPaceCommand()))
    log = await stage.until(session_id, ended)
    assert log[-1].HasField("session_completed"), log[-1]
    return log


async def undisturbed(stage: Rig, scene: Scene, hard: Hard) -> list[Event]:
    return await to_its_end(stage, await marked(stage, scene, hard, pace=0))


async def killed(stage: Rig, scene: Scene, hard: Hard, *, copies_too: bool, fast: bool = False) -> list[Event]:
    """The log of a session whose process dies some intervals behind the mark, its copies with it or not."""
    session_id = await marked(stage, scene, hard, fast=fast)
    mark = next(e.step for e in await stage.log(session_id) if e.HasField("paused"))
    await stage.until(session_id, beyond(mark + 30))
    pids = simulating(session_id)
    # Newest first: the process itself is the oldest.
    for pid in pids[::-1] if copies_too else pids[:1]:
        kill(pid)
    await stage.until(session_id, has("session_recovered"))
    return await to_its_end(stage, session_id)


def judged(log: list[Event]) -> list[tuple[int, int]]:
    return [(e.recovery_judged.verdict, e.recovery_judged.start) for e in log if e.HasField("recovery_judged")]


def every_case() -> list[pytest.ParameterSet]:
    """All of them, marked by how often they are played."""
    return [pytest.param(name, marks=pytest.mark.slow if name in OFTEN else pytest.mark.long) for name in CASES]


@pytest.mark.parametrize("name", every_case())
async def test_it_is_recovered_exactly_and_never_called_so_from_a_state_file(
    hard_stage: Rig, tmp_path: Path, name: str
) -> None:
    hard = CASES[name]
    await asyncio.to_thread(lay_out, tmp_path / "scenario", hard)
    scene = await hard_stage.upload(tmp_path / "scenario", CONFIG)
    async with asyncio.TaskGroup() as tasks:
        plain = tasks.create_task(undisturbed(hard_stage, scene, hard))
        woken = tasks.create_task(killed(hard_stage, scene, hard, copies_too=False))
        again = tasks.create_task(killed(hard_stage, scene, hard, copies_too=True))
        loaded = tasks.create_task(killed(hard_stage, scene, hard, copies_too=True, fast=True))

    expected = simulated(plain.result())
    assert judged(woken.result()) == [(Verdict.VERDICT_EXACT, StartKind.START_KIND_MEMORY_SNAPSHOT)]
    assert simulated(woken.result()) == expected
    assert judged(again.result()) == [(Verdict.VERDICT_EXACT, StartKind.START_KIND_ORIGIN)]
    assert simulated(again.result()) == expected
    if judged(loaded.result()) != [(Verdict.VERDICT_AGREED, StartKind.START_KIND_STATE_FILE)]:
        rejected = [e.start_rejected.reason for e in loaded.result() if e.HasField("start_rejected")]
        # What was changed left a copy behind, which died as well.
        assert [reason for reason in rejected if reason != "DIED"] in (["DIVERGED"], ["NOT_LOADED"])
        assert judged(loaded.result())[-1] == (Verdict.VERDICT_EXACT, StartKind.START_KIND_ORIGIN)
        assert simulated(loaded.result()) == expected


async def test_what_went_on_from_a_state_file_agrees_with_the_origin_too(hard_stage: Rig, tmp_path: Path) -> None:
    hard = Hard()
    await asyncio.to_thread(lay_out, tmp_path / "scenario", hard)
    scene = await hard_stage.upload(tmp_path / "scenario", CONFIG)
    session_id = await marked(hard_stage, scene, hard, fast=True)
    await hard_stage.until(session_id, beyond(int(MARK_S) + 30))
    kill(simulating(session_id)[0])
    log = await hard_stage.until(session_id, lambda log: sum(e.HasField("paused") for e in log) == 2)
    assert judged(log) == [(Verdict.VERDICT_AGREED, StartKind.START_KIND_STATE_FILE)]
    # Sums and means over trips of what comes behind the file are known to two decimals only, and say so.
    approximate = [e.interval_closed.kpis.approximate_trips for e in log if e.HasField("interval_closed")]
    assert not approximate[0]
    assert approximate[-1]

    made = next(e.checkpoint_committed.checkpoint for e in log if e.HasField("checkpoint_committed"))
    for path in hard_stage.blob_folder.rglob(f"*{made.state_file.sha256}*"):
        path.unlink()
    for pid in simulating(session_id)[::-1]:
        kill(pid)
    log = await to_its_end(hard_stage, session_id)
    assert judged(log)[1:] == [(Verdict.VERDICT_EXACT, StartKind.START_KIND_ORIGIN)]
