"""Watch a log: history, then live, every event once and in order (contracts.md, The watch contract).

History and live are one loop. A watcher has a cursor; while the head is beyond it, it sends the next chunk; level
with the head it waits for a kick. So there is no seam at which an event could get lost or come twice, and a slow
watcher costs nobody anything: its write does not return, and it asks for its next chunk later.

    Hello ─► chunk … ─► CaughtUp ─► wait ─► chunk … ─► Terminal
                ▲                             │ (LIVE_EVENTS behind, and not level for SLOW_S)
                └───────── FellBehind ◄───────┘
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from opentelemetry.trace import SpanKind
from prometheus_client import Counter, Gauge

from event_store.application.chunks import Chunk, Chunks, Kinds
from event_store.application.find_log import FindLog, require_kept
from event_store.application.frames import FrameSource
from event_store.application.heads import Heads, Stored, WatchedLog
from event_store.application.phases import Phases
from event_store.gateways.event_rows import Head
from milepost.errors.v1 import errors_pb2
from milepost.event.v1.event_pb2 import EventKind
from milepost.event.v1.event_service_pb2 import (
    CaughtUp,
    FellBehind,
    Heartbeat,
    Hello,
    SlowWatcherPolicy,
    Terminal,
    WatchEventsRequest,
    WatchEventsResponse,
)
from runtime import traces
from runtime.errors import CallRefused

_watchers = Gauge("milepost_watchers", "Open watches of one log")
_fell_behind = Counter("milepost_watchers_fell_behind_total", "Times a live watcher was too slow")
_sent = Counter("milepost_watch_sent_bytes_total", "Bytes of events sent to watchers")

# How often a watcher hears that nothing is lost, seconds; the contract says 5 at most.
HEARTBEAT_S = 2.0
# A live watcher is too slow when it is this many events behind, and was not level for so long, seconds: a burst
# that is written at once puts every watcher behind for a moment, and is no fault of theirs.
LIVE_EVENTS = 1000
SLOW_S = 2.0

_MOVE = SlowWatcherPolicy.SLOW_WATCHER_POLICY_MOVE_TO_HISTORY
_DISCONNECT = SlowWatcherPolicy.SLOW_WATCHER_POLICY_DISCONNECT


@dataclass(frozen=True, slots=True)
class WatchLog:
    """Serves one watch per call."""

    find: FindLog
    heads: Heads
    chunks: Chunks
    phases: Phases
    frames: FrameSource
    drain: asyncio.Event
    monotonic: Callable[[], float] = field(default=time.monotonic)
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    async def __call__(
        self, tenant: str, request: WatchEventsRequest, say_cursor: Callable[[int], None]
    ) -> AsyncIterator[bytes]:
        """Serialised WatchEventsResponse messages; `say_cursor` is called with the cursor before DRAINING.

        Raises CallRefused: those of FindLog and of Phases, WATCHER_TOO_SLOW, SESSION_DELETED, DRAINING.
        """
        head = await self.find(tenant, request.session_id, cursor=request.after_seq)
        require_kept(head, request.after_seq)
        await self.phases.require_known(head, request.phases)
        kick = asyncio.Event()
        with _watchers.track_inprogress(), contextlib.ExitStack() as stack:
            watched = stack.enter_context(self.heads.watching((tenant, request.session_id), kick))
            watched.seen(head)
            watch = _Watch(self, request, watched, kick)
            if request.HasField("frames"):
                watch.frames = stack.enter_context(self.frames.wanted(tenant, request.session_id, request.frames, kick))
            try:
                async for message in watch.messages(head):
                    yield message
            except CallRefused:
                say_cursor(watch.cursor)
                raise


class _Watch:
    """One watcher."""

    def __init__(
        self, use_case: WatchLog, request: WatchEventsRequest, watched: WatchedLog, kick: asyncio.Event
    ) -> None:
        self.cursor = request.after_seq
        self.frames: Callable[[], bytes | None] = lambda: None
        self._use_case = use_case
        self._session_id = request.session_id
        self._kinds: Kinds = frozenset(request.kinds)
        self._phases = request.phases
        self._policy = request.slow_policy or _MOVE
        self._watched = watched
        self._kick = kick
        self._live = False
        self._traced = False
        self._beat_at = use_case.monotonic() + HEARTBEAT_S
        self._level_at = use_case.monotonic()

    async def messages(self, head: Head) -> AsyncIterator[bytes]:
        yield _encode(
            hello=Hello(
                session_id=self._session_id,
                from_seq=self.cursor + 1,
                head_seq=head.head_seq,
                oldest_seq=head.oldest_seq,
                slow_policy=self._policy,
            )
        )
        while True:
            if self._use_case.drain.is_set():
                raise CallRefused(errors_pb2.ERROR_REASON_DRAINING, "this server stops", retry_after_s=0.1)
            head = self._watched.head or head
            if self._watched.gone:
                raise self._deleted()
            if self._use_case.monotonic() >= self._beat_at:
                yield self._heartbeat(head)
            if self.cursor < head.head_seq:
                if self._too_slow(head):
                    yield self._fell_behind(head)
                chunk = await self._next_chunk(head)
                if not chunk.response and not self._kinds and not self._phases:
                    # There was something.
                    raise self._deleted()
                if chunk.response:
                    _sent.inc(len(chunk.response))
                    yield chunk.response
                self.cursor = chunk.last_seq
                if not self._traced and self._watched.stored is not None:
                    self._trace(self._watched.stored)
                continue
            if head.terminal:
                yield _encode(terminal=Terminal(seq=head.head_seq, kind=EventKind.ValueType(head.head_kind)))
                return
            if not self._live:
                self._live = True
                yield _encode(caught_up=CaughtUp(seq=self.cursor))
                continue
            if (frame := self.frames()) is not None:
                yield frame
                continue
            await self._wait()

    def _trace(self, stored: Stored) -> None:
        """Once per watch: how intervals came from the store to this watcher, in the trace of their session."""
        if self.cursor >= stored.head_seq:
            self._traced = True
            traces.happened(
                "watch.intervals",
                parent=stored.trace,
                since_ns=stored.at_ns,
                links=[traces.current()],
                kind=SpanKind.CONSUMER,
                session_id=self._session_id,
                upto_seq=self.cursor,
            )

    async def _next_chunk(self, head: Head) -> Chunk:
        after, upto, window = self.cursor, head.head_seq, None
        if self._phases:
            window = await self._use_case.phases.next(head, self._phases, after=after)
            if window is None or window.first_seq > upto:
                return Chunk(last_seq=upto, response=b"", full=False)
            after = max(after, window.first_seq - 1)
            upto = min(upto, window.last_seq or upto)
        return await self._use_case.chunks.get(
            self._session_id, head.log_key, after=after, head_seq=upto, kinds=self._kinds, window=window
        )

    async def _wait(self) -> None:
        """Until kicked or until the next heartbeat is due."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, self._beat_at - self._use_case.monotonic())):
                # What happened between the look and here has set the event already.
                await self._kick.wait()
        self._kick.clear()
        self._level_at = self._use_case.monotonic()

    def _deleted(self) -> CallRefused:
        return CallRefused(
            errors_pb2.ERROR_REASON_SESSION_DELETED,
            f"session {self._session_id!r} was deleted for good",
            metadata={"session_id": self._session_id},
        )

    def _too_slow(self, head: Head) -> bool:
        behind = head.head_seq - self.cursor > LIVE_EVENTS
        return self._live and behind and self._use_case.monotonic() - self._level_at >= SLOW_S

    def _heartbeat(self, head: Head) -> bytes:
        self._beat_at = self._use_case.monotonic() + HEARTBEAT_S
        beat = Heartbeat(sent_seq=self.cursor, stored_head_seq=head.head_seq)
        beat.server_time.FromDatetime(self._use_case.clock())
        if (lag := self._use_case.heads.lag()) is not None:
            beat.ingest_lag.CopyFrom(lag)
        return _encode(heartbeat=beat)

    def _fell_behind(self, head: Head) -> bytes:
        _fell_behind.inc()
        if self._policy == _DISCONNECT:
            raise CallRefused(
                errors_pb2.ERROR_REASON_WATCHER_TOO_SLOW,
                f"{head.head_seq - self.cursor} events behind",
                metadata={"sent_seq": str(self.cursor)},
            )
        self._live = False
        return _encode(fell_behind=FellBehind(seq=self.cursor))


def _encode(
    *,
    hello: Hello | None = None,
    caught_up: CaughtUp | None = None,
    fell_behind: FellBehind | None = None,
    heartbeat: Heartbeat | None = None,
    terminal: Terminal | None = None,
) -> bytes:
    return WatchEventsResponse(
        hello=hello, caught_up=caught_up, fell_behind=fell_behind, heartbeat=heartbeat, terminal=terminal
    ).SerializeToString()
