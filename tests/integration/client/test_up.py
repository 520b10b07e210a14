"""`milepost up`: what dies comes back where it was, what ends leaves nothing, what was kept is there again."""

import asyncio
import signal
import socket

import pytest

from milepost.session.v1.session_pb2 import SessionState
from stack import running_stack, start_milepost

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_whatever_child_is_killed_serves_again_at_its_address_and_nothing_is_lost(stack):
    before = stack.ready
    session = await stack.client.sessions.create_demo(seed=1, end_time_s=25_800)

    for name in ("nats", "event_store", "session_api", "worker-1"):
        killed = stack.kill(name)
        await stack.restarted(name, killed)
        assert (await stack.client.events.head(session.session_id)).head_seq >= 1

    after = stack.ready
    assert {name: after[name] for name in ("session_api", "event_store", "nats", "pid")} == {
        name: before[name] for name in ("session_api", "event_store", "nats", "pid")
    }
    ended = await asyncio.wait_for(stack.client.sessions.wait(session.session_id), 60)
    assert ended.state == SessionState.SESSION_STATE_COMPLETED


async def test_killed_itself_it_takes_everything_along_and_finds_everything_again(tmp_path):
    async with running_stack(tmp_path / "stack") as first:
        session = await first.client.sessions.create_demo(seed=1, end_time_s=100_000)
        started = asyncio.create_task(anext_event(first.client.events.watch(session.session_id), "run_started"))
        await asyncio.wait_for(started, 60)
        await first.stop(signal.SIGKILL)
        await first.gone()

    async with running_stack(tmp_path / "stack") as second:
        again = await second.client.sessions.get(session.session_id)
        head = await second.client.events.head(session.session_id)
        assert again.spec == session.spec
        assert head.head_seq >= started.result().seq


async def test_two_never_share_a_directory(stack):
    second = await start_milepost("up", "--data-dir", stack.folder / "data", "--port", "0", environment={})
    out, err = await second.communicate()

    assert second.returncode == 1
    assert out == b""
    assert "another `milepost up` is using" in err.decode()


async def test_a_port_that_is_taken_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = await start_milepost("up", "--data-dir", tmp_path, "--port", str(port), environment={})
        _, err = await process.communicate()

    assert process.returncode == 1
    assert f"port {port} of 127.0.0.1 is in use" in err.decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_told_to_stop_while_it_starts_it_stops_and_leaves_nothing(tmp_path, number):
    process = await start_milepost("up", "--data-dir", tmp_path / "d", "--port", "0", environment={})
    death = asyncio.create_task(process.wait())
    async with asyncio.timeout(30):
        while not (tmp_path / "d" / "logs" / "nats.log").exists():
            await asyncio.wait({death}, timeout=0.01)
    process.send_signal(number)
    _, err = await asyncio.wait_for(process.communicate(), 60)

    assert (process.returncode, err) == (0, b"")


async def anext_event(watch, kind: str):
    """The first event of a kind."""
    async for item in watch:
        if item.DESCRIPTOR.name == "Event" and item.HasField(kind):
            return item
    raise AssertionError(f"no {kind}")
