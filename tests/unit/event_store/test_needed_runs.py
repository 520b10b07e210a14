"""Where the first run begins that somebody can still go back to: what stands before it may be cut."""

import pytest
from google.protobuf.message import Message

from event_store.application.cut_runs import needed_from
from milepost.checkpoint.v1.checkpoint_pb2 import Checkpoint
from milepost.event.v1.event_pb2 import CheckpointCommitted, CheckpointDeleted, CheckpointPinned, RunOpened
from session_log.codec import kind_of


def opened(run: int, base: int = 0) -> Message:
    return RunOpened(run=run, base_run=base)


def made(name: str, run: int) -> Message:
    return CheckpointCommitted(checkpoint=Checkpoint(checkpoint_id=name, run=run))


def gone(name: str) -> Message:
    return CheckpointDeleted(checkpoint_id=name)


@pytest.mark.parametrize(
    ("log", "needed"),
    [
        ([], 1),
        # Restarted twice: only the last run is needed.
        ([opened(2), opened(3)], 20),
        # The last one goes on from the first.
        ([opened(2), opened(3, base=1)], 1),
        ([opened(2), opened(3), opened(4, base=3), opened(5, base=4)], 20),
        # A checkpoint holds its run, and what that continues, until it is deleted.
        ([opened(2), made("a", 2), opened(3)], 10),
        ([opened(2), opened(3, base=2), made("a", 3), opened(4)], 10),
        ([opened(2), made("a", 2), opened(3), gone("a")], 30),
        ([made("a", 1), opened(2), made("b", 2), opened(3), gone("a")], 20),
        # What other kinds say means nothing here.
        ([opened(2), CheckpointPinned(checkpoint_id="a", pinned=True)], 10),
    ],
)
def test_the_first_needed_run(log: list[Message], needed: int) -> None:
    events = [(10 * n, kind_of(payload), payload.SerializeToString()) for n, payload in enumerate(log, start=1)]
    assert needed_from(events) == needed
