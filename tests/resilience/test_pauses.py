"""A session that stood when it was left goes on when it is told to, whenever that is said. Found by chaos."""

import asyncio
from pathlib import Path

import pytest

from milepost.event.v1.event_pb2 import Event, EventKind
from milepost.session.v1.session_pb2 import SessionState
from resilience.faults import Blow, Fault, Victim, strike
from stack import running_stack

BEGIN_S = 25200.0


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_session_that_stands_as_it_was_told_is_not_given_up_however_often_its_process_dies(
    tmp_path: Path,
) -> None:
    async with running_stack(tmp_path / "stack", slots=1) as stack:
        sessions = stack.client.sessions
        name = (await sessions.create_demo(seed=1, end_time_s=BEGIN_S + 300)).session_id
        await sessions.run_until(name, BEGIN_S + 100)
        watch = stack.client.events.watch(
            name, kinds=[EventKind.EVENT_KIND_SESSION_RECOVERED, EventKind.EVENT_KIND_SESSION_FAILED]
        )
        for _ in range(4):
            assert strike(stack, Fault(0.0, Victim.CHILD, Blow.KILL, 0.0)) is not None
            async for item in watch:
                if isinstance(item, Event):
                    assert item.HasField("session_recovered"), item.session_failed.failure
                    break
        await sessions.pace(name, 0.0)
        assert (await sessions.wait(name)).state == SessionState.SESSION_STATE_COMPLETED
