"""Append a command: decided on a fold that reaches exactly the sequence the append expects (log.md R6).

    read ─► asked before? ─► legal? ─► what follows it ─► append ── LostRace ──┐
     ▲                                                                         │
     └─────────────────────────────────────────────────────────────────────────┘

Without a claim the command is carried out right here, in one batch; otherwise the worker that follows the log
does it, and its outcome is waited for.
"""

import asyncio
import hashlib
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from google.protobuf.message import Message
from nats.js import JetStreamContext

from milepost.errors.v1 import errors_pb2
from milepost.event.v1.event_pb2 import CommandApplied, CommandRejected, CommandRequested
from milepost.event.v1.record_pb2 import EventBatch, Record
from milepost.session.v1.session_pb2 import Session
from runtime.errors import CallRefused
from session_api.application.place_orders import PlaceOrders
from session_api.application.refusals import illegal_verb, not_found, not_stored_yet, quota_exceeded, rejected
from session_api.gateways.grants import utc_now
from session_api.gateways.projected import Outcome
from session_api.gateways.sessions_sql import Sessions
from session_api.gateways.work_orders import line_of
from session_log.codec import BatchHeaders, LogMessage, events, record
from session_log.domain.lifecycle import UNCLAIMED, IllegalVerb, State, require_legal
from session_log.facts import verb_of
from session_log.reader import LogReader, LogSoFar, UnknownSession
from session_log.writer import LogWriter, LostRace, Place

# How often a command that meets other writers is decided anew. Measured: 1 to 3 tries are usual.
MAX_TRIES = 20
# How long a command waits for its worker when the client set no deadline, seconds.
DEFAULT_WAIT_S = 10.0
# How long an answer may wait for the projection to catch up with the own event, seconds.
_OWN_EVENT_WAIT_S = 2.0


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and for how long."""

    tenant: str
    request_id: str = ""
    wait_s: float | None = None
    """What is left of the client's deadline, seconds; None: it set none."""
    asked_by: str = ""
    """Set when it is no client."""
    subject: str = ""
    """The client, where clients prove who they are."""

    @property
    def patience_s(self) -> float:
        """How long an answer may wait for an outcome, seconds."""
        return DEFAULT_WAIT_S if self.wait_s is None else self.wait_s


@dataclass(frozen=True, slots=True)
class Follow:
    """What stands in the log right behind the request, in the same batch."""

    records: Sequence[Record] = ()
    run: int | None = None
    """The run the batch belongs to; None: the present one."""
    order: bool = False
    """Whether the session wants a worker from here on."""


BY_WORKER = Follow()
"""Nothing follows: the worker does it."""

Decide = Callable[[LogSoFar], Awaitable[Follow]]


@dataclass(frozen=True, slots=True)
class Appended:
    """A command that stands in the log."""

    session_id: str
    command_id: str
    seq: int
    """An answer reflects at least this event."""
    place: Place | None = None
    """Where the log ended with it; None when it was there before."""


@dataclass(frozen=True, slots=True)
class AppendCommand:
    """Appends a command to a session's log, and with it its outcome where no worker is needed."""

    js: JetStreamContext
    reader: LogReader
    sessions: Sessions
    place: PlaceOrders
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    async def __call__(
        self,
        caller: Caller,
        session_id: str,
        command: CommandRequested,
        decide: Decide,
        *,
        log: LogSoFar | None = None,
    ) -> Appended:
        """Append, unless the same request did before. `log` is what the caller has just read.

        Raises CallRefused: SESSION_NOT_FOUND, INVALID_TRANSITION, REQUEST_ID_REUSED, CONTENDED, QUOTA_EXCEEDED, and
        what `decide` raises. `decide` is asked anew for every try, after the verb was found legal.
        """
        name_command(command, caller)
        for _ in range(MAX_TRIES):
            log = log or await self.read(caller.tenant, session_id)
            if self.asked_before(log, command):
                return Appended(session_id, command.command_id, log.place.seq)
            require_legal_now(log, command)
            follow = await decide(log)
            if follow.run is not None and log.life.ended:
                await self._count_again(caller.tenant, session_id, log)
            try:
                place = await self._append(caller.tenant, session_id, log, command, follow)
            except LostRace:
                log = None
                continue
            if follow.order:
                held = log.created.wait_for_quota and not log.life.attempt
                await self.place.soon([(line_of(caller.tenant, log.created), session_id)], held=held)
            return Appended(session_id, command.command_id, place.seq, place)
        raise CallRefused(
            errors_pb2.ERROR_REASON_CONTENDED, f"session {session_id!r} is written to too fast", retry_after_s=0.5
        )

    async def read(self, tenant: str, session_id: str) -> LogSoFar:
        """The log up to now. Raises CallRefused(SESSION_NOT_FOUND), also once its purge time has come."""
        try:
            log = await self.reader.read(tenant, session_id)
        except UnknownSession as unknown:
            raise not_found(session_id) from unknown
        if log.life.deleted and log.deleted.purge_time.ToDatetime(UTC) <= self.clock():
            raise not_found(session_id)
        return log

    def asked_before(self, log: LogSoFar, command: CommandRequested) -> bool:
        """Whether the log holds this very command. Raises CallRefused(REQUEST_ID_REUSED) when it holds another."""
        known = log.life.commands.get(command.command_id)
        if known is not None and known.request_digest != command.request_digest:
            raise CallRefused(
                errors_pb2.ERROR_REASON_REQUEST_ID_REUSED,
                f"request_id {command.command_id} was used for another command of this session",
            )
        return known is not None

    async def session(
        self, caller: Caller, appended: Appended, until: Callable[[Session], bool] | None = None
    ) -> Session:
        """The session after a command; with `until`, once that holds or the caller's patience is over."""
        wait_s = _OWN_EVENT_WAIT_S if until is None else caller.patience_s
        session = await self.sessions.get_when(
            caller.tenant,
            appended.session_id,
            min_seq=appended.seq,
            timeout_s=wait_s,
            until=until or (lambda _: True),
        )
        if session is None:
            raise not_stored_yet("the command is recorded; read again")
        return session

    async def outcome(self, caller: Caller, appended: Appended) -> Outcome | None:
        """What a worker made of a command; None when the caller's patience is over.

        Raises CallRefused(COMMAND_REJECTED).
        """
        outcome = await self.sessions.outcome_when(
            caller.tenant, appended.session_id, appended.command_id, timeout_s=caller.patience_s
        )
        if outcome is not None and not outcome.applied:
            raise rejected(outcome)
        return outcome

    async def settled(
        self, caller: Caller, appended: Appended, until: Callable[[Session], bool] | None = None
    ) -> Session:
        """The session once a worker carried the command out, and `until` holds; both within the caller's patience.

        Raises CallRefused(COMMAND_REJECTED).
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + caller.patience_s
        outcome = await self.outcome(caller, appended)
        if outcome is None:
            return await self.session(caller, appended)
        after = Appended(appended.session_id, appended.command_id, outcome.seq)
        left = replace(caller, wait_s=max(0.0, deadline - clock()))
        return await self.session(left, after, until)

    async def _count_again(self, tenant: str, session_id: str, log: LogSoFar) -> None:
        """An ended session that goes on counts as one more. Raises CallRefused(QUOTA_EXCEEDED)."""
        over = await self.place.quotas.grant_again(tenant, session_id, log.place.seq, utc_now())
        if over is not None:
            raise quota_exceeded(tenant, over)

    async def _append(
        self, tenant: str, session_id: str, log: LogSoFar, command: CommandRequested, follow: Follow
    ) -> Place:
        run = log.life.run if follow.run is None else follow.run
        return await self.write(tenant, session_id, log, [record(command), *follow.records], run=run)

    async def write(
        self, tenant: str, session_id: str, log: LogSoFar, records: Sequence[Record], *, run: int | None = None
    ) -> Place:
        """Append records right behind a log, of its latest run or another; where it ends then. Raises LostRace."""
        run = log.life.run if run is None else run
        nonce, now = uuid.uuid4().hex, self.clock()
        writer = LogWriter(
            self.js, tenant=tenant, session_id=session_id, place=log.place, nonce=nonce, clock=lambda: now
        )
        place = await writer.append(records, run=run, attempt=log.life.attempt)
        headers = BatchHeaders(log.place.seq + 1, run, log.life.attempt, nonce, now)
        message = LogMessage(place.stream_seq, headers, EventBatch(records=records))
        await self.sessions.apply([(tenant, event) for event in events(session_id, message)])
        return place


def name_command(command: CommandRequested, caller: Caller) -> None:
    """Give a command its id, and the digest that tells a retry from a reuse.

    What the server fills in later must follow from the id: a retry fills in the same. A command that has its name
    keeps it.
    """
    if command.command_id:
        return
    command.asked_by = caller.asked_by
    command.request_digest = hashlib.sha256(command.SerializeToString(deterministic=True)).digest()
    # Not part of the digest: a retry is one whoever sends it.
    command.subject = caller.subject
    command.command_id = caller.request_id or str(uuid.uuid4())


def require_legal_now(log: LogSoFar, command: CommandRequested) -> None:
    """Raise CallRefused(INVALID_TRANSITION) unless the table allows the command."""
    try:
        require_legal(state_of(log), verb_of(command), deleted=log.life.deleted)
    except IllegalVerb as illegal:
        raise illegal_verb(illegal) from illegal


def state_of(log: LogSoFar) -> State:
    """The state the log adds up to."""
    return log.life.state or State.CREATED


def claimed(log: LogSoFar) -> bool:
    """Whether a worker owns the session, and carries commands out. One that was handed over belongs to nobody."""
    return not log.life.ended and state_of(log) not in UNCLAIMED and not log.life.handed_over


def done(command: CommandRequested, *before: Message, run: int | None = None, order: bool = False) -> Follow:
    """`before`, then CommandApplied."""
    applied = CommandApplied(command_id=command.command_id)
    return Follow([record(payload) for payload in (*before, applied)], run=run, order=order)


def ended(log: LogSoFar, command: CommandRequested, terminal: Record) -> Follow:
    """CommandApplied, an answer to every open command, and the end (log.md R18)."""
    answers = [
        record(CommandRejected(command_id=other.command_id, message="the session ended first"))
        for other in log.life.open_commands
    ]
    return Follow([record(CommandApplied(command_id=command.command_id)), *answers, terminal])
