"""Work: take an order whenever a slot is free, decide what to do with it, run it (log.md R7, R8)."""

import asyncio
import uuid
from dataclasses import dataclass, field

import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from opentelemetry.trace import SpanKind
from prometheus_client import Counter, Gauge

from milepost.dispatch.v1.dispatch_pb2 import StillRunning, WorkerAnswer, WorkerQuestion, WorkOrder
from milepost.event.v1.event_pb2 import ClaimReason, CommandRequested, SuspendCommand
from runtime import traces
from runtime.broker import subject
from runtime.identity import acting_for
from session_log.reader import LogReader, LogSoFar, UnknownSession
from sim_worker.application.attempt_log import AttemptLog, Fenced
from sim_worker.application.lease import Lease
from sim_worker.application.run_attempt import RunAttempt
from sim_worker.application.slot import Slot
from sim_worker.domain.orders import Adopt, Ask, Claim, Drop, decide
from sim_worker.gateways.order_queue import OrderQueue

log = structlog.get_logger()
_slots = Gauge("milepost_worker_slots", "Sessions this worker runs at once, at most")
_busy = Gauge("milepost_worker_busy_slots", "Slots that run a session")
_open = Gauge("milepost_worker_open", "1 while this worker takes work, 0 under pressure")
_orders = Counter("milepost_worker_orders_total", "Orders delivered, by what was done", ["decision"])

# How long another worker may take to answer (log.md R8), seconds.
ASK_TIMEOUT_S = 1.0
_RETRY_WAIT_S = 0.5
# When an order may come again that a worker under pressure has let go, seconds.
_CLOSED_DELAY_S = 2.0

Key = tuple[str, str]


@dataclass(slots=True)
class _Running:
    lease: Lease
    # None until the claim is in the log.
    log: AttemptLog | None = None

    @property
    def attempt(self) -> int:
        """0 until the claim is in the log."""
        return self.log.attempt if self.log else 0


def _set() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@dataclass(slots=True)
class Work:
    """A worker's slots and the sessions in them."""

    broker: Client
    queue: OrderQueue
    reader: LogReader
    run_attempt: RunAttempt
    worker_id: str
    slots: int
    lease_s: float
    stopping: asyncio.Event
    open: asyncio.Event = field(default_factory=_set)
    """Whether orders are pulled."""
    _running: dict[Key, _Running] = field(default_factory=dict)

    @property
    def busy(self) -> int:
        """Sessions of this worker, those that are just ending, too."""
        return len(self._running)

    @property
    def busy_slots(self) -> int:
        """Slots that are taken; an ending session counts while there is one for it."""
        return min(self.slots, self.busy)

    def runs(self, question: StillRunning) -> bool:
        """Whether this worker runs that attempt."""
        running = self._running.get((question.tenant, question.session_id))
        return running is not None and running.attempt == question.attempt

    async def suspend(self, key: Key, comment: str) -> bool:
        """Ask a session of this worker to suspend, in the worker's own name; False when it is not here any more."""
        running = self._running.get(key)
        if running is None or running.log is None:
            return False
        command = CommandRequested(
            command_id=str(uuid.uuid4()), comment=comment, asked_by=self.worker_id, suspend=SuspendCommand()
        )
        try:
            await running.log.request(command)
        except Fenced:
            return False
        return True

    async def __call__(self) -> None:
        """Pull and run until `stopping` is set; then wait until every session was handed over."""
        free, ending = asyncio.Semaphore(self.slots), set[Slot]()
        _slots.set(self.slots)
        _busy.set_function(lambda: float(self.busy_slots))
        _open.set_function(lambda: float(self.open.is_set()))
        async with self.queue.listening(), asyncio.TaskGroup() as tasks:
            stop = tasks.create_task(self.stopping.wait(), name="stopping")
            while not self.stopping.is_set():
                room = asyncio.create_task(self._room(free), name="room")
                await asyncio.wait({room, stop}, return_when=asyncio.FIRST_COMPLETED)
                if self.stopping.is_set():
                    room.cancel()
                    break
                delivery = await self._pull(stop)
                if delivery is None:
                    free.release()
                    continue
                slot = Slot(free, ending, self.slots)
                task = tasks.create_task(self._take(delivery, slot), name=delivery.subject)
                task.add_done_callback(slot.left)

    async def _room(self, free: asyncio.Semaphore) -> bool:
        """A slot, and no pressure."""
        await free.acquire()
        return await self.open.wait()

    async def _pull(self, stop: asyncio.Task[bool]) -> Msg | None:
        """The next order; None when there was none for a while, or this worker is to stop."""
        pull = asyncio.create_task(self.queue.next(), name="pull")
        await asyncio.wait({pull, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not pull.done():
            pull.cancel()
            return None
        try:
            return pull.result()
        except nats.errors.Error as error:
            log.warning("cannot pull", error=repr(error))
            await asyncio.sleep(_RETRY_WAIT_S)
            return None

    async def _take(self, delivery: Msg, slot: Slot) -> None:
        """Decide about one delivery and carry it out. One of the three places that catch everything."""
        order = WorkOrder.FromString(delivery.data)
        try:
            with acting_for(order.tenant):
                await self._carry_out(order, delivery, slot)
        except Exception:
            log.exception("order failed; it comes again after the lease", session=order.session_id)

    async def _carry_out(self, order: WorkOrder, delivery: Msg, slot: Slot) -> None:
        key, lease = (order.tenant, order.session_id), Lease(delivery, lease_s=self.lease_s)
        try:
            so_far = await self.reader.read(order.tenant, order.session_id)
        except UnknownSession:
            log.warning("order for a session nobody knows", session=order.session_id)
            await lease.done()
            return
        running = self._running.get(key)
        decision = decide(so_far.life, worker_id=self.worker_id, running_attempt=running.attempt if running else None)
        _orders.labels(decision=type(decision).__name__.lower()).inc()
        match decision:
            case Drop():
                await lease.done()
            case Adopt():
                assert running is not None
                running.lease.adopt(delivery)
            case Claim(lost_worker):
                await self._run(key, so_far, lease, slot, lost_worker=lost_worker)
            case Ask(worker_id, attempt):
                if await self._answers(worker_id, StillRunning(tenant=key[0], session_id=key[1], attempt=attempt)):
                    await lease.release(delay_s=self.lease_s)
                else:
                    await self._run(key, so_far, lease, slot, lost_worker=True)

    async def _run(self, key: Key, so_far: LogSoFar, lease: Lease, slot: Slot, *, lost_worker: bool) -> None:
        if key in self._running:
            # Delivered twice before the first was claimed: the one under way takes this delivery.
            self._running[key].lease.adopt(lease.delivery)
            return
        if not self.open.is_set():
            # It was on its way when the worker closed.
            await lease.release(delay_s=_CLOSED_DELAY_S)
            return
        entry = self._running[key] = _Running(lease)

        def claimed(attempt: AttemptLog) -> None:
            entry.log = attempt

        try:
            because = _because(so_far, lost_worker=lost_worker)
            order = (lease.delivery.headers or {}).get(traces.TRACEPARENT, "")
            with traces.span(
                "session.work", parent=order, kind=SpanKind.CONSUMER, session_id=key[1], worker_id=self.worker_id
            ):
                await self.run_attempt(key, so_far, lease, because=because, claimed=claimed, over=slot.over)
        finally:
            del self._running[key]

    async def _answers(self, worker_id: str, question: StillRunning) -> bool:
        """Whether another worker says that it runs the attempt."""
        try:
            reply = await self.broker.request(
                subject(WorkerQuestion, worker=worker_id),
                WorkerQuestion(still_running=question).SerializeToString(),
                timeout=ASK_TIMEOUT_S,
            )
        except nats.errors.Error:
            return False
        return WorkerAnswer.FromString(reply.data).running


def _because(so_far: LogSoFar, *, lost_worker: bool) -> ClaimReason.ValueType:
    if lost_worker:
        return ClaimReason.CLAIM_REASON_WORKER_LOST
    if so_far.life.handed_over:
        return ClaimReason.CLAIM_REASON_HANDED_OVER
    if so_far.life.attempt:
        new_run = so_far.life.new_run
        return ClaimReason.CLAIM_REASON_NEW_RUN if new_run else ClaimReason.CLAIM_REASON_RESUMED
    return ClaimReason.CLAIM_REASON_NEW
