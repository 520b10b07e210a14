"""Recovery from state files (FAST): quick, told as AGREED at most, and never trusted further than it goes."""

import asyncio
from pathlib import Path

import pytest
from observations import ended, has, intervals, kill, simulating
from rig import Rig, slow

from milepost.checkpoint.v1.checkpoint_pb2 import Checkpoint, RecoveryPolicy
from milepost.event.v1.event_pb2 import (
    CheckpointCommand,
    CheckpointCommitted,
    CommandRequested,
    Event,
    SetPaceCommand,
    StartKind,
    Verdict,
)
from milepost.session.v1.session_pb2 import SessionSpec
from runtime import blobs

pytestmark = pytest.mark.asyncio(loop_scope="module")

END_S = 600.0


def spec() -> SessionSpec:
    return SessionSpec(seed=4, recovery=RecoveryPolicy.RECOVERY_POLICY_FAST)


async def checkpointed(stage: Rig, *, intervene: bool = False) -> tuple[str, Checkpoint]:
    """A paced session with a state file some intervals back."""
    commands = [CommandRequested(set_pace=SetPaceCommand(factor=100))]
    if intervene:
        commands.append(CommandRequested(intervene=slow(5.0)))
    session_id = await stage.create(spec(), *commands, end_s=END_S)
    await stage.until(session_id, lambda log: len(intervals(log)) > 5)
    await stage.ask(
        session_id, CommandRequested(checkpoint=CheckpointCommand(checkpoint_id="with-file", state_file=True))
    )
    log = await stage.until(session_id, has("checkpoint_committed"))
    made = next(e.checkpoint_committed.checkpoint for e in log if e.HasField("checkpoint_committed"))
    await stage.until(session_id, lambda log: intervals(log)[-1] > made.step + 30)
    return session_id, made


async def lost(stage: Rig, session_id: str) -> None:
    """Its process and every sleeping copy of it die."""
    for pid in simulating(session_id)[::-1]:
        kill(pid)
    await stage.ask(session_id, CommandRequested(set_pace=SetPaceCommand()))


def judged(log: list[Event]) -> list[tuple[int, int]]:
    return [(e.recovery_judged.verdict, e.recovery_judged.start) for e in log if e.HasField("recovery_judged")]


def rejected(log: list[Event]) -> list[str]:
    return [e.start_rejected.reason for e in log if e.HasField("start_rejected")]


@pytest.mark.parametrize("intervene", [False, pytest.param(True, marks=pytest.mark.slow)])
async def test_a_lost_session_goes_on_from_its_state_file_and_says_how_far_that_can_be_trusted(
    stage: Rig,
    intervene: bool,  # noqa: FBT001 a parameter of the test
) -> None:
    async with stage.worker(f"w-fast-{intervene}"):
        session_id, made = await checkpointed(stage, intervene=intervene)
        assert made.state_file.size_bytes > 0
        await lost(stage, session_id)
        log = await stage.until(session_id, ended)
    assert log[-1].HasField("session_completed"), log[-1]
    first = judged(log)[0]
    # Either it agreed with all that was recorded, or it was found to differ and the origin was taken instead.
    if first[0] == Verdict.VERDICT_AGREED:
        assert judged(log) == [(Verdict.VERDICT_AGREED, StartKind.START_KIND_STATE_FILE)]
    else:
        assert first == (Verdict.VERDICT_DIVERGED, StartKind.START_KIND_STATE_FILE)
        assert rejected(log) == ["DIVERGED"]
        assert judged(log)[-1] == (Verdict.VERDICT_EXACT, StartKind.START_KIND_ORIGIN)
    assert intervals(log) == list(range(10, int(END_S) + 1, 10))


@pytest.mark.slow
async def test_a_missing_and_a_corrupt_state_file_are_told_and_the_origin_is_exact(stage: Rig, tmp_path: Path) -> None:
    for damage, reason in ((Path.unlink, "MISSING"), (lambda path: path.write_bytes(b"<state/>"), "CORRUPT")):
        async with stage.worker(f"w-{reason.lower()}"):
            session_id, made = await checkpointed(stage)
            found = [path for path in stage.blob_folder.rglob("*") if made.state_file.sha256 in path.name]
            assert found
            for path in found:
                damage(path)
            await lost(stage, session_id)
            log = await stage.until(session_id, ended)
        assert rejected(log) == [reason]
        assert judged(log) == [(Verdict.VERDICT_EXACT, StartKind.START_KIND_ORIGIN)]
        assert log[-1].HasField("session_completed")


@pytest.mark.slow
async def test_a_state_file_of_another_build_and_one_that_does_not_load_are_not_used(stage: Rig) -> None:
    async with stage.worker("w-foreign"):
        session_id, made = await checkpointed(stage)
        foreign = Checkpoint()
        foreign.CopyFrom(made)
        foreign.checkpoint_id, foreign.state_file.sumo_version = "foreign", "1.2.3"
        broken = Checkpoint()
        broken.CopyFrom(made)
        broken.checkpoint_id = "broken"
        broken.state_file.sha256 = await stage.blobs.put_bytes(b"no state at all")
        await stage.append(session_id, CheckpointCommitted(checkpoint=broken), CheckpointCommitted(checkpoint=foreign))
        await lost(stage, session_id)
        log = await stage.until(session_id, ended)
    # A copy that was just being made when all were killed is found dead first.
    assert [reason for reason in rejected(log) if reason != "DIED"][:2] == ["OTHER_BUILD", "NOT_LOADED"]
    assert log[-1].HasField("session_completed")
    assert intervals(log) == list(range(10, int(END_S) + 1, 10))


async def test_a_state_file_is_written_while_the_simulation_goes_on(stage: Rig) -> None:
    async with stage.worker("w-beside"):
        session_id, made = await checkpointed(stage)
        log = await stage.log(session_id)
        kinds = [event.WhichOneof("payload") for event in log]
        assert kinds.index("checkpoint_started") < kinds.index("checkpoint_committed")
        async with asyncio.timeout(10):
            assert await stage.blobs.get_bytes(made.state_file.sha256, limit_bytes=1 << 30)
        await stage.ask(session_id, CommandRequested(set_pace=SetPaceCommand()))
        await stage.until(session_id, ended)


@pytest.mark.slow
async def test_a_state_file_waits_for_a_store_that_is_away_and_costs_its_session_nothing(
    stage: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An outage that outlasts a call, without the ten seconds that takes.
    monkeypatch.setattr(blobs, "_SMALL_TIMEOUT_S", 0.2)
    async with stage.worker("w-waits"):
        pace = CommandRequested(set_pace=SetPaceCommand(factor=100))
        session_id = await stage.create(spec(), pace, end_s=END_S)
        await stage.until(session_id, lambda log: len(intervals(log)) > 3)
        async with stage.store_away():
            wanted = CheckpointCommand(checkpoint_id="late", state_file=True)
            await stage.ask(session_id, CommandRequested(checkpoint=wanted))
            log = await stage.until(session_id, has("checkpoint_started"))
            began = log[-1].step
            # It goes on meanwhile, and nothing is committed that is not stored.
            log = await stage.until(session_id, lambda log: intervals(log)[-1] > began + 50)
            assert not has("checkpoint_committed")(log)
        await stage.until(session_id, has("checkpoint_committed"))
        await stage.ask(session_id, CommandRequested(set_pace=SetPaceCommand()))
        log = await stage.until(session_id, ended)
    assert log[-1].HasField("session_completed"), log[-1]
