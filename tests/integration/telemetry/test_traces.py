"""One session is one trace: from the command that made it, over every process, to the one who watches it."""

import asyncio
import json

import pytest
from collector import Told, running_collector

from scenario.demo import demo_directory
from session_logs import simulated, whole_log
from stack import running_stack, start_milepost

# Of the demo city, which begins at seven: six seconds at this pace.
END_S, PACE = "26100", "150"
CREATE = "milepost.session.v1.SessionService/CreateSession"


def below(one: Told, parent: Told) -> bool:
    return one.span.parent_span_id == parent.span.span_id


@pytest.mark.slow
async def test_a_session_is_one_trace_over_all_processes_also_after_its_worker_was_killed(tmp_path):
    async with running_collector() as collector:
        environment = {"MILEPOST_LEASE_S": "2", **collector.environment}
        async with running_stack(tmp_path / "stack", workers=2, slots=1, environment=environment) as stack:
            addresses = ["--server", stack.ready["session_api"], "--event-store", stack.ready["event_store"]]
            command = await start_milepost(
                *("run", demo_directory(), "--id", "traced", "--end", END_S, "--pace", PACE, "--output", "json"),
                *addresses,
                environment=collector.environment,
            )
            told = asyncio.create_task(command.communicate())
            await collector.until(lambda: collector.spans("session.intervals", session_id="traced"))
            await collector.until(lambda: collector.spans("watch.intervals", session_id="traced"))
            victim = (await stack.client.sessions.get("traced")).worker_id
            killed = stack.kill(victim)
            output, errors = await told
            assert command.returncode == 0, (output, errors)
            await stack.restarted(victim, killed)
            log = await whole_log(stack, "traced")
            calm = await stack.client.sessions.create_demo(end_time_s=float(END_S), seed=23423)
            await stack.client.sessions.wait(calm.session_id)
            untraced = await whole_log(stack, calm.session_id)
            await collector.until(lambda: collector.spans("session.work", session_id="traced"))

        (root,) = collector.spans("milepost run")
        trace_id = root.span.trace_id
        asked, served = (
            next(one for one in collector.spans(CREATE) if one.service == name) for name in ("milepost", "session_api")
        )
        assert below(asked, root)
        assert below(served, asked)
        # The killed worker's own span left with it; what had ended below it was told before.
        (work,) = collector.spans("session.work", session_id="traced")
        assert work.service == "sim_worker"
        assert below(work, served)
        (attempt,) = collector.spans("session.attempt", session_id="traced")
        assert attempt.attributes["milepost.attempt"] == 2
        assert below(attempt, work)
        first_load, second_load = collector.spans("session.load", session_id="traced")
        assert below(second_load, attempt)
        assert attempt.linked == [first_load.span.parent_span_id]
        intervals = collector.spans("session.intervals", session_id="traced")
        assert {one.span.parent_span_id for one in intervals} == {first_load.span.parent_span_id, attempt.span.span_id}
        stored = collector.spans("store.events", session_id="traced")
        assert {one.service for one in stored} == {"event_store"}
        assert {one.span.parent_span_id for one in stored} >= {
            served.span.span_id,
            first_load.span.parent_span_id,
            attempt.span.span_id,
        }
        assert sum(int(str(one.attributes["milepost.events"])) for one in stored) == len(log)
        (seen,) = collector.spans("watch.intervals", session_id="traced")
        assert any(below(seen, one) and one.attributes["milepost.intervals"] for one in stored)
        watch = next(one for one in collector.told if one.span.name.endswith("/WatchEvents"))
        assert seen.linked == [watch.span.span_id]
        assert {one.span.trace_id for one in (*intervals, *stored, seen, watch, work, attempt)} == {trace_id}
        assert json.loads(output.splitlines()[-1])
        assert simulated(log) == simulated(untraced)
