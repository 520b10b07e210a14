"""`milepost state | verify | explain SESSION`: questions whose answers change nothing."""

from typing import Annotated

import typer

from milepost.cli.command import Target, console
from milepost.cli.json_form import json_line
from milepost.cli.sessions import SESSION
from milepost.cli.tables import state_table

RUN = typer.Option("--run", min=0, help="Which run; 0: the latest.")


async def state(
    target: Target,
    session_id: Annotated[str, SESSION],
    at: Annotated[float | None, typer.Option(min=0, help="Simulated time, s; by default the latest interval.")] = None,
    run: Annotated[int, RUN] = 0,
) -> None:
    """Show the simulation at any time that was reached. JSON: every vehicle, person and signal."""
    async with target.client() as client:
        found = await client.sessions.state(session_id, sim_time_s=at, run=run)
    if target.json:
        print(json_line(found))
    else:
        console().print(state_table(found))


async def verify(target: Target, session_id: Annotated[str, SESSION], run: Annotated[int, RUN] = 0) -> None:
    """Simulate a session again from its log alone and compare every record. Exit code 0 only when EXACT."""
    async with target.client() as client:
        answer = await client.sessions.verify(session_id, run=run)
    if target.json:
        print(json_line(answer))
    elif answer.exact:
        print(f"EXACT: {answer.records} records simulated again, all equal")
    else:
        print(f"DIVERGED at step {answer.diverged_step}, after {answer.records} equal records: {answer.difference}")
    if not answer.exact:
        raise typer.Exit(1)


async def explain(target: Target, session_id: Annotated[str, SESSION]) -> None:
    """Say why a session waits, why it was moved, why it is slow."""
    async with target.client() as client:
        answer = await client.sessions.explain(session_id)
    if target.json:
        print(json_line(answer))
        return
    for sentence in answer.sentences:
        print(sentence)
    print(f"its pool: {answer.workers} workers, {answer.free_slots} free slots, {answer.waiting} sessions waiting")
