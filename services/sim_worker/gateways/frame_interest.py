"""Which sessions somebody wants to see live, as the event store says it every 2 s."""

import time
from collections.abc import Callable

from nats.aio.client import Client
from nats.aio.msg import Msg

from milepost.event.v1.frame_pb2 import FrameInterest
from runtime.broker import subject, tokens_of

# How long a wish is good for, seconds.
INTEREST_S = 5.0


class FrameInterests:
    """The latest wish per session."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._wishes: dict[tuple[str, str], tuple[float, float]] = {}

    async def listen(self, broker: Client) -> None:
        """Hear wishes for as long as the connection lives."""
        await broker.subscribe(subject(FrameInterest, tenant="*", session="*"), cb=self._on_wish)

    def max_hz(self, tenant: str, session_id: str) -> float:
        """The rate that is wanted now, frames a second; 0 when nobody watches."""
        hz, at = self._wishes.get((tenant, session_id), (0.0, float("-inf")))
        return hz if self._monotonic() - at <= INTEREST_S else 0.0

    async def _on_wish(self, message: Msg) -> None:
        tokens = tokens_of(FrameInterest, message.subject)
        now = self._monotonic()
        self._wishes = {key: wish for key, wish in self._wishes.items() if now - wish[1] <= INTEREST_S}
        self._wishes[tokens["tenant"], tokens["session"]] = (FrameInterest.FromString(message.data).max_hz, now)
