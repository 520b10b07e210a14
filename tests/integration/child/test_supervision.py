"""A worker sees to it that a child ends, one way or another, and knows how."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from child_runs import City, plan, run, stepping

from milepost.child.v1.child_pb2 import FromChild
from milepost.session.v1.session_pb2 import Engine
from sim_worker.gateways.child_process import Child, ChildExit, ChildLimits, ExitCause
from sim_worker.gateways.zygote import Zygote

sys.path.insert(0, str(Path(__file__).parent))

from processes import family, until_gone

pytestmark = pytest.mark.asyncio(loop_scope="module")

EngineKind = Engine.ValueType

# A run that ends only because it is made to.
ENDLESS_S = 1e9


async def test_it_waits_for_the_log_and_goes_on_with_it(city: City, zygote: Zygote, engine: EngineKind) -> None:
    what = plan(engine, end_time_s=200)
    child = await zygote.launch(what, city.lay_out(f"ahead {engine}"), ChildLimits())
    heard: list[int] = []
    async for message in child.messages():
        if message.HasField("interval"):
            heard.append(message.interval.step)
        elif message.HasField("alive") and heard:
            # It says that it lives, but simulates nothing more until the log has caught up.
            assert len(heard) % what.run_ahead_intervals == 0
            await child.durable(heard[-1])
    assert heard == list(range(10, 201, 10))
    assert await child.exited() == ChildExit(exit_code=0, cause=None)


async def test_a_child_killed_from_outside_is_reported(city: City, zygote: Zygote, engine: EngineKind) -> None:
    what = plan(engine, end_time_s=ENDLESS_S)
    async with stepping(zygote, city.lay_out(f"nine {engine}"), what) as (child, messages):
        members = family(child.pid)
        os.kill(child.pid, signal.SIGKILL)
        assert {message.WhichOneof("message") async for message in messages} <= {"interval", "alive"}
        assert await child.exited() == ChildExit(exit_code=-signal.SIGKILL, cause=None)
    await until_gone(members)


async def test_the_sumo_binary_killed_from_outside_is_a_failure(city: City, zygote: Zygote) -> None:
    what = plan(Engine.ENGINE_TRACI, end_time_s=ENDLESS_S)
    async with stepping(zygote, city.lay_out("binary"), what) as (child, messages):
        _, sumo = family(child.pid)
        os.kill(sumo, signal.SIGKILL)
        await child.durable(10_000)
        (failed,) = [message.failed async for message in messages if message.HasField("failed")]
    assert not failed.loading
    assert (await child.exited()).exit_code == 1


async def test_loading_that_takes_too_long_is_ended(city: City, zygote: Zygote, engine: EngineKind) -> None:
    limits = ChildLimits(init_timeout_s=0.001)
    heard = await run(zygote, city.lay_out(f"init {engine}"), plan(engine), limits=limits)
    assert heard.exit == ChildExit(exit_code=-signal.SIGKILL, cause=ExitCause.INIT_TIMEOUT)


async def test_a_step_that_takes_too_long_is_ended(city: City, zygote: Zygote, engine: EngineKind) -> None:
    async def hold(child: Child, message: FromChild) -> None:
        if message.HasField("started"):
            os.kill(child.pid, signal.SIGSTOP)

    limits = ChildLimits(stall_timeout_s=0.3)
    what = plan(engine, end_time_s=ENDLESS_S)
    heard = await run(zygote, city.lay_out(f"stall {engine}"), what, limits=limits, on_message=hold)
    assert heard.exit == ChildExit(exit_code=-signal.SIGKILL, cause=ExitCause.STALLED)


async def test_too_much_memory_is_the_end(city: City, zygote: Zygote, engine: EngineKind) -> None:
    limits = ChildLimits(memory_limit_bytes=1024**2)
    what = plan(engine, end_time_s=ENDLESS_S)
    heard = await run(zygote, city.lay_out(f"memory {engine}"), what, limits=limits)
    assert heard.exit == ChildExit(exit_code=-signal.SIGKILL, cause=ExitCause.MEMORY_LIMIT)


async def test_a_file_that_grows_too_large_is_the_end(city: City, zygote: Zygote) -> None:
    if zygote.ready.libsumo_missing:
        pytest.skip(f"libsumo cannot be used here: {zygote.ready.libsumo_missing}")
    what = plan(Engine.ENGINE_LIBSUMO, "--fcd-output", "fcd.xml", end_time_s=ENDLESS_S)
    what.file_size_limit_bytes = 100_000
    directory = city.lay_out("large")
    heard = await run(zygote, directory, what)
    assert heard.exit == ChildExit(exit_code=-signal.SIGXFSZ, cause=None)
    assert (directory / "fcd.xml").stat().st_size <= what.file_size_limit_bytes


async def test_a_child_that_does_not_stop_when_asked_is_killed(city: City, zygote: Zygote, engine: EngineKind) -> None:
    what, limits = plan(engine, end_time_s=ENDLESS_S), ChildLimits(stop_grace_s=0.1)
    async with stepping(zygote, city.lay_out(f"deaf {engine}"), what, limits=limits) as (child, _):
        os.kill(child.pid, signal.SIGSTOP)
        await child.stop()
        assert await child.exited() == ChildExit(exit_code=-signal.SIGKILL, cause=ExitCause.KILLED)


async def test_a_killed_child_takes_the_binary_with_it(city: City, zygote: Zygote) -> None:
    what = plan(Engine.ENGINE_TRACI, end_time_s=ENDLESS_S)
    async with stepping(zygote, city.lay_out("both"), what) as (child, _):
        members = family(child.pid)
        assert len(members) == 2
        child.kill()
        assert await child.exited() == ChildExit(exit_code=-signal.SIGKILL, cause=ExitCause.KILLED)
    await until_gone(members)


async def test_a_child_that_nobody_listens_to_leaves(city: City, zygote: Zygote, engine: EngineKind) -> None:
    what = plan(engine, end_time_s=ENDLESS_S)
    async with stepping(zygote, city.lay_out(f"alone {engine}"), what) as (child, _):
        members = family(child.pid)
    assert (await child.exited()).cause is None
    await until_gone(members)


async def test_a_zygote_that_dies_takes_its_children_and_is_replaced(
    city: City, zygote: Zygote, engine: EngineKind
) -> None:
    what = plan(engine, end_time_s=ENDLESS_S)
    async with stepping(zygote, city.lay_out(f"lost {engine}"), what) as (child, _):
        members = family(zygote.pid)
        os.kill(zygote.pid, signal.SIGKILL)
        assert await child.exited() == ChildExit(exit_code=-signal.SIGKILL, cause=ExitCause.ZYGOTE_LOST)
    await until_gone(members)
    heard = await run(zygote, city.lay_out(f"after {engine}"), plan(engine, end_time_s=20))
    assert heard.finished is not None


async def test_a_hundred_children_all_complete_and_nothing_is_left(city: City, zygote: Zygote) -> None:
    if zygote.ready.libsumo_missing:
        pytest.skip(f"libsumo cannot be used here: {zygote.ready.libsumo_missing}")
    what = plan(Engine.ENGINE_LIBSUMO, end_time_s=30)
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    runs = await asyncio.gather(*(run(zygote, city.lay_out(f"hundred {n}"), what) for n in range(100)))
    assert {heard.exit for heard in runs} == {ChildExit(exit_code=0, cause=None)}
    assert len({heard.last.state_digest for heard in runs}) == 1
    assert family(zygote.pid) == [zygote.pid]
    assert len(list(Path("/proc/self/fd").iterdir())) <= descriptors
