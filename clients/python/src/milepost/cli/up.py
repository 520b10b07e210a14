"""`milepost up`: the all-in-one, until it is told to stop."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Annotated

import typer

from milepost.cli.command import fail_line, finish
from milepost.client import DEFAULT_SERVER
from milepost.up.broker import BrokerMissing
from milepost.up.child import ChildHopeless
from milepost.up.children import StackSettings, authenticates
from milepost.up.data_directory import DataDirectoryInUse
from milepost.up.stack import PortTaken, ServicesMissing, StackTooSlow, running_stack

STACK_FAILURES = (BrokerMissing, ChildHopeless, DataDirectoryInUse, PortTaken, ServicesMissing, StackTooSlow)
DEFAULT_PORT = int(DEFAULT_SERVER.rpartition(":")[2])


def up(
    *,
    data_dir: Annotated[Path, typer.Option(help="Where everything is kept.")] = Path("milepost-data"),
    ready_file: Annotated[
        Path | None, typer.Option(help="Where to write JSON with addresses and pids once everything serves.")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, max=64, help="Worker processes; 0: others are started elsewhere.")] = 1,
    slots: Annotated[
        int | None, typer.Option(min=1, help="Sessions a worker runs at once; by default what the machine can bear.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65534, help="Port of the session API; 0: any.")] = DEFAULT_PORT,
    event_store_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port of the event store; by default the next one.")
    ] = None,
    gateway: Annotated[bool, typer.Option(help="Serve browsers, and the console, too.")] = True,
    gateway_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port for browsers; by default two after the session API's.")
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(
            envvar="MILEPOST_DATABASE",
            help="A PostgreSQL database, postgresql://user@host/name; by default SQLite files in the data directory.",
        ),
    ] = None,
) -> None:
    """Run broker, services and workers on this machine, for this machine."""
    settings = StackSettings(
        data_directory=data_dir,
        ready_file=ready_file,
        workers=workers,
        slots=slots,
        port=port,
        event_store_port=event_store_port,
        gateway=gateway,
        gateway_port=gateway_port,
        database=database,
    )
    finish(_serve(settings))


async def _serve(settings: StackSettings) -> None:
    serving = asyncio.create_task(_until_cancelled(settings), name="stack")

    def ask() -> None:
        if serving.cancelling():
            # Asked twice: whoever asks does not want to wait. The kernel takes the children along.
            os._exit(1)
        print("Stopping.", flush=True)
        serving.cancel()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, ask)
    await asyncio.wait({serving})
    if not serving.cancelled():
        await serving


async def _until_cancelled(settings: StackSettings) -> None:
    try:
        async with running_stack(settings) as stack:
            print(
                f"Milepost serves at {stack.addresses.session_api}, its event store at {stack.addresses.event_store}."
            )
            if stack.addresses.gateway:
                print(f"Browsers are served at http://{stack.addresses.gateway}.")
            print(f"Everything is kept in {settings.data_directory.absolute()}; logs are in logs/ there.")
            who = "asks callers for tokens or certificates" if authenticates() else "has no authentication"
            print(f"It listens on this machine only and {who}. Stop it with Ctrl-C.", flush=True)
            await asyncio.Event().wait()
    except STACK_FAILURES as error:
        fail_line(str(error))
        raise typer.Exit(1) from None
