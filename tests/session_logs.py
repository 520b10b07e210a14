"""How tests look at a session's log, and where the shared scenarios are."""

import os
from pathlib import Path

from milepost.event.v1.event_pb2 import Event
from session_log.codec import SIMULATION_KINDS, event_kind, payload_of
from stack import RunningStack

SHARED = Path(os.environ.get("MILEPOST_SCENARIOS", Path(__file__).parents[2] / "shared" / "scenarios"))


async def whole_log(stack: RunningStack, session_id: str) -> list[Event]:
    """A session's log; fails unless its numbers are gap-free from 1."""
    log = [event async for event in stack.client.events.read(session_id)]
    assert [event.seq for event in log] == list(range(1, len(log) + 1))
    return log


def simulated(log: list[Event]) -> list[tuple[int, int, float, bytes]]:
    """What is judged of a log."""
    return [
        (event_kind(event), event.step, event.sim_time_s, payload_of(event))
        for event in log
        if event_kind(event) in SIMULATION_KINDS
    ]
