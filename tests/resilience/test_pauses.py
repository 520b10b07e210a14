"""A session that stood when it was left goes on when it is told to, whenever that is said. Found by chaos."""

import asyncio
from pathlib import Path

import pytest

from milepost.session.v1.session_pb2 import SessionState
from stack import running_stack

BEGIN_S = 25200.0


@pytest.mark.timeout(120)
async def test_a_pause_that_ends_while_the_session_is_recovering_ends(tmp_path: Path) -> None:
    async with running_stack(tmp_path / "stack") as stack:
        sessions = stack.client.sessions
        name = (await sessions.create_demo(seed=1, end_time_s=BEGIN_S + 900)).session_id
        # Within an interval: the place stands in the log as a pause alone.
        await sessions.run_until(name, BEGIN_S + 666)
        await sessions.suspend(name)
        await sessions.resume(name)
        await sessions.pace(name, 0.0)
        async with asyncio.timeout(40):
            ended = await sessions.wait(name)
        assert ended.state == SessionState.SESSION_STATE_COMPLETED, ended.failure
