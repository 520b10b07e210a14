"""Channels to the two services, and the one rule for trying a call again.

A call is tried again while the server is away (`Unavailable`) or several writers met (`Aborted`), until
`retry_for_s` is over. That is safe for every call the client makes: reads change nothing and everything else
carries a `request_id` or is named by its content.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import grpc

from milepost.credentials import Credentials
from milepost.exceptions import UNREACHABLE, Aborted, MilepostError, Unavailable, from_rpc_error
from milepost.traces import trace_interceptors

T = TypeVar("T")

# First and longest wait between two tries, seconds; each is drawn at random from half to all of it.
FIRST_BACKOFF_S = 0.1
LONGEST_BACKOFF_S = 2.0
# What even the last try may take, seconds: a server that came back at the last moment still answers.
LAST_TRY_S = 5.0
# The servers' limit on one message, either way.
MAX_MESSAGE_BYTES = 4 * 1024 * 1024

NO_CREDENTIALS = Credentials()
_CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # The servers permit a ping every 10 s; a dead peer is noticed within 20 s of an open call.
    ("grpc.keepalive_time_ms", 15_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # A minute unless it is said, whatever the line above says.
    ("grpc.http2.ping_timeout_ms", 5_000),
    # A server that is restarted is back within seconds; gRPC's default waits up to two minutes to look for it.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # Tries again is what `Connection.call` does, in sight.
    ("grpc.enable_retries", 0),
)


def open_channel(address: str, credentials: Credentials = NO_CREDENTIALS) -> grpc.aio.Channel:
    """A channel to `host:port`; connects when it is first used. Raises OSError for a key that cannot be read."""
    return credentials.open_channel(address, _CHANNEL_OPTIONS, trace_interceptors())


class Backoff:
    """How long to wait before the next try, and when to give up.

    `retry_for_s` counts from construction or from the last `succeeded()`.
    """

    def __init__(self, retry_for_s: float) -> None:
        self._retry_for_s = retry_for_s
        self.succeeded()

    def succeeded(self) -> None:
        """Start over: the server is there."""
        self._deadline = asyncio.get_running_loop().time() + self._retry_for_s
        self._next_s = FIRST_BACKOFF_S

    @property
    def remaining_s(self) -> float:
        """Seconds left for tries."""
        return self._deadline - asyncio.get_running_loop().time()

    async def wait(self, error: MilepostError) -> None:
        """Wait before another try. Raises `error` when the time is over."""
        pause_s = max(error.retry_after_s or 0.0, self._next_s * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
        self._next_s = min(self._next_s * 2, LONGEST_BACKOFF_S)
        if pause_s >= self.remaining_s:
            raise error
        await asyncio.sleep(pause_s)


@dataclass(frozen=True, slots=True)
class Connection:
    """A channel to `address`, how long its calls are tried, and after what silence a watch is broken; seconds."""

    channel: grpc.aio.Channel
    address: str
    retry_for_s: float
    silence_s: float

    async def reachable(self, timeout_s: float) -> None:
        """Wait until the server accepts connections. Raises Unavailable (UNREACHABLE) after `timeout_s`."""
        try:
            await asyncio.wait_for(self.channel.channel_ready(), timeout_s)
        except TimeoutError:
            raise Unavailable(UNREACHABLE, f"no server answers at {self.address}") from None

    async def call(self, attempt: Callable[[float], Awaitable[T]]) -> T:
        """Make a call, again while that can help.

        `attempt` gets the seconds it may take and makes the call once. Raises the MilepostError of the last try.
        """
        backoff = Backoff(self.retry_for_s)
        while True:
            try:
                return await attempt(max(backoff.remaining_s, LAST_TRY_S))
            except grpc.aio.AioRpcError as refused:
                error = from_rpc_error(refused)
            if not _may_succeed(error):
                raise error
            await backoff.wait(error)


def _may_succeed(error: MilepostError) -> bool:
    """Whether the same call can succeed another time. A stale `etag` is aborted, too, and stays stale."""
    return isinstance(error, Unavailable) or (isinstance(error, Aborted) and error.reason != "ETAG_MISMATCH")
