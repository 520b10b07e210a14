"""What a worker does with an order (log.md R8)."""

import pytest

from session_log.domain.fold import SessionLife
from session_log.domain.lifecycle import State
from sim_worker.domain.orders import Adopt, Ask, Claim, Decision, Drop, decide


@pytest.mark.parametrize(
    ("life", "running", "decision"),
    [
        (SessionLife(state=State.COMPLETED, attempt=1, worker_id="me"), None, Drop()),
        (SessionLife(state=State.SUSPENDED), None, Drop()),
        (SessionLife(state=State.CREATED), None, Drop()),
        (SessionLife(state=State.PENDING), None, Claim()),
        (SessionLife(state=State.RUNNING, attempt=2, worker_id="me"), 2, Adopt()),
        (SessionLife(state=State.RUNNING, attempt=2, worker_id="me"), None, Claim(lost_worker=True)),
        (SessionLife(state=State.RUNNING, attempt=2, worker_id="other"), None, Ask("other", 2)),
        (SessionLife(state=State.TERMINATING, attempt=2, worker_id="other"), None, Ask("other", 2)),
        (SessionLife(state=State.RUNNING, attempt=2, worker_id="other", handed_over=True), None, Claim()),
        # The log has moved on: what this worker still runs is fenced and will notice.
        (SessionLife(state=State.RUNNING, attempt=3, worker_id="other"), 2, Ask("other", 3)),
    ],
)
def test_an_order_is_dropped_adopted_claimed_or_asked_about(
    life: SessionLife, running: int | None, decision: Decision
) -> None:
    assert decide(life, worker_id="me", running_attempt=running) == decision
