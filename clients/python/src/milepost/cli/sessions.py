"""`milepost sessions list | get | watch`: look sessions up and follow them."""

from contextlib import ExitStack
from typing import Annotated

import typer

from milepost.cli.command import Target, console
from milepost.cli.json_form import json_line
from milepost.cli.progress import display, follow
from milepost.cli.run import leave_unless_completed, print_outcome
from milepost.cli.tables import session_table, sessions_table
from milepost.event.v1.event_pb2 import Event
from milepost.event.v1.event_service_pb2 import (
    CaughtUp,
    FellBehind,
    Heartbeat,
    Terminal,
    WatchEventsResponse,
)
from milepost.event.v1.frame_pb2 import Frame
from milepost.session.v1.session_pb2 import SessionState
from milepost.session.v1.session_service_pb2 import ListSessionsResponse
from milepost.watch_cursor import WatchItem

SESSION = typer.Argument(metavar="SESSION", help="The session's id.")
_STATES = {name.removeprefix("SESSION_STATE_").lower(): value for name, value in SessionState.items() if value}


async def list_(
    target: Target,
    *,
    state: Annotated[list[str] | None, typer.Option(help=f"Only these: {', '.join(_STATES)}.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 50,
    deleted: Annotated[bool, typer.Option("--deleted", help="Deleted sessions, too.")] = False,
    studies: Annotated[bool, typer.Option("--studies", help="The sessions of studies, too.")] = False,
    study: Annotated[str, typer.Option(metavar="STUDY", help="Only the sessions of this study.")] = "",
) -> None:
    """List sessions, newest first; those of studies are left out. JSON: one object with `sessions`."""
    unknown = [word for word in state or [] if word not in _STATES]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is none of {', '.join(_STATES)}", param_hint="--state")
    found = ListSessionsResponse()
    async with target.client() as client:
        async for session in client.sessions.list(
            states=[_STATES[word] for word in state or []],
            show_deleted=deleted,
            study_id=study,
            hide_study_sessions=not studies,
        ):
            found.sessions.append(session)
            if len(found.sessions) == limit:
                break
    if target.json:
        print(json_line(found))
    else:
        console().print(sessions_table(found.sessions))


async def get(target: Target, session_id: Annotated[str, SESSION]) -> None:
    """Show all there is about a session, also how to run it with the bare `sumo`."""
    async with target.client() as client:
        session = await client.sessions.get(session_id, full=True)
    if target.json:
        print(json_line(session))
    else:
        console().print(session_table(session))


async def watch(
    target: Target,
    session_id: Annotated[str, SESSION],
    after: Annotated[int, typer.Option(min=0, help="Begin after this event.")] = 0,
    marks: Annotated[
        bool, typer.Option("--marks", help="JSON: also the stream's own messages, such as heartbeats.")
    ] = False,
) -> None:
    """Follow a session to its end. Exit code 0 only when it completed. JSON: a line per event."""

    def tell(item: WatchItem) -> None:
        if isinstance(item, Event):
            print(json_line(item), flush=True)
        elif marks:
            print(json_line(_as_message(item)), flush=True)

    async with target.client() as client:
        session = await client.sessions.get(session_id)
        with ExitStack() as stack:
            shown = display(quiet=target.json, stack=stack)
            session = await follow(client, session, shown, after_seq=after, on_item=tell if target.json else None)
    if not target.json:
        print_outcome(target, [session])
    leave_unless_completed([session])


def _as_message(item: WatchItem) -> WatchEventsResponse:
    match item:
        case CaughtUp():
            return WatchEventsResponse(caught_up=item)
        case FellBehind():
            return WatchEventsResponse(fell_behind=item)
        case Heartbeat():
            return WatchEventsResponse(heartbeat=item)
        case Terminal():
            return WatchEventsResponse(terminal=item)
        case Frame():
            return WatchEventsResponse(frame=item)
        case _:
            raise TypeError(f"{type(item)} is no mark of a watch")
