"""The log of a session while this worker owns it: fenced appends, and the commands that arrive in between.

One attempt after the other of the same worker: a child that died is a new attempt, claimed again (log.md R2).

Every append that loses a race folds what came between (log.md R2): a higher claim or an end means that the
session is not ours any more (`Fenced`); events of session_api are folded and the append is made again.
"""

import asyncio
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import structlog
from nats.js import JetStreamContext
from prometheus_client import Counter

from milepost.event.v1.event_pb2 import AttemptClaimed, ClaimReason, CommandRequested, Event
from milepost.event.v1.record_pb2 import Record
from session_log.broker_log import read_tail
from session_log.codec import BatchHeaders, LogMessage, event, events, record
from session_log.domain.fold import SessionLife
from session_log.domain.lifecycle import WANTS_ORDER
from session_log.facts import fold_event
from session_log.reader import LIFE_KINDS, LogSoFar
from session_log.writer import LogWriter, LostRace, split

log = structlog.get_logger()
_claims = Counter("milepost_claims_total", "Sessions claimed, by reason", ["because"])

# The fold looks at payloads alone.
_NO_HEADERS = BatchHeaders(first_seq=0, run=0, attempt=0, nonce="", record_time=datetime.fromtimestamp(0, UTC))


class Fenced(Exception):
    """Another attempt owns the session, or it has ended: stop, write nothing more, neither ack nor nak."""


class AttemptLog:
    """A worker's view of the log. `commands` yields the open commands in order, once each per attempt."""

    def __init__(self, js: JetStreamContext, tenant: str, session_id: str, so_far: LogSoFar) -> None:
        self.tenant = tenant
        self.session_id = session_id
        self.commands: asyncio.Queue[CommandRequested] = asyncio.Queue()
        self.attempt = so_far.life.attempt + 1
        self.pins: dict[str, bool] = {}
        """Checkpoints that were pinned or unpinned while this worker had the session."""
        self.deleted_checkpoints: set[str] = set()
        """Checkpoints that were deleted meanwhile."""
        self.created = so_far.created
        self._js = js
        self._life = so_far.life
        self._requests = dict(so_far.requests)
        self._claimed = False
        self._fenced = False
        self._seen_commands: set[str] = set()
        self._appending = asyncio.Lock()
        self._in_flight: asyncio.Task[None] | None = None
        self._writer = LogWriter(js, tenant=tenant, session_id=session_id, place=so_far.place, nonce=uuid.uuid4().hex)

    @property
    def life(self) -> SessionLife:
        """The fold as far as this attempt has looked."""
        return self._life

    async def claim(self, worker_id: str, because: ClaimReason.ValueType, *, fruitless: int = 0) -> None:
        """Become the owner, before any file is fetched (R2). Raises Fenced when another was first.

        Called again, it opens this worker's next attempt: what is still open is asked of it anew.
        """
        if self._claimed:
            self.attempt += 1
            self._claimed = False
            self._seen_commands.clear()
            self.commands = asyncio.Queue()
        claimed = AttemptClaimed(
            attempt=self.attempt, worker_id=worker_id, because=because, fruitless_attempts=fruitless
        )
        await self.append([record(claimed)])
        self._claimed = True
        _claims.labels(ClaimReason.Name(because).removeprefix("CLAIM_REASON_").lower()).inc()
        self._note_commands()

    @property
    def seq(self) -> int:
        """The last event this worker knows of."""
        return self._writer.place.seq

    def request_of(self, command_id: str) -> CommandRequested | None:
        """A command that was asked for."""
        return self._requests.get(command_id)

    def waiting(self) -> list[CommandRequested]:
        """The commands that nobody has taken from `commands` yet; they are taken now."""
        taken = []
        while not self.commands.empty():
            taken.append(self.commands.get_nowait())
        return taken

    def begin_again(self) -> None:
        """Another process goes on: what is still open is asked of it anew."""
        self._seen_commands.clear()
        self.commands = asyncio.Queue()
        self._note_commands()

    async def request(self, command: CommandRequested) -> None:
        """Ask something of the session in the worker's own name."""
        await self.append([record(command)])
        self._note_commands()

    async def append(self, records: Sequence[Record]) -> None:
        """Append, in batches of bounded size; raises Fenced. Waits while the broker is away or full."""
        for batch in split(records):
            await self.append_built(_fixed(batch))

    async def append_built(self, build: Callable[[SessionLife], Sequence[Record]]) -> None:
        """Append one batch that depends on what the log adds up to: built anew whenever others were first.

        Goes through even when the caller is cancelled meanwhile: an append that was begun must be settled
        before the next one (R3), so the next one waits for it.
        """
        self._in_flight = asyncio.create_task(self._append(build), name=f"append {self.session_id}")
        await asyncio.shield(self._in_flight)

    async def _append(self, build: Callable[[SessionLife], Sequence[Record]]) -> None:
        async with self._appending:
            while True:
                # Whoever waited here while another claimed must not write behind that claim.
                self._require_ownership()
                records = build(self._life)
                try:
                    place = await self._writer.append(records, run=self._life.run, attempt=self.attempt)
                except LostRace as lost:
                    if not lost.newer:
                        raise Fenced from lost
                    self._fold(lost.newer)
                else:
                    self._fold_own(records, last_seq=place.seq)
                    return

    def _fold_own(self, records: Sequence[Record], *, last_seq: int) -> None:
        for seq, own in enumerate(records, start=last_seq - len(records) + 1):
            if own.kind in LIFE_KINDS:
                self._take(event(self.session_id, seq, _NO_HEADERS, own))

    async def look(self) -> bool:
        """Fold what others have appended since, and say whether there was anything; raises Fenced."""
        async with self._appending:
            newer = await read_tail(
                self._js, self.tenant, self.session_id, after_stream_seq=self._writer.place.stream_seq
            )
            self._fold(newer)
        return bool(newer)

    def _fold(self, newer: Sequence[LogMessage]) -> None:
        for message in newer:
            for newer_event in events(self.session_id, message):
                self._take(newer_event)
            self._writer.place = self._writer.place.after(message)
        self._require_ownership()
        self._note_commands()

    def _require_ownership(self) -> None:
        """Raises Fenced, from the first time it does for ever: the sequence that is expected may have moved on."""
        # Until the own claim stands, any claim after the one that was known is another's.
        owner = self.attempt if self._claimed else self.attempt - 1
        if self._fenced or self._life.attempt > owner or self._life.state not in WANTS_ORDER:
            if not self._fenced:
                log.info("fenced", session=self.session_id, attempt=self.attempt, by=self._life.attempt)
            self._fenced = True
            raise Fenced

    def _take(self, newer: Event) -> None:
        self._life = fold_event(self._life, newer)
        match newer.WhichOneof("payload"):
            case "command_requested":
                self._requests[newer.command_requested.command_id] = newer.command_requested
            case "checkpoint_pinned":
                self.pins[newer.checkpoint_pinned.checkpoint_id] = newer.checkpoint_pinned.pinned
            case "checkpoint_deleted":
                self.deleted_checkpoints.add(newer.checkpoint_deleted.checkpoint_id)

    def _note_commands(self) -> None:
        for command in self._life.open_commands:
            if command.command_id not in self._seen_commands:
                self._seen_commands.add(command.command_id)
                self.commands.put_nowait(self._requests[command.command_id])


def _fixed(batch: Sequence[Record]) -> Callable[[SessionLife], Sequence[Record]]:
    return lambda _: batch
