"""The command `milepost`, put together."""

import os
from typing import Annotated

import typer

from milepost.cli import (
    account,
    admin,
    audit,
    demo,
    events,
    export,
    lifecycle,
    places,
    questions,
    quota,
    report,
    run,
    scenarios,
    selftest,
    sessions,
    stats,
    steering,
    study,
    study_report,
    template,
    top,
    up,
)
from milepost.cli.command import EVENT_STORE, OUTPUT, SERVER, Command, Output, add_command

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


SERVE, RUN, COMMAND, PAST, LOOK = "Serve", "Run", "Command a session", "Go back, branch off", "Look"

app.command("up", rich_help_panel=SERVE)(up.up)
app.command("demo", rich_help_panel=SERVE)(demo.demo)
add_command(app, "login", account.login, panel=SERVE)
app.command("logout", rich_help_panel=SERVE)(account.logout)
add_command(app, "selftest", selftest.selftest, panel=SERVE)
add_command(app, "run", run.run, panel=RUN)

sessions_app = typer.Typer(help="Look sessions up, follow and command them.", no_args_is_help=True)
add_command(sessions_app, "list", sessions.list_, panel=LOOK)
add_command(sessions_app, "get", sessions.get, panel=LOOK)

# What is done to one session stands at the top and, where one looks for it first, below `sessions`.
_ONE_SESSION: tuple[tuple[str, dict[str, Command]], ...] = (
    (LOOK, {"watch": sessions.watch, "events": events.events}),
    (LOOK, {"state": questions.state, "verify": questions.verify, "explain": questions.explain}),
    (COMMAND, {"start": lifecycle.start, "suspend": lifecycle.suspend, "resume": lifecycle.resume}),
    (COMMAND, {"restart": lifecycle.restart, "terminate": lifecycle.terminate, "cancel": lifecycle.cancel}),
    (COMMAND, {"intervene": steering.intervene, "pace": steering.pace, "step": steering.step}),
    (COMMAND, {"run-until": steering.run_until, "update": lifecycle.update}),
    (COMMAND, {"rm": lifecycle.remove, "undelete": lifecycle.undelete}),
    (PAST, {"checkpoint": places.checkpoint, "checkpoints": places.checkpoints}),
    (PAST, {"rollback": places.rollback, "fork": places.fork, "lineage": places.lineage}),
)
for panel, commands in _ONE_SESSION:
    for name, command in commands.items():
        add_command(app, name, command, panel=panel)
        add_command(sessions_app, name, command, panel=panel)
app.add_typer(sessions_app, name="sessions", rich_help_panel=LOOK)

ANSWER = "Many sessions"
add_command(app, "metrics", export.metrics, panel=ANSWER)
add_command(app, "export", export.export, panel=ANSWER)
add_command(app, "report", report.report, panel=ANSWER)
add_command(app, "stats", stats.stats, panel=ANSWER)
add_command(app, "audit", audit.audit, panel=ANSWER)
add_command(app, "top", top.top, panel=ANSWER)

study_app = typer.Typer(help="Compare variants on the same seeds (docs/studies.md).", no_args_is_help=True)
add_command(study_app, "run", study.run)
add_command(study_app, "watch", study.watch)
add_command(study_app, "ranking", study.ranking)
add_command(study_app, "cells", study.cells)
add_command(study_app, "list", study.list_)
add_command(study_app, "show", study.show)
add_command(study_app, "report", study_report.report)
add_command(study_app, "cancel", study.cancel)
add_command(study_app, "delete", study.delete)
app.add_typer(study_app, name="study", rich_help_panel=RUN)

scenarios_app = typer.Typer(help="Upload, list, validate and delete scenarios.", no_args_is_help=True)
add_command(scenarios_app, "upload", scenarios.upload)
add_command(scenarios_app, "list", scenarios.list_)
add_command(scenarios_app, "validate", scenarios.validate)
add_command(scenarios_app, "rm", scenarios.remove)
app.add_typer(scenarios_app, name="scenarios", rich_help_panel=RUN)

template_app = typer.Typer(help="Scenarios with parameters (docs/templates.md).", no_args_is_help=True)
add_command(template_app, "create", template.create)
add_command(template_app, "list", template.list_)
add_command(template_app, "show", template.show)
add_command(template_app, "fill", template.fill)
add_command(template_app, "rm", template.remove)
app.add_typer(template_app, name="template", rich_help_panel=RUN)

admin_app = typer.Typer(help="Look after what is kept (docs/retention.md).", no_args_is_help=True)
add_command(admin_app, "gc", admin.gc)
add_command(admin_app, "retention", admin.retention)
add_command(admin_app, "rebuild", admin.rebuild)
admin_app.command("token")(account.mint)
add_command(admin_app, "quota", quota.quota)
app.add_typer(admin_app, name="admin", rich_help_panel=SERVE)
