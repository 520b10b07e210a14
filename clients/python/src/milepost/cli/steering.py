"""`milepost intervene | pace | step | run-until SESSION`: while it runs."""

from pathlib import Path
from typing import Annotated

import typer

from milepost.cli.command import Target
from milepost.cli.interventions import Wish, intervention_of
from milepost.cli.json_form import json_line
from milepost.cli.run import pace_of, print_outcome
from milepost.cli.sessions import SESSION
from milepost.cli.words import change_words, pace_word
from milepost.client import Milepost
from milepost.session.v1.session_pb2 import Session

IDS = "ID[,ID]"


async def intervene(
    target: Target,
    *,
    session_id: Annotated[str, SESSION],
    close_edge: Annotated[list[str] | None, typer.Option(metavar=IDS, help="Close edges.")] = None,
    close_lane: Annotated[list[str] | None, typer.Option(metavar=IDS, help="Close lanes.")] = None,
    open_edge: Annotated[list[str] | None, typer.Option(metavar=IDS, help="Open edges again.")] = None,
    open_lane: Annotated[list[str] | None, typer.Option(metavar=IDS, help="Open lanes again.")] = None,
    class_: Annotated[
        list[str] | None, typer.Option("--class", metavar="CLASS", help="Close or open for these only, e.g. bus.")
    ] = None,
    speed: Annotated[str | None, typer.Option(metavar="EDGE=MPS", help="Speed limit of edges, m/s.")] = None,
    signal: Annotated[
        str | None, typer.Option(metavar="ID=WHAT", help="A signal's program:P, phase:N or state:rGr.")
    ] = None,
    scale: Annotated[float | None, typer.Option(min=0, max=100, help="Scale the demand still to depart.")] = None,
    stop: Annotated[str | None, typer.Option(metavar="VEHICLE=S", help="Make a vehicle stand for so long.")] = None,
    release: Annotated[str | None, typer.Option(metavar="VEHICLE", help="Let a standing vehicle go on.")] = None,
    remove: Annotated[list[str] | None, typer.Option(metavar=IDS, help="Take vehicles out.")] = None,
    add: Annotated[str | None, typer.Option(metavar="VEHICLE=EDGE,EDGE", help="Inject a vehicle.")] = None,
    reroute: Annotated[bool, typer.Option("--reroute", help="New ways for vehicles, by the travel times of now.")] = (
        False
    ),
    vehicle: Annotated[list[str] | None, typer.Option(metavar=IDS, help="Reroute these; by default all.")] = None,
    to_edge: Annotated[str, typer.Option(metavar="EDGE", help="Reroute to a new destination.")] = "",
    file: Annotated[Path | None, typer.Option(help="Any other change, as proto3 JSON of Intervention.")] = None,
    comment: Annotated[str, typer.Option(help="Why, for the log.")] = "",
    validate_only: Annotated[
        bool, typer.Option("--validate-only", help="Say whether it would be refused, and change nothing.")
    ] = False,
) -> None:
    """Change one thing in the running simulation, at its next step. Exit code 1 when it was refused."""
    change = intervention_of(
        Wish(
            close_edges=close_edge or (),
            close_lanes=close_lane or (),
            open_edges=open_edge or (),
            open_lanes=open_lane or (),
            classes=class_ or (),
            speed=speed,
            signal=signal,
            scale=scale,
            stop=stop,
            release=release,
            remove=remove or (),
            add=add,
            reroute=reroute,
            vehicles=vehicle or (),
            to_edge=to_edge,
            file=file,
        )
    )
    async with target.client() as client:
        answer = await client.sessions.intervene(session_id, change, comment=comment, validate_only=validate_only)
    if target.json:
        print(json_line(answer))
    elif validate_only:
        print(f"possible: {change_words(change)}")
    elif answer.applied:
        print(f"{change_words(change)}: applied at {answer.sim_time_s:g} s, step {answer.step}")
    else:
        print(f"{change_words(change)}: asked for, not applied yet (command {answer.command_id})")


async def pace(
    target: Target,
    session_id: Annotated[str, SESSION],
    factor: Annotated[
        str | None, typer.Argument(metavar="[FACTOR|max]", help="Simulated seconds per second, or max.")
    ] = None,
    pause: Annotated[bool, typer.Option("--pause", help="Stand still at the next step.")] = False,
) -> None:
    """Set how fast a session runs, or pause it. Setting a pace ends a pause."""
    if factor is None and not pause:
        raise typer.BadParameter("say a factor, max or --pause")
    async with target.client() as client:
        if factor is None:
            session = await client.sessions.pause(session_id)
        else:
            session = await client.sessions.pace(session_id, pace_of(factor), paused=pause)
    _print_standing(target, session)


async def step(
    target: Target,
    session_id: Annotated[str, SESSION],
    steps: Annotated[int, typer.Argument(min=1, metavar="[N]", help="How many.")] = 1,
) -> None:
    """Simulate some steps, then pause."""
    async with target.client() as client:
        session = await _settled(client, await client.sessions.step(session_id, steps))
    _print_standing(target, session)


async def run_until(
    target: Target,
    session_id: Annotated[str, SESSION],
    time: Annotated[float, typer.Argument(min=0, metavar="T", help="Simulated time, s.")],
) -> None:
    """Simulate up to a time, then pause."""
    async with target.client() as client:
        session = await _settled(client, await client.sessions.run_until(session_id, time))
    _print_standing(target, session)


async def _settled(client: Milepost, answered: Session) -> Session:
    """The session as it stands now that the call is over."""
    return await client.sessions.get(answered.session_id, min_seq=answered.seq)


def _print_standing(target: Target, session: Session) -> None:
    if target.json:
        print(json_line(session))
        return
    print_outcome(target, [session])
    pause = ", paused" if session.pace.paused else ""
    print(f"at {session.progress.sim_time_s:g} s, pace {pace_word(session.pace.factor)}{pause}")
