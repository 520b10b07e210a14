"""A disk that is full for a while: what was acknowledged is there, what runs goes on once there is room (log.md R5)."""

import asyncio
from pathlib import Path

import pytest

from milepost.event.v1.event_pb2 import Event, EventKind
from milepost.session.v1.session_pb2 import SessionState
from resilience.faults import small_disk
from session_logs import simulated, whole_log
from stack import running_stack

DISK_MIB = 128
# Longer than a lease: nobody can append, so nobody may be taken for dead.
FULL_S = 3.0


@pytest.mark.long
@pytest.mark.timeout(180)
async def test_sessions_go_on_when_a_full_disk_has_room_again(tmp_path: Path) -> None:
    async with small_disk(tmp_path / "stack" / "data", DISK_MIB) as disk:
        if disk is None:
            pytest.skip("a disk that can be full takes the privilege to mount a tmpfs")
        async with running_stack(
            tmp_path / "stack", environment={"MILEPOST_LEASE_S": "2", "MILEPOST_MIN_DISK_MIB": "0"}
        ) as stack:
            session = await stack.client.sessions.create_demo(seed=1)
            async for item in stack.client.events.watch(
                session.session_id, kinds=[EventKind.EVENT_KIND_INTERVAL_CLOSED]
            ):
                if isinstance(item, Event):
                    break
            disk.fill()
            await asyncio.sleep(FULL_S)
            disk.free()
            async with asyncio.timeout(60):
                ended = await stack.client.sessions.wait(session.session_id)
            assert ended.state == SessionState.SESSION_STATE_COMPLETED, ended.failure
            calm = await stack.client.sessions.create_demo(seed=1)
            await stack.client.sessions.wait(calm.session_id)
            logs = [await whole_log(stack, one.session_id) for one in (session, calm)]
            assert simulated(logs[0]) == simulated(logs[1])
