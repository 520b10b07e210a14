"""What became of a command, from the log itself: sooner than the projection knows."""

import asyncio
from dataclasses import dataclass

from nats.aio.client import Client
from nats.js import JetStreamContext

from milepost.event.v1.event_pb2 import Event
from session_log.broker_log import read_tail
from session_log.codec import events
from session_log.wake_up import look_again, woken_by
from session_log.writer import Place

# How often the log is looked at when no wake-up comes, seconds.
_LOOK_PERIOD_S = 1.0


@dataclass(frozen=True, slots=True)
class ReadOutcome:
    """Reads what is appended behind a command."""

    broker: Client
    js: JetStreamContext

    async def __call__(
        self, tenant: str, session_id: str, command_id: str, *, after: Place, timeout_s: float
    ) -> list[Event]:
        """The events after a place, the command's outcome among them unless time is up.

        Waits while the broker is away, however long.
        """
        clock = asyncio.get_running_loop().time
        deadline, read = clock() + timeout_s, list[Event]()

        async def look() -> bool:
            nonlocal after
            messages = await read_tail(self.js, tenant, session_id, after_stream_seq=after.stream_seq)
            for message in messages:
                read.extend(events(session_id, message))
                after = after.after(message)
            return bool(messages)

        async with woken_by(self.broker, tenant, session_id) as wake:
            while True:
                told = wake.is_set()
                wake.clear()
                await look_again(look, expecting=told)
                if outcome_among(read, command_id) is not None or clock() >= deadline:
                    return read
                try:
                    async with asyncio.timeout(min(_LOOK_PERIOD_S, max(0.0, deadline - clock()))):
                        await wake.wait()
                except TimeoutError:
                    continue


def outcome_among(read: list[Event], command_id: str) -> Event | None:
    """The event that says what became of a command, if it is among them."""
    for event in read:
        settled = (event.command_applied.command_id, event.command_rejected.command_id)
        if command_id in settled:
            return event
    return None
