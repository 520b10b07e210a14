"""What every command shares: the server it talks to, the form of its output, its exit code.

A command is an async function that gets a `Target` first; `add_command` adds the options that make the target, to
it and so to its help. Exit codes: 0 done (a command that waits for a session: it completed), 1 failed, 2 used
wrongly, 130 interrupted.
"""

import asyncio
import inspect
import re
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any

import typer
from rich.console import Console

from milepost.cli.traced import traced
from milepost.client import DEFAULT_SERVER, Milepost
from milepost.connection import NO_CREDENTIALS
from milepost.credentials import Credentials
from milepost.exceptions import UNREACHABLE, MilepostError
from milepost.login import Login, kept

# Gets a Target, then its own arguments and options.
Command = Callable[..., Coroutine[Any, Any, None]]

_INTERRUPTED = 130
_ADDRESS = re.compile(r"\S+:[0-9]{1,5}")
_HINTS = {
    UNREACHABLE: "; start one with: milepost up",
    "NOT_AUTHENTICATED": "; set MILEPOST_TOKEN, or use: milepost login",
}
# Findings of a refused scenario that are listed.
_MAX_FINDINGS = 50


class Output(Enum):
    """Form of what a command prints."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Target:
    """Which server, and how to print."""

    server: str | None
    event_store: str | None
    output: Output

    @property
    def address(self) -> str:
        """The session API's: as said, as logged in, or where `milepost up` puts it."""
        if self.server:
            return self.server
        login = _kept_login()
        return login.server if login else DEFAULT_SERVER

    @property
    def json(self) -> bool:
        """Whether programs read the output."""
        return self.output is Output.JSON

    def proof(self) -> tuple[Credentials, str | None]:
        """The credentials of the environment, else of the login to this very server; and its event store."""
        credentials, login = Credentials.from_environment(), _kept_login()
        if login is None or login.server != self.address:
            return credentials, self.event_store
        return (login.credentials if credentials == NO_CREDENTIALS else credentials), (
            self.event_store or login.event_store or None
        )

    @asynccontextmanager
    async def client(self, credentials: Credentials | None = None) -> AsyncIterator[Milepost]:
        """A client of the server. Says so at once when nobody is there, instead of trying for long.

        `credentials` None: those of `proof`.
        """
        own, store = self.proof()
        credentials = own if credentials is None else credentials
        for address in (self.address, store):
            if address is not None and not _ADDRESS.fullmatch(address):
                raise typer.BadParameter(f"{address!r} is not HOST:PORT")
        for file in (credentials.tls_ca, credentials.tls_cert, credentials.tls_key):
            if file is not None and not file.is_file():
                raise typer.BadParameter(f"{file} is not there")
        async with Milepost.connect(self.address, store, credentials=credentials) as client:
            await client.reachable()
            yield client


def _kept_login() -> Login | None:
    try:
        return kept()
    except ValueError as error:
        raise typer.BadParameter(f"{error}; log in again, or: milepost logout") from None


SERVER = typer.Option(
    "--server",
    envvar=["MILEPOST_SERVER", "MILEPOST_ADDRESS"],
    metavar="HOST:PORT",
    help="Address of the session API; by default the one logged in to.",
)
EVENT_STORE = typer.Option(
    "--event-store",
    envvar="MILEPOST_EVENT_STORE",
    metavar="HOST:PORT",
    help="Address of the event store; by default the next port of the session API.",
)
OUTPUT = typer.Option(
    "--output", envvar="MILEPOST_OUTPUT", help="Tables and progress for humans, or JSON for programs."
)
_TARGET_OPTIONS = tuple(
    inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
    for name, default, annotation in (
        ("server", None, Annotated[str | None, SERVER]),
        ("event_store", None, Annotated[str | None, EVENT_STORE]),
        ("output", Output.TEXT, Annotated[Output, OUTPUT]),
    )
)


def add_command(app: typer.Typer, name: str, function: Command, *, panel: str | None = None) -> None:
    """Make an async function whose first parameter is a Target a command of `app`, listed under `panel`."""
    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    parameters = [*(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own), *_TARGET_OPTIONS]

    def run(*, server: str | None, event_store: str | None, output: Output, **given: Any) -> None:
        with traced(name):
            finish(function(Target(server, event_store, output), **given))

    # Typer reads a command's options from its signature.
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    run.__doc__ = function.__doc__
    app.command(name, rich_help_panel=panel)(run)


def finish(work: Coroutine[Any, Any, None]) -> None:
    """Run a command to its end; failures become one clear line on standard error and an exit code."""
    try:
        asyncio.run(work)
    except MilepostError as error:
        print_error(error)
        raise typer.Exit(1) from None
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise typer.Exit(_INTERRUPTED) from None


def print_error(error: MilepostError) -> None:
    """One line, then one per finding (`file:line`, or the field)."""
    hint = _HINTS.get(error.reason, "")
    if not error.violations:
        fail_line(f"{error.message}{hint}")
        return
    fail_line(f"{error.reason}: {len(error.violations)} finding{'s' if len(error.violations) > 1 else ''}")
    for violation in error.violations[:_MAX_FINDINGS]:
        sys.stderr.write(f"  {violation.field}: {violation.description}\n")
    if len(error.violations) > _MAX_FINDINGS:
        sys.stderr.write(f"  and {len(error.violations) - _MAX_FINDINGS} more\n")


def fail_line(message: str) -> None:
    """Say on standard error what went wrong."""
    sys.stderr.write(f"error: {message}\n")


def console() -> Console:
    """Where tables go; as wide as they need to be when nobody looks. Names are text: rich's own markup is off."""
    return Console(markup=False) if sys.stdout.isatty() else Console(width=160, markup=False)
