"""Children of `milepost up`: kept alive, stopped, and gone when their parent is."""

import asyncio
import os
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from milepost.up.child import Child, ChildHopeless, ChildSpec

DEADLINE_S = 10.0
# Says that it serves by making a file that is named after it, and waits to be told to stop.
SERVES = "import os, pathlib, signal; pathlib.Path(str(os.getpid())).touch(); signal.pause()"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SERVES
DIES = "import sys; sys.exit('no such thing')"
# Keeps a child, prints its pid when it serves, and never stops it.
PARENT = f"""
import asyncio, pathlib, sys, os
from milepost.up.child import Child, ChildSpec
async def serves(pid): return pathlib.Path(str(pid)).exists()
spec = ChildSpec("c", (sys.executable, "-c", {SERVES!r}), os.environ, pathlib.Path("c.log"), serves, 5)
child = Child(spec, changed=lambda: print(child.pid, flush=True))
asyncio.run(child.keep_alive())
"""


def spec_of(directory: Path, program: str, *, stop_timeout_s: float = 5.0) -> ChildSpec:
    async def serves(pid: int) -> bool:
        return (directory / str(pid)).exists()

    in_directory = f"import os; os.chdir({str(directory)!r}); {program}"
    command = (sys.executable, "-c", in_directory)
    return ChildSpec("child", command, os.environ, directory / "child.log", serves, stop_timeout_s)


@asynccontextmanager
async def kept_alive(spec: ChildSpec) -> AsyncIterator[tuple[Child, "asyncio.Queue[int | None]"]]:
    """A child and the pids it served with, one after the other."""
    pids: asyncio.Queue[int | None] = asyncio.Queue()
    child = Child(spec, changed=lambda: pids.put_nowait(child.pid))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(child.keep_alive())
        try:
            yield child, pids
        finally:
            await asyncio.wait_for(child.stop(), DEADLINE_S)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_child_that_is_killed_is_started_again(tmp_path):
    async with kept_alive(spec_of(tmp_path, SERVES)) as (child, pids):
        first = await asyncio.wait_for(pids.get(), DEADLINE_S)
        os.kill(first, signal.SIGKILL)
        second = await asyncio.wait_for(pids.get(), DEADLINE_S)

        assert first != second
        assert child.pid == second
        assert not alive(first)
    assert not alive(second)


async def test_a_child_that_does_not_listen_is_killed_after_its_time(tmp_path):
    async with kept_alive(spec_of(tmp_path, DEAF, stop_timeout_s=0.2)) as (child, pids):
        pid = await asyncio.wait_for(pids.get(), DEADLINE_S)
        await asyncio.wait_for(child.stop(), DEADLINE_S)

        assert not alive(pid)


async def test_a_child_that_is_stopped_before_it_serves_is_gone(tmp_path):
    never = "import signal; signal.pause()"
    async with kept_alive(spec_of(tmp_path, never)) as (child, pids):
        await asyncio.wait_for(child.stop(), DEADLINE_S)

        assert pids.empty()
        assert child.pid is None


async def test_a_child_that_never_serves_is_given_up_with_its_last_words(tmp_path):
    child = Child(spec_of(tmp_path, DIES), changed=lambda: None)

    with pytest.raises(ChildHopeless, match="no such thing") as caught:
        await asyncio.wait_for(child.keep_alive(), DEADLINE_S)

    assert caught.value.exit_code == 1
    assert (tmp_path / "child.log").read_text().count("no such thing") == 3


def test_a_child_dies_with_its_parent_even_when_that_is_killed(tmp_path):
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    try:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        assert select.select([child], [], [], 0)[0] == []
    finally:
        parent.kill()
        parent.communicate()

    # Readable when the process has died, whoever collects it.
    assert select.select([child], [], [], DEADLINE_S)[0] == [child]
    os.close(child)
