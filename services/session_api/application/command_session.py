"""Command a session: decided on a fold that reaches exactly the sequence the append expects (log.md R6).

A command is legal or not in the state the log adds up to; the append is refused by the broker when the log has
moved since, and then everything is decided anew. Without a claim the command is carried out right here, in
one batch; otherwise the worker that follows the log does it.
"""

import hashlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from google.protobuf.message import Message
from nats.js import JetStreamContext

from milepost.errors.v1 import errors_pb2
from milepost.event.v1.event_pb2 import CommandApplied, CommandRequested, SessionCancelled
from milepost.event.v1.record_pb2 import EventBatch
from milepost.session.v1.session_pb2 import Session
from runtime.errors import CallRefused
from session_api.gateways.sessions_sql import Sessions
from session_api.gateways.work_orders import WorkOrders
from session_log.codec import BatchHeaders, LogMessage, events, record
from session_log.domain.lifecycle import UNCLAIMED, IllegalVerb, State, Verb, legal_verbs, require_legal
from session_log.facts import verb_of
from session_log.reader import LogReader, LogSoFar, UnknownSession
from session_log.writer import LogWriter, LostRace

# How often a command that meets other writers is decided anew. Measured: 1 to 3 tries are usual.
MAX_TRIES = 20
# How long a command waits for its worker when the client set no deadline, seconds.
DEFAULT_WAIT_S = 10.0
# How long an answer may wait for the projection to catch up with the own event, seconds.
_OWN_EVENT_WAIT_S = 2.0


@dataclass(frozen=True, slots=True)
class CommandSession:
    """Appends a command to a session's log, and with it its outcome where no worker is needed."""

    js: JetStreamContext
    reader: LogReader
    sessions: Sessions
    orders: WorkOrders
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    async def __call__(
        self, tenant: str, session_id: str, command: CommandRequested, *, request_id: str, wait_s: float | None
    ) -> Session:
        """The session after the command; with the worker's outcome when it came within `wait_s`.

        Raises CallRefused: SESSION_NOT_FOUND, INVALID_TRANSITION, REQUEST_ID_REUSED, CONTENDED.
        """
        command.request_digest = _digest(command)
        command.command_id = request_id or str(uuid.uuid4())
        verb = verb_of(command)
        for _ in range(MAX_TRIES):
            log = await self._read(tenant, session_id)
            if self._asked_before(log, command):
                return await self._answer(tenant, session_id, log.place.seq, verb, wait_s)
            try:
                require_legal(log.life.state or State.CREATED, verb)
            except IllegalVerb as illegal:
                raise _refused(illegal) from illegal
            try:
                seq = await self._append(tenant, session_id, log, command, verb)
            except LostRace:
                continue
            if verb is Verb.START:
                await self.orders.publish_soon(tenant=tenant, session_id=session_id, pool=log.created.pool)
            return await self._answer(tenant, session_id, seq, verb, wait_s)
        raise CallRefused(
            errors_pb2.ERROR_REASON_CONTENDED, f"session {session_id!r} is written to too fast", retry_after_s=0.5
        )

    async def _read(self, tenant: str, session_id: str) -> LogSoFar:
        try:
            return await self.reader.read(tenant, session_id)
        except UnknownSession as unknown:
            raise CallRefused(
                errors_pb2.ERROR_REASON_SESSION_NOT_FOUND, str(unknown), metadata={"session_id": session_id}
            ) from unknown

    def _asked_before(self, log: LogSoFar, command: CommandRequested) -> bool:
        known = log.life.commands.get(command.command_id)
        if known is not None and known.request_digest != command.request_digest:
            raise CallRefused(
                errors_pb2.ERROR_REASON_REQUEST_ID_REUSED,
                f"request_id {command.command_id} was used for another command of this session",
            )
        return known is not None

    async def _append(self, tenant: str, session_id: str, log: LogSoFar, command: CommandRequested, verb: Verb) -> int:
        records = [record(payload) for payload in (command, *_outcome(log.life.state, verb, command.command_id))]
        nonce, now = uuid.uuid4().hex, self.clock()
        writer = LogWriter(
            self.js, tenant=tenant, session_id=session_id, place=log.place, nonce=nonce, clock=lambda: now
        )
        place = await writer.append(records, run=log.life.run, attempt=log.life.attempt)
        headers = BatchHeaders(log.place.seq + 1, log.life.run, log.life.attempt, nonce, now)
        message = LogMessage(place.stream_seq, headers, EventBatch(records=records))
        await self.sessions.apply([(tenant, event) for event in events(session_id, message)])
        return place.seq

    async def _answer(self, tenant: str, session_id: str, seq: int, verb: Verb, wait_s: float | None) -> Session:
        ends = verb in (Verb.CANCEL, Verb.TERMINATE)
        timeout_s = (DEFAULT_WAIT_S if wait_s is None else wait_s) if ends else _OWN_EVENT_WAIT_S
        session = await self.sessions.get_when(tenant, session_id, min_seq=seq, timeout_s=timeout_s, ended=ends)
        if session is None:
            raise CallRefused(
                errors_pb2.ERROR_REASON_NOT_STORED_YET, "the command is recorded; read again", retry_after_s=1.0
            )
        return session


def _outcome(state: State | None, verb: Verb, command_id: str) -> tuple[Message, ...]:
    """What follows at once when no worker owns the session."""
    if state not in UNCLAIMED:
        return ()
    applied = CommandApplied(command_id=command_id)
    match verb:
        case Verb.START:
            return (applied,)
        case Verb.CANCEL:
            return (applied, SessionCancelled(command_id=command_id))
        case _:
            return ()


def _digest(command: CommandRequested) -> bytes:
    return hashlib.sha256(command.SerializeToString(deterministic=True)).digest()


def _refused(illegal: IllegalVerb) -> CallRefused:
    verbs = ", ".join(verb.value for verb in legal_verbs(illegal.state))
    return CallRefused(
        errors_pb2.ERROR_REASON_INVALID_TRANSITION,
        f"{illegal}; legal now: {verbs}",
        metadata={"from": illegal.state.name, "verb": illegal.verb.value, "legal_verbs": verbs},
    )
