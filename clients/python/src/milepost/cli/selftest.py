"""`milepost selftest`: does this installation do what it promises? Leaves nothing but deleted sessions."""

import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from milepost.cli.command import Target, console, fail_line
from milepost.cli.trial import Trial, Unexpected
from milepost.cli.up import STACK_FAILURES
from milepost.client import Milepost
from milepost.exceptions import MilepostError
from milepost.up.children import StackSettings
from milepost.up.stack import Stack, running_stack

# What one step may take on a slow and busy machine, seconds; none should need a tenth of it.
STEP_TIMEOUT_S = 180.0
# The session and its fork run at once.
_SLOTS = 2
_WORKER = "worker-1"


@dataclass(frozen=True, slots=True)
class Tried:
    """A step of the trial and what became of it: `ok`, `failed` or `not tried`."""

    step: str
    outcome: str
    seconds: float
    words: str


async def selftest(
    target: Target,
    embedded: Annotated[
        bool, typer.Option("--embedded", help="Try a temporary stack of its own, and kill its worker, too.")
    ] = False,
) -> None:
    """Take a session through everything it promises, and say what held. Exit code 1 when something failed."""
    tried: list[Tried] = []
    if embedded:
        try:
            async with (
                _own_stack() as stack,
                Milepost.connect(stack.addresses.session_api, stack.addresses.event_store) as client,
            ):
                tried = await try_all(Trial(client, kill_worker=lambda: os.kill(stack.pids[_WORKER], signal.SIGKILL)))
        except STACK_FAILURES as error:
            fail_line(str(error))
            raise typer.Exit(1) from None
    else:
        async with target.client() as client:
            tried = await try_all(Trial(client))
    if target.json:
        print(json.dumps({"ok": all_ok(tried), "steps": [asdict(one) for one in tried]}, ensure_ascii=False))
    else:
        console().print(tried_table(tried))
    if not all_ok(tried):
        raise typer.Exit(1)


async def try_all(trial: Trial) -> list[Tried]:
    """Every step up to the first that fails, and the cleaning up, which is tried always."""
    tried: list[Tried] = []
    try:
        for step, attempt in trial.steps():
            if not all_ok(tried):
                tried.append(Tried(step, "not tried", 0.0, ""))
                continue
            sys.stderr.write(f"{step} …\n")
            tried.append(await _try(step, attempt()))
    finally:
        tried.append(await _try("clean up", trial.clean_up()))
    return tried


def all_ok(tried: list[Tried]) -> bool:
    """Whether every step was tried and held."""
    return all(one.outcome == "ok" for one in tried)


def tried_table(tried: list[Tried]) -> Table:
    """One row per step."""
    table = Table("step", "", box=None)
    table.add_column("took", justify="right")
    table.add_column("")
    for one in tried:
        took = f"{one.seconds:.2f} s" if one.outcome != "not tried" else ""
        table.add_row(one.step, one.outcome, took, one.words)
    return table


async def _try(step: str, attempt: Awaitable[str]) -> Tried:
    began = time.monotonic()
    try:
        async with asyncio.timeout(STEP_TIMEOUT_S):
            outcome, words = "ok", await attempt
    except (Unexpected, MilepostError) as failed:
        outcome, words = "failed", str(failed)
    except TimeoutError:
        outcome, words = "failed", f"took longer than {STEP_TIMEOUT_S:.0f} s"
    return Tried(step, outcome, round(time.monotonic() - began, 3), words)


@asynccontextmanager
async def _own_stack() -> AsyncIterator[Stack]:
    """A stack in a temporary directory; told to stop, it still takes everything down and leaves nothing."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with tempfile.TemporaryDirectory(prefix="milepost-selftest-") as directory:
        sys.stderr.write("starting broker, event store, session API and a worker …\n")
        async with running_stack(StackSettings(data_directory=Path(directory), slots=_SLOTS)) as stack:
            yield stack
