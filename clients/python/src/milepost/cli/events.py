"""`milepost events SESSION`: what is in a session's log."""

from typing import Annotated

import typer

from milepost.cli.command import Target
from milepost.cli.json_form import json_line
from milepost.cli.sessions import SESSION
from milepost.cli.tables import event_line
from milepost.event.v1.event_pb2 import EventKind

_KINDS = {name.removeprefix("EVENT_KIND_").lower(): value for name, value in EventKind.items() if value}


async def events(
    target: Target,
    *,
    session_id: Annotated[str, SESSION],
    after: Annotated[int, typer.Option(min=0, help="Begin after this event.")] = 0,
    kind: Annotated[list[str] | None, typer.Option(help="Only these kinds, for example interval_closed.")] = None,
    phase: Annotated[
        list[str] | None, typer.Option(help="Only these phases of the plan, by name, or by index from 0.")
    ] = None,
    run: Annotated[int, typer.Option(min=0, help="Only this run; 0: any.")] = 0,
    begin: Annotated[float | None, typer.Option(help="Only what stands after this simulated time, s.")] = None,
    end: Annotated[float | None, typer.Option(help="Only what stands at this simulated time or before, s.")] = None,
) -> None:
    """Print the stored log of a session: a line per event."""
    kinds = kinds_of(kind or [])
    async with target.client() as client:
        async for event in client.events.read(
            session_id,
            cursor=after,
            kinds=kinds,
            run=run,
            begin_time_s=begin,
            end_time_s=end,
            phases=[int(word) if word.isdecimal() else word for word in phase or []],
        ):
            print(json_line(event) if target.json else event_line(event))


def kinds_of(words: list[str]) -> list[EventKind.ValueType]:
    """Kinds by their words. Raises typer.BadParameter for one that is none."""
    unknown = [word for word in words if word not in _KINDS]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is none of {', '.join(_KINDS)}", param_hint="--kind")
    return [_KINDS[word] for word in words]
