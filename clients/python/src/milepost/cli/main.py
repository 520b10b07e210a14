"""The command `milepost`, put together."""

import os
from typing import Annotated

import typer

from milepost.cli import demo, events, run, scenarios, sessions, up
from milepost.cli.command import EVENT_STORE, OUTPUT, SERVER, Output, add_command

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def milepost(
    server: Annotated[str | None, SERVER] = None,
    event_store: Annotated[str | None, EVENT_STORE] = None,
    output: Annotated[Output | None, OUTPUT] = None,
) -> None:
    """SUMO, the traffic simulator, as a durable service."""
    # These belong to the commands, where their help is; said before the command they are its environment.
    given = {"SERVER": server, "EVENT_STORE": event_store, "OUTPUT": output.value if output else None}
    os.environ.update({f"MILEPOST_{name}": value for name, value in given.items() if value is not None})


app.command("up")(up.up)
app.command("demo")(demo.demo)
add_command(app, "run", run.run)

sessions_app = typer.Typer(help="Look sessions up, follow and command them.", no_args_is_help=True)
add_command(sessions_app, "list", sessions.list_)
add_command(sessions_app, "get", sessions.get)
add_command(sessions_app, "watch", sessions.watch)
add_command(sessions_app, "start", sessions.start)
add_command(sessions_app, "cancel", sessions.cancel)
app.add_typer(sessions_app, name="sessions")

scenarios_app = typer.Typer(help="Upload, list and validate scenarios.", no_args_is_help=True)
add_command(scenarios_app, "upload", scenarios.upload)
add_command(scenarios_app, "list", scenarios.list_)
add_command(scenarios_app, "validate", scenarios.validate)
app.add_typer(scenarios_app, name="scenarios")

add_command(app, "events", events.events)
