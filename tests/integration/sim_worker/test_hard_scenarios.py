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
from rig import Rig, beyond, ended, has, kill, simulated, simulating

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

END_S = 220.0
# There it stands, is changed and marked; it dies some intervals later.
MARK_S = 100.0
# Simulated seconds a second: the way from the mark to the end would take a good half of one.
PACE = 200.0
SESSIONS_AT_ONCE = 8


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hard_stage(stage: Rig) -> AsyncIterator[Rig]:
    """With one worker for all."""
    async with stage.worker("w-hard", slots=SESSIONS_AT_ONCE):
        yield stage


async def marked(stage: Rig, scene: Scene, hard: Hard, *, fast: bool = False) -> str:
    """A session that stands at the mark, changed, with a checkpoint; it moves on at its pace."""
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
    await stage.ask(session_id, CommandRequested(set_pace=SetPaceCommand(factor=PACE)))
    return session_id


async def survived(stage: Rig, session_id: str, *, copies_too: bool) -> list[Event]:
    """The log of a session whose process dies some intervals behind the mark, its copies with it or not."""
    await stage.until(session_id, beyond(await mark_step(stage, session_id) + 30))
    pids = simulating(session_id)
    # Newest first: the process itself is the oldest.
    for pid in pids[::-1] if copies_too else pids[:1]:
        kill(pid)
    await stage.until(session_id, has("recovery_judged"))
    await stage.ask(session_id, CommandRequested(set_pace=SetPaceCommand()))
    log = await stage.until(session_id, ended)
    assert log[-1].HasField("session_completed"), log[-1]
    return log


async def mark_step(stage: Rig, session_id: str) -> int:
    return next(e.step for e in await stage.log(session_id) if e.HasField("paused"))


async def undisturbed(stage: Rig, scene: Scene, hard: Hard) -> list[Event]:
    session_id = await marked(stage, scene, hard)
    await stage.ask(session_id, CommandRequested(set_pace=SetPaceCommand()))
    return await stage.until(session_id, ended)


async def recovered(stage: Rig, scene: Scene, hard: Hard, *, copies_too: bool, fast: bool = False) -> list[Event]:
    return await survived(stage, await marked(stage, scene, hard, fast=fast), copies_too=copies_too)


def judged(log: list[Event]) -> list[tuple[int, int]]:
    return [(e.recovery_judged.verdict, e.recovery_judged.start) for e in log if e.HasField("recovery_judged")]


@pytest.mark.parametrize("name", CASES)
async def test_it_is_recovered_exactly_and_never_called_so_from_a_state_file(
    hard_stage: Rig, tmp_path: Path, name: str
) -> None:
    hard = CASES[name]
    await asyncio.to_thread(lay_out, tmp_path / "scenario", hard)
    scene = await hard_stage.upload(tmp_path / "scenario", CONFIG)
    async with asyncio.TaskGroup() as tasks:
        plain = tasks.create_task(undisturbed(hard_stage, scene, hard))
        woken = tasks.create_task(recovered(hard_stage, scene, hard, copies_too=False))
        again = tasks.create_task(recovered(hard_stage, scene, hard, copies_too=True))
        loaded = tasks.create_task(recovered(hard_stage, scene, hard, copies_too=True, fast=True))

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
