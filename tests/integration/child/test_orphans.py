"""Nothing survives a worker, however it dies."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from child_runs import City

sys.path.insert(0, str(Path(__file__).parent))

from processes import alive, until_gone

# Starting the interpreter, the zygote and a child per engine.
STARTED_WITHIN_S = 30.0


async def test_nothing_survives_the_worker_when_it_is_killed(city: City, tmp_path: Path) -> None:
    folders = [str(Path(__file__).parent), str(Path(__file__).parents[2] / "contract" / "engine")]
    worker = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).parent / "orphan_maker.py"),
        str(city.net),
        str(tmp_path),
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([*folders, os.environ.get("PYTHONPATH", "")])},
    )
    try:
        assert worker.stdout is not None
        async with asyncio.timeout(STARTED_WITHIN_S):
            pids = [int(pid) for pid in (await worker.stdout.readline()).split()]
        assert len(pids) >= 3
        assert all(map(alive, pids))
    finally:
        os.kill(worker.pid, signal.SIGKILL)
        await worker.wait()
    await until_gone(pids)
