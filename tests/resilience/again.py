"""Running a session's wishes again, with nothing in the way: by the contract alone, from the journal in its log."""

from collections.abc import Sequence

from milepost.client import Milepost
from milepost.event.v1.event_pb2 import Event, EventKind
from milepost.intervention.v1.intervention_pb2 import Intervention
from milepost.session.v1.session_pb2 import SessionSpec

Journal = Sequence[tuple[int, Intervention]]


async def journal_of(client: Milepost, session_id: str) -> Journal:
    """What was applied, and at which step, in order; of a session with a single run."""
    kinds = [EventKind.EVENT_KIND_COMMAND_REQUESTED, EventKind.EVENT_KIND_COMMAND_APPLIED]
    asked: dict[str, Intervention] = {}
    journal = []
    async for event in client.events.read(session_id, kinds=kinds):
        if event.command_requested.HasField("intervene"):
            asked[event.command_requested.command_id] = event.command_requested.intervene
        elif event.command_applied.command_id in asked:
            journal.append((event.step, asked[event.command_applied.command_id]))
    return journal


async def run_again(client: Milepost, spec: SessionSpec, journal: Journal, *, begin_s: float, step_s: float) -> str:
    """Run a session that gets the interventions of a journal at the very same steps; its id, once it has ended."""
    calm = SessionSpec(start_paused=bool(journal))
    calm.MergeFrom(spec)
    name = (await client.sessions.create(calm)).session_id
    standing = 0
    for step, intervention in journal:
        if step > standing:
            await client.sessions.run_until(name, begin_s + step * step_s)
            standing = await _paused(client, name, step)
        await client.sessions.intervene(name, intervention)
    if journal:
        await client.sessions.pace(name, 0.0)
    await client.sessions.wait(name)
    return name


async def _paused(client: Milepost, name: str, step: int) -> int:
    async for item in client.events.watch(name, kinds=[EventKind.EVENT_KIND_PAUSED]):
        if isinstance(item, Event) and item.step >= step:
            return item.step
    raise AssertionError(f"{name} ended before it stood at step {step}")
