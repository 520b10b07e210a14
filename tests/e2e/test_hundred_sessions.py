"""A hundred sessions at once. How fast each create is acknowledged is a figure: `python -m bench many-sessions`."""

import asyncio
from pathlib import Path

import pytest

from milepost.session.v1.session_pb2 import SessionSpec, SessionState
from session_logs import whole_log
from stack import running_stack

SESSIONS = 100


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_hundred_sessions_created_at_once_all_complete_and_leave_nothing(city: Path, tmp_path: Path) -> None:
    # The stack itself proves at its end that no process and no directory is left.
    async with running_stack(tmp_path / "stack", slots=SESSIONS) as stack:
        scenario = await stack.client.scenarios.upload(city)

        async def create(seed: int) -> str:
            spec = SessionSpec(scenario_digest=scenario.digest, seed=seed, end_time_s=120)
            return (await stack.client.sessions.create(spec)).session_id

        created = await asyncio.gather(*(create(seed) for seed in range(SESSIONS)))
        ended = await asyncio.gather(*(stack.client.sessions.wait(name) for name in created))
        assert [one.failure for one in ended if one.state != SessionState.SESSION_STATE_COMPLETED] == []
        assert len({session.results.state_digest for session in ended}) == SESSIONS, "each its own seed"
        for name in created[::10]:
            await whole_log(stack, name)
