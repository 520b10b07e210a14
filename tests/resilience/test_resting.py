"""A suspended session goes on long after the broker has forgotten it (log.md R4, R15)."""

import asyncio
from pathlib import Path

import pytest

from milepost.session.v1.session_pb2 import SessionSpec, SessionState
from runtime.broker import connect, jetstream
from session_logs import simulated, whole_log
from stack import running_stack

END_TIME_S = 26100.0


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_suspended_session_is_resumed_after_its_log_left_the_broker(tmp_path: Path) -> None:
    async with running_stack(tmp_path / "stack", environment={"MILEPOST_PURGE_DELAY_S": "1"}) as stack:
        calm = await stack.client.sessions.create_demo(seed=1, end_time_s=END_TIME_S)
        await stack.client.sessions.wait(calm.session_id)
        digest = (await stack.client.sessions.get(calm.session_id, full=True)).spec.scenario_digest
        spec = SessionSpec(scenario_digest=digest, seed=1, end_time_s=END_TIME_S, start_paused=True)
        session = await stack.client.sessions.create(spec)
        await stack.client.sessions.run_until(session.session_id, END_TIME_S - 400)
        await stack.client.sessions.suspend(session.session_id)

        broker = await connect(stack.ready["nats"], name="test", appends=False)
        async with asyncio.timeout(60):
            # One message of each log stays: the fence.
            while (await jetstream(broker).stream_info("SESSIONS")).state.messages > 2:
                await asyncio.sleep(0.1)
        await broker.close()

        await stack.client.sessions.resume(session.session_id)
        await stack.client.sessions.pace(session.session_id, 0)
        ended = await stack.client.sessions.wait(session.session_id)
        assert ended.state == SessionState.SESSION_STATE_COMPLETED, ended.failure
        assert [attempt.verdict for attempt in ended.attempts] == ["", "EXACT"]
        logs = [await whole_log(stack, one.session_id) for one in (session, calm)]
    assert simulated(logs[0]) == simulated(logs[1])
