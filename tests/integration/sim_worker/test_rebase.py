"""REBASE: the run itself goes on from its state files, so a recovered one takes the same way (determinism.md)."""

import pytest
import pytest_asyncio
from observations import beyond, ended, intervals, kill, simulated, simulating
from rig import Rig, slow
from test_forks_and_replays import ask, fork, past_of, verified

from milepost.checkpoint.v1.checkpoint_pb2 import Checkpoint, CheckpointPolicy, RecoveryPolicy
from milepost.dispatch.v1.dispatch_pb2 import ReplayRequest
from milepost.event.v1.event_pb2 import CommandRequested, Event, SetPaceCommand, StartKind, Verdict
from milepost.scenario.v1.scenario_pb2 import Scene, SumoOption
from milepost.session.v1.session_pb2 import SessionSpec
from scenario.demo import CONFIG, demo_directory

pytestmark = pytest.mark.asyncio(loop_scope="module")

END_S = 420.0
EVERY_S = 120


def spec() -> SessionSpec:
    policy = CheckpointPolicy(every_sim_s=EVERY_S, keep_last=2)
    return SessionSpec(seed=6, recovery=RecoveryPolicy.RECOVERY_POLICY_REBASE, checkpoints=policy)


def rebased(log: list[Event]) -> list[Checkpoint]:
    return [
        e.checkpoint_committed.checkpoint
        for e in log
        if e.HasField("checkpoint_committed") and e.checkpoint_committed.checkpoint.state_file.rebased
    ]


def paced(factor: float) -> CommandRequested:
    return CommandRequested(set_pace=SetPaceCommand(factor=factor))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def undisturbed(stage: Rig) -> list[Event]:
    """The log of a run that nothing disturbed."""
    async with stage.worker("w-undisturbed"):
        return await stage.until(await stage.create(spec(), end_s=END_S), ended)


async def test_the_run_goes_on_from_each_file_and_the_log_says_so_first(undisturbed: list[Event]) -> None:
    assert undisturbed[-1].HasField("session_completed"), undisturbed[-1]
    assert [made.step for made in rebased(undisturbed)] == [120, 240, 360]
    for made in rebased(undisturbed):
        at = next(e.seq for e in undisturbed if e.checkpoint_committed.checkpoint.checkpoint_id == made.checkpoint_id)
        before = [e.step for e in undisturbed[: at - 1] if e.HasField("interval_closed")]
        assert before[-1] == made.step
    assert intervals(undisturbed) == list(range(10, int(END_S) + 1, 10))
    claims = [e for e in undisturbed if e.HasField("attempt_claimed")]
    assert len(claims) == 1
    names = {e.artifact_stored.artifact.name for e in undisturbed if e.HasField("artifact_stored")}
    assert {"sumo.log", "until-120/sumo.log", "until-360/sumo.log"} <= names
    assert any(name.startswith("until-120/outputs/") for name in names)


@pytest.mark.slow
async def test_what_is_lost_goes_on_from_the_newest_file_and_equals_the_undisturbed_run(
    stage: Rig, undisturbed: list[Event]
) -> None:
    async with stage.worker("w-lost"):
        session_id = await stage.create(spec(), paced(80), end_s=END_S)
        await stage.until(session_id, beyond(290))
        for pid in simulating(session_id)[::-1]:
            kill(pid)
        await stage.ask(session_id, paced(0))
        log = await stage.until(session_id, ended)
    [judged] = [e.recovery_judged for e in log if e.HasField("recovery_judged")]
    assert (judged.verdict, judged.start, judged.start_step) == (
        Verdict.VERDICT_EXACT,
        StartKind.START_KIND_STATE_FILE,
        240,
    )
    assert simulated(log) == simulated(undisturbed)


@pytest.mark.long
async def test_without_its_files_it_takes_the_same_way_from_the_origin(stage: Rig, undisturbed: list[Event]) -> None:
    async with stage.worker("w-origin"):
        session_id = await stage.create(spec(), paced(80), end_s=END_S)
        log = await stage.until(session_id, beyond(290))
        for made in rebased(log):
            sha256 = made.state_file.sha256
            (stage.blob_folder / sha256[:2] / sha256).unlink(missing_ok=True)
        for pid in simulating(session_id)[::-1]:
            kill(pid)
        await stage.ask(session_id, paced(0))
        log = await stage.until(session_id, ended)
        equal = await verified(stage, session_id)
    [judged] = [e.recovery_judged for e in log if e.HasField("recovery_judged")]
    assert (judged.verdict, judged.start) == (Verdict.VERDICT_EXACT, StartKind.START_KIND_ORIGIN)
    assert judged.intervals >= 29
    assert simulated(log) == simulated(undisturbed)
    assert [made.step for made in rebased(log)] == [120, 240, 360]
    assert equal.diverged_step == 0, equal.difference


@pytest.mark.slow
async def test_a_state_that_does_not_load_is_skipped_and_whoever_comes_after_knows(stage: Rig) -> None:
    scene = Scene()
    scene.CopyFrom(await stage.upload(demo_directory(), CONFIG))
    # SUMO does not load the states of scaled demand.
    scene.options.append(SumoOption(name="scale", value="1.6"))
    async with stage.worker("w-unloadable"):
        session_id = await stage.create(
            spec(), paced(120), CommandRequested(intervene=slow(5.0)), end_s=END_S, scene=scene
        )
        await stage.until(session_id, beyond(290))
        kill(simulating(session_id)[0])
        await stage.ask(session_id, paced(0))
        log = await stage.until(session_id, ended)
        equal = await verified(stage, session_id)
    assert log[-1].HasField("session_completed"), log[-1]
    skipped = {e.step for e in log if e.HasField("checkpoint_failed")}
    assert skipped
    assert skipped.isdisjoint(made.step for made in rebased(log))
    assert skipped | {made.step for made in rebased(log)} == {120, 240, 360}
    assert intervals(log) == list(range(10, int(END_S) + 1, 10))
    assert equal.diverged_step == 0, equal.difference


@pytest.mark.long
async def test_forks_and_rollbacks_go_through_the_files_too(stage: Rig, undisturbed: list[Event]) -> None:
    async with stage.worker("w-fork"):
        of = await stage.create(spec(), end_s=END_S)
        log = await stage.until(of, ended)
        past = past_of(log, 300)
        past.rebased.extend(made for made in rebased(log) if made.step <= 300)
        fork_id = await fork(
            stage, of, past, 300, wanted=spec(), end_s=END_S, state_sha256=past.rebased[-1].state_file.sha256
        )
        forked = await stage.until(fork_id, ended)
        equal = await verified(stage, fork_id)
        state = await ask(stage, ReplayRequest(session_id=of, run=1, state_at_step=300))
        state_of_fork = await ask(stage, ReplayRequest(session_id=fork_id, run=1, state_at_step=300))
    assert simulated(forked) == [item for item in simulated(undisturbed) if item[1] > 300]
    assert equal.diverged_step == 0, equal.difference
    assert state.state_zstd == state_of_fork.state_zstd != b""
