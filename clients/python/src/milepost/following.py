"""Streams of a server as one iterator over any number of connections."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import TypeVar, cast

import grpc

from milepost.connection import Backoff, Connection
from milepost.exceptions import UNREACHABLE, MilepostError, Unavailable, from_rpc_error

RequestT = TypeVar("RequestT")
MessageT = TypeVar("MessageT")


def _never() -> bool:
    return False


async def following(
    connection: Connection,
    connect: Callable[[], grpc.aio.UnaryStreamCall[RequestT, MessageT]],
    *,
    ended: Callable[[], bool] = _never,
) -> AsyncGenerator[MessageT, None]:
    """The messages of a stream and of those that `connect` opens after it broke.

    Ends when a stream does and `ended` says that its last message was among those given out. Raises the MilepostError
    of a refusal, or of the last break once nothing was heard for `retry_for_s`.
    """
    backoff = Backoff(connection.retry_for_s)
    while True:
        call = connect()
        try:
            while (message := await _next_message(call, connection.silence_s)) is not None:
                yield message
                # From now on, not from when it came: a slow reader is no silent server.
                backoff.succeeded()
            if ended():
                return
            error: MilepostError = Unavailable(UNREACHABLE, "the stream ended before its last message")
        except grpc.aio.AioRpcError as broken:
            error = from_rpc_error(broken)
        except TimeoutError:
            error = Unavailable(UNREACHABLE, f"{connection.address} was silent for {connection.silence_s:g} s")
        finally:
            call.cancel()
        if not isinstance(error, Unavailable):
            raise error
        await backoff.wait(error)


async def _next_message(call: grpc.aio.UnaryStreamCall[RequestT, MessageT], silence_s: float) -> MessageT | None:
    async with asyncio.timeout(silence_s):
        message = await call.read()
    return None if message is grpc.aio.EOF else cast(MessageT, message)
