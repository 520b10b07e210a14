"""What a session may take: time of its own, memory of its worker's machine."""

import asyncio

import pytest
from observations import ended, has
from rig import Rig

from milepost.session.v1.session_pb2 import FailureReason, Limits, SessionSpec

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

END_S = 900.0


async def test_a_session_beyond_its_wall_time_fails_saying_so(stage: Rig) -> None:
    spec = SessionSpec(seed=3, start_paused=True, limits=Limits(wall_time_s=1.0))
    async with stage.worker("w-limit"):
        session_id = await stage.create(spec, end_s=END_S)
        log = await stage.until(session_id, ended)
    failure = log[-1].session_failed.failure
    assert failure.reason == FailureReason.FAILURE_REASON_LIMIT_REACHED
    assert "wall" in failure.message


async def test_memory_pressure_suspends_the_largest_session_and_closes_the_worker(stage: Rig) -> None:
    # More than any machine has: there is always pressure.
    async with stage.worker("w-full", min_memory_mib=1 << 40):
        session_id = await stage.create(SessionSpec(seed=3, start_paused=True), end_s=END_S)
        log = await stage.until(session_id, lambda log: any(e.HasField("command_applied") for e in log))
        asked = next(e.command_requested for e in log if e.HasField("command_requested"))
        assert asked.HasField("suspend")
        assert (asked.asked_by, asked.comment) == ("w-full", "memory pressure on its worker")
        other = await stage.create(SessionSpec(seed=3), end_s=END_S)
        await asyncio.sleep(2)
        assert not has("attempt_claimed")(await stage.log(other))
    async with stage.worker("w-free"):
        await stage.until(other, ended)
