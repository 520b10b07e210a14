"""`milepost checkpoint | checkpoints | rollback | fork SESSION`: places to go back to, and what begins there."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text
from rich.tree import Tree

from milepost.cli.command import Target, console
from milepost.cli.interventions import interventions_in, planned_in
from milepost.cli.json_form import form_of, json_line
from milepost.cli.lifecycle import END, labels_of
from milepost.cli.run import print_outcome
from milepost.cli.sessions import SESSION
from milepost.cli.tables import checkpoints_table, state_word
from milepost.lineage import Family
from milepost.session.v1.session_pb2 import SessionState

CHECKPOINT = typer.Option("--checkpoint", metavar="ID", help="A checkpoint of the session.")


async def checkpoint(
    target: Target,
    session_id: Annotated[str, SESSION],
    name: Annotated[str, typer.Option(help="Name for humans.")] = "",
    pin: Annotated[bool, typer.Option("--pin", help="Keep it until it is deleted.")] = False,
    state_file: Annotated[bool, typer.Option("--state-file", help="Write SUMO's state file, too.")] = False,
) -> None:
    """Make a place to go back to. Prints its id; exit code 1 when it was not made yet."""
    async with target.client() as client:
        made = await client.sessions.checkpoint(session_id, name=name, pinned=pin, state_file=state_file)
    if target.json:
        print(json_line(made) if made is not None else "null")
    else:
        print(f"checkpoint {made.checkpoint_id} at {made.sim_time_s:g} s" if made else "asked for; not made yet")
    if made is None:
        raise typer.Exit(1)


async def checkpoints(
    target: Target,
    session_id: Annotated[str, SESSION],
    pin: Annotated[str | None, typer.Option(metavar="ID", help="Keep this one until it is deleted.")] = None,
    unpin: Annotated[str | None, typer.Option(metavar="ID", help="Keep this one no longer than others.")] = None,
    delete: Annotated[str | None, typer.Option(metavar="ID", help="Delete this one.")] = None,
) -> None:
    """List a session's checkpoints, where it was forked from, and its forks."""
    async with target.client() as client:
        if pin is not None:
            await client.sessions.pin_checkpoint(session_id, pin)
        if unpin is not None:
            await client.sessions.pin_checkpoint(session_id, unpin, pinned=False)
        if delete is not None:
            await client.sessions.delete_checkpoint(session_id, delete)
        session = await client.sessions.get(session_id, full=True)
    if target.json:
        found = {
            "session_id": session.session_id,
            "checkpoints": [form_of(one) for one in session.checkpoints],
            "forked_from": form_of(session.forked_from) if session.HasField("forked_from") else None,
            "forks": list(session.forks),
        }
        print(json.dumps(found, ensure_ascii=False))
        return
    console().print(checkpoints_table(session.checkpoints))
    if session.HasField("forked_from"):
        origin = session.forked_from
        print(f"forked from {origin.session_id} at {origin.sim_time_s:g} s of run {origin.run}")
    for fork_id in session.forks:
        print(f"fork {fork_id}")


async def lineage(target: Target, session_id: Annotated[str, SESSION]) -> None:
    """Show the tree of forks a session stands in: where it comes from, and what was forked of it."""
    async with target.client() as client:
        family = await client.sessions.family(session_id)
    if target.json:
        print(json.dumps(_family_form(family), ensure_ascii=False))
    else:
        console().print(_family_tree(family, session_id))


def _family_form(family: Family) -> dict[str, object]:
    session = family.session
    return {
        "session_id": family.session_id,
        "state": SessionState.Name(session.state) if session else None,
        "forked_from": form_of(session.forked_from) if session and session.HasField("forked_from") else None,
        "forks": [_family_form(fork) for fork in family.forks],
    }


def _family_tree(family: Family, session_id: str) -> Tree:
    session = family.session
    words = [family.session_id]
    if session is None:
        words.append("gone")
    else:
        if session.HasField("forked_from"):
            words.append(f"at {session.forked_from.sim_time_s:g} s of run {session.forked_from.run}")
        words += [state_word(session), session.display_name]
    tree = Tree(Text("  ".join(words), style="bold" if family.session_id == session_id else ""))
    for fork in family.forks:
        tree.children.append(_family_tree(fork, session_id))
    return tree


async def rollback(
    target: Target,
    session_id: Annotated[str, SESSION],
    checkpoint_id: Annotated[str | None, CHECKPOINT] = None,
    to: Annotated[float | None, typer.Option(min=0, help="A simulated time that was reached, s.")] = None,
) -> None:
    """Go back, and on from there as a new run; what was simulated since stays in the log, as history."""
    if (checkpoint_id is None) == (to is None):
        raise typer.BadParameter("say either --checkpoint or --to")
    async with target.client() as client:
        print_outcome(target, [await client.sessions.rollback(session_id, checkpoint_id=checkpoint_id, sim_time_s=to)])


async def fork(
    target: Target,
    *,
    session_id: Annotated[str, SESSION],
    checkpoint_id: Annotated[str | None, CHECKPOINT] = None,
    at: Annotated[float | None, typer.Option(min=0, help="A simulated time that was reached, s.")] = None,
    new_id: Annotated[str, typer.Option("--id", help="Id of the new session.")] = "",
    name: Annotated[str, typer.Option(help="Name of the new session, for humans.")] = "",
    label: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="A label of the new session.")] = None,
    end: Annotated[float | None, END] = None,
    intervene: Annotated[
        Path | None, typer.Option(help="Interventions at the fork: a JSON file with one or a list of them.")
    ] = None,
    planned: Annotated[
        Path | None,
        typer.Option(
            help="What is planned from the fork on, in place of what was: a JSON file with a list; [] is none."
        ),
    ] = None,
) -> None:
    """Begin a new session with this one's past: up to a checkpoint, a time or, with neither, now."""
    if checkpoint_id is not None and at is not None:
        raise typer.BadParameter("say --checkpoint or --at, not both")
    interventions = [] if intervene is None else interventions_in(intervene)
    async with target.client() as client:
        session = await client.sessions.fork(
            session_id,
            checkpoint_id=checkpoint_id,
            sim_time_s=at,
            new_session_id=new_id,
            display_name=name,
            labels=labels_of(label or []),
            end_time_s=end,
            interventions=interventions,
            planned_interventions=[] if planned is None else planned_in(planned),
            replan=planned is not None,
        )
    print_outcome(target, [session])
