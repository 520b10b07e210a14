"""Sessions of a study that are under way: begun here, and not over yet.

A study of ten thousand cells does not put them all into the queue: enough for every slot there is, so that what
racing drops was never begun. Beginning again what was begun before is safe, for every request has its own id.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from milepost.errors.v1 import errors_pb2
from milepost.session.v1.session_service_pb2 import CreateSessionRequest, ForkSessionRequest
from runtime.errors import CallRefused
from session_api.application.append_command import Caller
from session_api.application.create_session import CreateSession
from session_api.application.fork_session import ForkSession
from session_api.gateways.fleet import Fleet

# Sessions under way at least, and at most, whatever the number of slots.
LEAST, MOST = 16, 1000
# Sessions for each slot: one that runs, and those that wait for it.
_PER_SLOT = 4
_FORKS_AT_ONCE = 8
# Refusals that pass: the study waits.
_PASSING = frozenset(
    {
        errors_pb2.ERROR_REASON_QUOTA_EXCEEDED,
        errors_pb2.ERROR_REASON_LOG_FULL,
        errors_pb2.ERROR_REASON_BROKER_UNAVAILABLE,
        errors_pb2.ERROR_REASON_STORE_UNAVAILABLE,
        errors_pb2.ERROR_REASON_NOT_STORED_YET,
        errors_pb2.ERROR_REASON_CONTENDED,
    }
)


@dataclass(slots=True)
class StudyWindow:
    """Begins sessions as there is room for them."""

    create: CreateSession
    fork: ForkSession
    fleet: Fleet
    tenant: str
    subject: str
    pool: str
    under_way: set[str] = field(default_factory=set)
    """Ids of sessions begun."""
    waits_because: str = ""
    """Why none are begun for now, in words; empty: they are."""

    def room(self) -> int:
        """How many more may be begun; in larger numbers, for many are begun almost as fast as one."""
        slots = sum(worker.slots for worker in self.fleet.workers(self.pool))
        size = min(MOST, max(LEAST, _PER_SLOT * slots))
        left = size - len(self.under_way)
        return left if left >= size // 4 else 0

    async def begin(self, requests: Sequence[CreateSessionRequest]) -> dict[str, str]:
        """Create sessions; by id, in words, what was refused for good."""
        try:
            created = await self.create.many(self.tenant, requests, subject=self.subject)
        except CallRefused as refused:
            created = [refused] * len(requests)
        return self._noted([request.session_id for request in requests], created)

    async def begin_forks(self, requests: Sequence[ForkSessionRequest]) -> dict[str, str]:
        """Fork sessions; by id, in words, what was refused for good."""
        turn = asyncio.Semaphore(_FORKS_AT_ONCE)

        async def one(request: ForkSessionRequest) -> object:
            async with turn:
                caller = Caller(self.tenant, request_id=request.request_id, subject=self.subject)
                return await _or_refusal(lambda: self.fork(caller, request))

        made = await asyncio.gather(*(one(request) for request in requests))
        return self._noted([request.new_session_id for request in requests], made)

    def _noted(self, session_ids: Sequence[str], made: Sequence[object]) -> dict[str, str]:
        lost: dict[str, str] = {}
        self.waits_because = ""
        for session_id, result in zip(session_ids, made, strict=True):
            if not isinstance(result, CallRefused):
                self.under_way.add(session_id)
            elif result.reason in _PASSING:
                self.waits_because = str(result)
            else:
                lost[session_id] = str(result)
        return lost


async def _or_refusal(call: Callable[[], Awaitable[object]]) -> object:
    try:
        return await call()
    except CallRefused as refused:
        return refused
