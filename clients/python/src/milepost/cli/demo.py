"""`milepost demo`: three sessions of the bundled city at once, from nothing to a picture, leaving only that."""

import asyncio
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from milepost.cli.command import Output, Target, fail_line, finish
from milepost.cli.progress import display, follow
from milepost.cli.run import leave_unless_completed, print_outcome
from milepost.cli.series import Series
from milepost.cli.up import STACK_FAILURES
from milepost.client import Milepost
from milepost.session.v1.session_pb2 import Session
from milepost.up.children import StackSettings
from milepost.up.stack import running_stack

SEEDS = (1, 2, 3)


def demo(
    picture: Annotated[Path, typer.Option(help="Where to put the picture of the KPIs over time.")] = Path("demo.png"),
) -> None:
    """Run three sessions of a bundled city in a stack of their own, and draw what happened."""
    finish(_demo(picture))


async def _demo(picture: Path) -> None:
    task = asyncio.current_task()
    assert task is not None
    # Told to stop, it still takes everything down and leaves nothing.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with tempfile.TemporaryDirectory(prefix="milepost-demo-") as directory:
        sys.stderr.write("starting broker, event store, session API and a worker …\n")
        settings = StackSettings(data_directory=Path(directory), slots=len(SEEDS))
        try:
            async with (
                running_stack(settings) as stack,
                Milepost.connect(stack.addresses.session_api, stack.addresses.event_store) as client,
            ):
                series = [Series(seed) for seed in SEEDS]
                sessions = await _run_all(client, series)
        except STACK_FAILURES as error:
            fail_line(str(error))
            raise typer.Exit(1) from None
    print_outcome(Target(None, None, Output.TEXT), sessions)
    leave_unless_completed(sessions)
    _draw(series, picture)
    print(f"picture: {picture}")


async def _run_all(client: Milepost, series: list[Series]) -> list[Session]:
    with ExitStack() as stack:
        shown = display(quiet=False, stack=stack)

        async def run(one: Series) -> Session:
            session = await client.sessions.create_demo(seed=one.seed, display_name=f"seed {one.seed}")
            return await follow(client, session, shown, on_item=one.take)

        try:
            async with asyncio.TaskGroup() as tasks:
                runs = [tasks.create_task(run(one), name=f"seed {one.seed}") for one in series]
        except ExceptionGroup as failed:
            # One is enough to tell.
            raise failed.exceptions[0] from None
    return [run.result() for run in runs]


def _draw(series: list[Series], picture: Path) -> None:
    # Only here: matplotlib takes half a second to import, which no other command should pay.
    from milepost.cli.picture import draw  # noqa: PLC0415

    draw(series, picture)
