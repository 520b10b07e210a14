"""Frames for watchers: the live lane, lossy on purpose (contracts.md, rule 8).

Interest is said on the broker while somebody watches; a frame that arrives takes the place of one that was not
sent yet. Whoever is slow sees fewer frames, never older ones, and never fewer events. While this process is
overloaded no frame is looked at and no interest said, so that workers stop making them, too (ADR-15).
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from prometheus_client import Counter

from event_store.application.load import Load
from event_store.gateways.frame_filter import filtered
from milepost.event.v1.event_service_pb2 import WatchEventsResponse
from milepost.event.v1.frame_pb2 import Frame, FrameInterest, FrameOptions
from runtime.broker import subject, tokens_of

_shed = Counter("milepost_frames_shed_total", "Frames left out because this process was overloaded")
_superseded = Counter("milepost_frames_superseded_total", "Frames that a newer one replaced before a viewer took them")
_sent = Counter("milepost_frames_sent_total", "Frames sent to viewers")

# How often interest is said, seconds; workers forget it after 5.
INTEREST_PERIOD_S = 2.0

Key = tuple[str, str]


@dataclass(slots=True, eq=False)
class _Viewer:
    options: FrameOptions
    kick: asyncio.Event
    latest: Frame | None = None
    not_before: float = 0.0


class FrameSource:
    """Brings frames from the broker to viewers: one subscription for each session that is viewed."""

    def __init__(self, broker: Client, load: Load, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._broker = broker
        self._load = load
        self._monotonic = monotonic
        self._viewers: dict[Key, set[_Viewer]] = {}
        self._subscriptions: dict[Key, Subscription] = {}
        self._changed = asyncio.Event()

    @contextlib.contextmanager
    def wanted(
        self, tenant: str, session_id: str, options: FrameOptions, kick: asyncio.Event
    ) -> Iterator[Callable[[], bytes | None]]:
        """While the body runs, the callable yields the latest unsent frame as a serialised response, or None."""
        viewer = _Viewer(options, kick)
        key = (tenant, session_id)
        self._viewers.setdefault(key, set()).add(viewer)
        self._changed.set()

        def take() -> bytes | None:
            if viewer.latest is None or self._monotonic() < viewer.not_before:
                return None
            frame, viewer.latest = viewer.latest, None
            _sent.inc()
            viewer.not_before = self._monotonic() + 1 / options.max_hz
            return WatchEventsResponse(frame=filtered(frame, options)).SerializeToString()

        try:
            yield take
        finally:
            self._viewers[key].discard(viewer)
            if not self._viewers[key]:
                del self._viewers[key]
            self._changed.set()

    async def say_interest(self) -> None:
        """Say what is wanted, and subscribe to it, until cancelled."""
        while True:
            self._changed.clear()
            with contextlib.suppress(nats.errors.Error):
                await self._subscribe()
                if not self._load.overloaded:
                    await self._say()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(INTEREST_PERIOD_S):
                    await self._changed.wait()

    async def _say(self) -> None:
        fastest = {key: max(viewer.options.max_hz for viewer in viewers) for key, viewers in self._viewers.items()}
        for (tenant, session_id), max_hz in fastest.items():
            name = subject(FrameInterest, tenant=tenant, session=session_id)
            await self._broker.publish(name, FrameInterest(max_hz=max_hz).SerializeToString())

    async def _subscribe(self) -> None:
        for key in list(self._subscriptions.keys() - self._viewers.keys()):
            await self._subscriptions.pop(key).unsubscribe()
        for key in self._viewers.keys() - self._subscriptions.keys():
            self._subscriptions[key] = await self._broker.subscribe(
                subject(Frame, tenant=key[0], session=key[1]), cb=self._on_frame, pending_msgs_limit=8
            )

    async def _on_frame(self, message: Msg) -> None:
        if self._load.overloaded:
            _shed.inc()
            return
        tokens = tokens_of(Frame, message.subject)
        frame = Frame.FromString(message.data)
        for viewer in self._viewers.get((tokens["tenant"], tokens["session"]), ()):
            if viewer.latest is not None:
                _superseded.inc()
            viewer.latest = frame
            viewer.kick.set()
