"""Explain: why a session waits, why it was moved, why it is slow, in sentences."""

from collections.abc import Iterator
from dataclasses import dataclass

from milepost.dispatch.v1.dispatch_pb2 import WorkerPresence
from milepost.session.v1.session_pb2 import FailureReason, Session
from milepost.session.v1.session_service_pb2 import ExplainSessionResponse
from runtime.turns import group_of
from session_api.application.place_orders import PlaceOrders
from session_api.application.refusals import not_found
from session_api.gateways.fleet import Fleet
from session_api.gateways.queue_view import Queue
from session_api.gateways.sessions_sql import Sessions
from session_log.domain.lifecycle import CLAIMED, ENDED, State

# From this load of all cores on a worker's machine is what slows its sessions down.
BUSY_LOAD = 0.9


@dataclass(frozen=True, slots=True)
class ExplainSession:
    """No effect."""

    sessions: Sessions
    fleet: Fleet
    place: PlaceOrders

    async def __call__(self, tenant: str, session_id: str) -> ExplainSessionResponse:
        """The most important sentence first. Raises CallRefused(SESSION_NOT_FOUND)."""
        session = await self.sessions.get(tenant, session_id)
        if session is None:
            raise not_found(session_id)
        queue = await self.sessions.queue(session, tenant)
        workers = self.fleet.workers(queue.line.pool)
        undelivered = await self.place.orders.undelivered(queue.line)
        pending = State(session.state) is State.PENDING
        quota = await self.place.held_by(queue.line, session_id) if pending else ""
        open_workers = [worker for worker in workers if not worker.closed_because]
        return ExplainSessionResponse(
            sentences=[
                *why_it_stands(session),
                *(why_its_quota_holds_it(quota) if quota else why_it_waits(session, queue, workers)),
                *why_it_is_slow(session, self.fleet.worker(session.worker_id)),
                *why_it_was_moved(session),
            ],
            waiting=max(queue.waiting, undelivered),
            workers=len(workers),
            free_slots=sum(max(0, worker.slots - worker.busy) for worker in open_workers),
        )


def why_it_stands(session: Session) -> Iterator[str]:
    """Sessions that want no worker."""
    if session.HasField("delete_time"):
        yield f"It is deleted, and goes for good at {session.purge_time.ToJsonString()}."
    match State(session.state):
        case State.CREATED:
            yield "It was created without being started: StartSession queues it."
        case State.SUSPENDED:
            yield f"It is suspended at step {session.progress.step}, without a slot: ResumeSession goes on from there."
        case State.FAILED:
            reason = FailureReason.Name(session.failure.reason).removeprefix("FAILURE_REASON_")
            yield f"It failed, {reason}: {session.failure.message}"
        case State.COMPLETED | State.CANCELLED:
            yield f"It has ended, {State(session.state).name}, at {session.progress.sim_time_s:g} s."


def why_its_quota_holds_it(quota: str) -> Iterator[str]:
    """Sessions that have no order yet."""
    yield f"It waits for a quota: {quota}."


def why_it_waits(session: Session, queue: Queue, workers: list[WorkerPresence]) -> Iterator[str]:
    """Sessions that want a worker and have none."""
    state, pool = State(session.state), queue.line.pool
    handed_over = any(text.startswith("handed over by") for text in session.conditions)
    if state in CLAIMED and not handed_over:
        if session.worker_id not in {worker.worker_id for worker in workers}:
            yield f"Its worker {session.worker_id} is not heard any more: another one takes over after its lease."
        return
    if state is not State.PENDING and not handed_over:
        return
    if not workers:
        yield f"It waits: no worker of pool {pool} is there."
        return
    for worker in workers:
        if worker.closed_because:
            yield f"Worker {worker.worker_id} takes no work: {worker.closed_because}."
    slots = sum(worker.slots for worker in workers if not worker.closed_because)
    busy = sum(min(worker.busy, worker.slots) for worker in workers if not worker.closed_because)
    if slots > busy:
        yield f"It is about to be claimed: {slots - busy} of {slots} slots in pool {pool} are free."
    elif slots:
        yield (
            f"It waits: all {slots} slots of pool {pool} are busy, and "
            f"{_wait(queue.before, f'of class {group_of(queue.line.work_class)}')} before it."
        )
        if queue.other_classes:
            yield f"{_wait(queue.other_classes, 'of other classes')}, too: classes share by weight."
        if queue.other_tenants:
            others = "1 other tenant waits" if queue.other_tenants == 1 else f"{queue.other_tenants} other tenants wait"
            yield f"{others}, too: tenants take turns, whoever has the fewest sessions running is next."


def _wait(count: int, which: str) -> str:
    return f"1 session {which} waits" if count == 1 else f"{count} sessions {which} wait"


def why_it_is_slow(session: Session, worker: WorkerPresence | None) -> Iterator[str]:
    """Sessions a worker has."""
    state, progress, pace = State(session.state), session.progress, session.pace
    if state in ENDED or state not in CLAIMED:
        return
    if state is State.RECOVERING:
        yield f"It is simulated again up to step {progress.step}, at full speed; the log compares every interval."
        return
    if pace.paused:
        yield f"It is paused at step {progress.step}: SetPace, StepSession or RunUntil let it go on."
        return
    if pace.factor > 0:
        yield f"It is paced at {pace.factor:g} times real time, as it was asked to."
    if 0 < progress.real_time_factor < 1 and not 0 < pace.factor <= 1:
        yield f"It simulates {progress.real_time_factor:.2g} s per second: slower than real time."
    if worker is not None and worker.cpu_load >= BUSY_LOAD:
        yield f"The processors of its worker {worker.worker_id} are busy at {worker.cpu_load:.0%}."


def why_it_was_moved(session: Session) -> Iterator[str]:
    """Claims beyond the first."""
    for attempt in session.attempts:
        if attempt.attempt == 1:
            continue
        judged = f" The log's verdict: {attempt.verdict}." if attempt.verdict else ""
        again = f" It simulated {attempt.intervals_again} intervals again." if attempt.intervals_again else ""
        yield f"Attempt {attempt.attempt} began on worker {attempt.worker_id} because {attempt.because}.{again}{judged}"
