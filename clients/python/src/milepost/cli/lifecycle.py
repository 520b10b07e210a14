"""`milepost start | suspend | resume | restart | terminate | cancel | update | rm | undelete SESSION`."""

from typing import Annotated

import typer

from milepost.cli.command import Target
from milepost.cli.run import options_of, print_outcome
from milepost.cli.sessions import SESSION
from milepost.session.v1.session_pb2 import Session

END = typer.Option("--end", min=0, help="Simulated end from now on, s.")


async def start(target: Target, session_id: Annotated[str, SESSION]) -> None:
    """Queue a session that was only created."""
    async with target.client() as client:
        print_outcome(target, [await client.sessions.start(session_id)])


async def cancel(
    target: Target,
    session_id: Annotated[str, SESSION],
    comment: Annotated[str, typer.Option(help="Why, for the log.")] = "",
) -> None:
    """End a session at once, without results."""
    async with target.client() as client:
        print_outcome(target, [await client.sessions.cancel(session_id, comment=comment)])


async def terminate(target: Target, session_id: Annotated[str, SESSION]) -> None:
    """End a session at its next step, with the results so far."""
    async with target.client() as client:
        print_outcome(target, [await client.sessions.terminate(session_id)])


async def suspend(target: Target, session_id: Annotated[str, SESSION]) -> None:
    """Free a session's slot; `resume` goes on from the very step."""
    async with target.client() as client:
        print_outcome(target, [await client.sessions.suspend(session_id)])


async def resume(
    target: Target,
    session_id: Annotated[str, SESSION],
    checkpoint: Annotated[
        str, typer.Option(metavar="ID", help="After an end: from this checkpoint; by default from where it ended.")
    ] = "",
    end: Annotated[float | None, END] = None,
) -> None:
    """Go on with a suspended session or, as a new run, with one that has ended."""
    async with target.client() as client:
        session = await client.sessions.resume(session_id, checkpoint_id=checkpoint, end_time_s=end)
        print_outcome(target, [session])


async def restart(target: Target, session_id: Annotated[str, SESSION]) -> None:
    """Begin an ended session again, as a new run; its history stays."""
    async with target.client() as client:
        print_outcome(target, [await client.sessions.restart(session_id)])


async def remove(target: Target, session_id: Annotated[str, SESSION]) -> None:
    """Delete a session that is suspended or has ended. It can be undeleted for a while."""
    async with target.client() as client:
        session = await client.sessions.delete(session_id)
    print_outcome(target, [session])
    if not target.json and session.HasField("purge_time"):
        print(f"until {session.purge_time.ToDatetime():%Y-%m-%d %H:%M} UTC: milepost undelete {session.session_id}")


async def undelete(target: Target, session_id: Annotated[str, SESSION]) -> None:
    """Undo a deletion."""
    async with target.client() as client:
        print_outcome(target, [await client.sessions.undelete(session_id)])


async def update(
    target: Target,
    *,
    session_id: Annotated[str, SESSION],
    name: Annotated[str | None, typer.Option(help="New name for humans.")] = None,
    label: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Set a label; KEY= takes it away.")] = (
        None
    ),
    end: Annotated[float | None, END] = None,
    seed: Annotated[int | None, typer.Option(min=0, max=2**31 - 1, help="New seed; counts from a restart.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="SUMO options, name=value: all of them; count from a restart.")
    ] = None,
    stop_when_empty: Annotated[
        bool | None,
        typer.Option("--stop-when-empty/--no-stop-when-empty", help="End with the last vehicle."),
    ] = None,
    checkpoint_every: Annotated[
        float | None, typer.Option(min=0, help="A checkpoint every so many simulated seconds; 0: none.")
    ] = None,
    keep_last: Annotated[int | None, typer.Option(min=1, max=1000, help="Checkpoints to keep, the newest.")] = None,
    wall_limit: Annotated[float | None, typer.Option(min=0, help="Wall time of a run, s; 0: no limit.")] = None,
    idle_limit: Annotated[
        float | None, typer.Option(min=0, help="How long it may stay suspended or paused, s; 0: for ever.")
    ] = None,
    keep_ended: Annotated[
        float | None, typer.Option(min=0, help="How long it is kept after its end, s; 0: as the server is set.")
    ] = None,
) -> None:
    """Change a session. The task (end, seed, options) only while no worker has it."""
    async with target.client() as client:
        old = await client.sessions.get(session_id)
        checkpoints, limits = old.spec.checkpoints, old.spec.limits
        if checkpoint_every is not None:
            checkpoints.every_sim_s = checkpoint_every
        if keep_last is not None:
            checkpoints.keep_last = keep_last
        if wall_limit is not None:
            limits.wall_time_s = wall_limit
        if idle_limit is not None:
            limits.idle_ttl_s = idle_limit
        if keep_ended is not None:
            limits.keep_ended_s = keep_ended
        session = await client.sessions.update(
            session_id,
            display_name=name,
            labels=None if label is None else _labels_after(old, label),
            limits=None if (wall_limit, idle_limit, keep_ended) == (None, None, None) else limits,
            checkpoints=None if checkpoint_every is None and keep_last is None else checkpoints,
            end_time_s=end,
            seed=seed,
            options=None if set_ is None else options_of(set_),
            stop_when_empty=stop_when_empty,
            # What was read and is written back with changes must not have been changed by others meanwhile.
            etag=old.etag,
        )
    print_outcome(target, [session])


def labels_of(settings: list[str]) -> dict[str, str]:
    """Labels from `key=value`. Raises typer.BadParameter."""
    pairs = [setting.partition("=") for setting in settings]
    if any(not key or not equals for key, equals, _ in pairs):
        raise typer.BadParameter("must be key=value", param_hint="--label")
    return {key: value for key, _, value in pairs}


def _labels_after(session: Session, settings: list[str]) -> dict[str, str]:
    merged = {**session.labels, **labels_of(settings)}
    return {key: value for key, value in merged.items() if value}
