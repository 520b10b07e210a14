"""Recording what clients and watchers of a stack saw, in the model's words, and keeping it for whoever looks into it.

A watcher here is harsher than the client: each connection is judged by itself, from the cursor it asked with.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar

import grpc

from milepost.client import Milepost
from milepost.connection import open_channel
from milepost.event.v1.event_pb2 import Event
from milepost.event.v1.event_service_pb2 import WatchEventsRequest
from milepost.event.v1.event_service_pb2_grpc import EventServiceStub
from milepost.exceptions import MilepostError, ServerFault, Unavailable
from milepost.session.v1.session_pb2 import FailureReason, SessionState
from resilience.observed import Entry, History, Operation, Outcome, Violation, Watch
from session_log.codec import SIMULATION_KINDS, event_kind, payload_of

T = TypeVar("T")

# A server that says nothing for three heartbeats is away, s.
SILENCE_S = 15.0
# Between two connections of a watcher, s.
_RECONNECT_S = 0.2
# What a client is told when its wish was looked at and refused: it must have left no trace.
_REFUSALS = frozenset(
    {"INVALID_TRANSITION", "SESSION_NOT_FOUND", "CHECKPOINT_NOT_FOUND", "TIME_NOT_REACHED", "FIELD_INVALID"}
)

_END_STATES = frozenset(
    {
        SessionState.SESSION_STATE_COMPLETED,
        SessionState.SESSION_STATE_FAILED,
        SessionState.SESSION_STATE_CANCELLED,
    }
)


def entry(event: Event) -> Entry:
    """An event in the model's words."""
    kind = event.WhichOneof("payload") or ""
    payload = getattr(event, kind)
    opened = payload if kind == "run_opened" else None
    forked = payload.forked_from if kind == "session_created" else None
    base_run = opened.base_run if opened else forked.run if forked else 0
    base_step = opened.step if opened else forked.step if forked else 0
    identified = kind in {"command_requested", "command_applied", "command_rejected", "session_cancelled"}
    return Entry(
        seq=event.seq,
        run=event.run,
        attempt=event.attempt,
        step=event.step,
        kind=kind,
        sim_time_s=event.sim_time_s,
        written_ns=event.record_time.ToNanoseconds(),
        payload=payload_of(event),
        simulated=event_kind(event) in SIMULATION_KINDS,
        command_id=payload.command_id if identified else payload.request_id if kind == "session_created" else "",
        verb=payload.WhichOneof("verb") or "" if kind == "command_requested" else "",
        claims=payload.attempt if kind == "attempt_claimed" else 0,
        opens=opened.run if opened else 0,
        base_run=base_run,
        base_step=base_step,
        reason=_reason(event) if kind == "session_failed" else "",
    )


def _reason(event: Event) -> str:
    return FailureReason.Name(event.session_failed.failure.reason).removeprefix("FAILURE_REASON_")


@dataclass(slots=True)
class Recorder:
    """Operations and watches as they happen; `history` joins them with the logs as they are in the end."""

    operations: list[Operation] = field(default_factory=list)
    watches: list[Watch] = field(default_factory=list)
    faults: list[Violation] = field(default_factory=list)
    """What is wrong on its face."""

    async def operate(self, session_id: str, verb: str, command_id: str, call: Callable[[], Awaitable[T]]) -> T | None:
        """Make a client's call and note what it was told; None when it was told anything but yes."""
        begin_s = time.monotonic()
        outcome, words, answer = Outcome.UNKNOWN, "", None
        try:
            answer = await call()
            outcome = Outcome.ACKNOWLEDGED
        except MilepostError as error:
            words = str(error)
            if isinstance(error, ServerFault):
                outcome = Outcome.BROKEN
            elif error.reason in _REFUSALS:
                outcome = Outcome.REFUSED
        finally:
            # Also when the caller gave up: then nobody knows.
            self.operations.append(Operation(session_id, command_id, verb, begin_s, time.monotonic(), outcome, words))
        return answer

    async def watch(self, address: str, session_id: str, *, rereads: Callable[[int], int]) -> None:
        """Watch a session's log until its end, over any number of connections.

        `rereads` says, from how far it has come, with which cursor the next connection begins: not after that.
        """
        reached = 0
        async with _stub(address) as stub:
            while True:
                after_seq = rereads(reached)
                seen: list[Entry] = []
                terminal_seq = await self._connection(stub, session_id, after_seq, seen)
                if seen or terminal_seq:
                    self.watches.append(Watch(session_id, after_seq, tuple(seen), terminal_seq))
                    reached = max(reached, after_seq + len(seen))
                if terminal_seq:
                    return
                await asyncio.sleep(_RECONNECT_S)

    async def _connection(self, stub: EventServiceStub, session_id: str, after_seq: int, seen: list[Entry]) -> int:
        """One connection until it breaks or says Terminal; the seq of that, else 0."""
        call = stub.WatchEvents(WatchEventsRequest(session_id=session_id, after_seq=after_seq))
        try:
            while True:
                async with asyncio.timeout(SILENCE_S):
                    message = await call.read()
                if message is grpc.aio.EOF:
                    return 0
                match message.WhichOneof("message"):
                    case "events":
                        seen.extend(entry(event) for event in message.events.events)
                    case "heartbeat" if message.heartbeat.sent_seq != after_seq + len(seen):
                        words = f"heartbeat says {message.heartbeat.sent_seq}, sent was {after_seq + len(seen)}"
                        self.faults.append(Violation("watching", session_id, words))
                    case "terminal":
                        return message.terminal.seq
        except TimeoutError:
            return 0
        except grpc.aio.AioRpcError as broken:
            if broken.code() not in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}:
                self.faults.append(Violation("watching", session_id, f"{broken.code().name}: {broken.details()}"))
            return 0
        finally:
            call.cancel()

    async def history(self, client: Milepost, sessions: Sequence[str]) -> History:
        """Everything, with the logs of these sessions as they are stored now."""
        return History({one: await read_log(client, one) for one in sessions}, self.operations, self.watches)


async def read_log(client: Milepost, session_id: str) -> tuple[Entry, ...]:
    """A stored log."""
    return tuple([entry(event) async for event in client.events.read(session_id)])


async def ended(client: Milepost, session_id: str) -> bool:
    """Whether a session has ended, as far as session_api knows, and all of that is stored."""
    try:
        session = await client.sessions.get(session_id)
        head = await client.events.head(session_id)
    except Unavailable:
        return False
    return session.state in _END_STATES and head.head_seq >= session.seq


def dump(folder: Path, history: History, violations: Sequence[Violation], **facts: object) -> None:
    """Write all of it as text: one file for each log, one for operations, watches and what is wrong each."""
    folder.mkdir(parents=True, exist_ok=True)
    for session_id, log in history.logs.items():
        _write(folder / f"log-{session_id}.jsonl", log)
    _write(folder / "operations.jsonl", history.operations)
    _write(folder / "watches.jsonl", history.watches)
    _write(folder / "violations.jsonl", violations)
    (folder / "facts.json").write_text(json.dumps(facts, indent=2, default=str) + "\n")


def _write(path: Path, things: Sequence[Entry | Operation | Watch | Violation]) -> None:
    path.write_text("".join(json.dumps(asdict(thing), default=_hexadecimal) + "\n" for thing in things))


def _hexadecimal(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


@asynccontextmanager
async def _stub(address: str) -> AsyncIterator[EventServiceStub]:
    async with open_channel(address) as channel:
        yield EventServiceStub(channel)
