"""How calls are seen from outside: counted, timed, and a span each where they are traced."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from typing import Any

import grpc
from prometheus_client import Counter, Gauge, Histogram

from runtime import traces

_calls = Counter("milepost_rpc_calls_total", "Calls that ended, streams included, by gRPC status", ["method", "code"])
_streams = Gauge("milepost_rpc_open_streams", "Streams being served", ["method"])
_seconds = Histogram(
    "milepost_rpc_duration_seconds",
    "How long calls with one answer took",
    ["method"],
    # The usual answer takes some milliseconds; a command may wait ten seconds for its worker.
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
# What went wrong on our side, for a span; everything else is the caller's affair.
_OURS = frozenset({"UNKNOWN", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "DEADLINE_EXCEEDED", "UNIMPLEMENTED"})


@contextlib.contextmanager
def observed(method: str, context: grpc.aio.ServicerContext[Any, Any], *, stream: bool = False) -> Iterator[None]:
    """Around the serving of one call, in its own task."""
    name = method.lstrip("/").removeprefix("milepost.")
    began = time.perf_counter()
    span = traces.served(method, context.invocation_metadata() or ())
    if stream:
        _streams.labels(name).inc()
    code = "OK"
    try:
        yield
    except (asyncio.CancelledError, GeneratorExit):
        code = "CANCELLED"
        raise
    except BaseException:
        code = _code(context)
        raise
    finally:
        _calls.labels(name, code).inc()
        if stream:
            _streams.labels(name).dec()
        else:
            _seconds.labels(name).observe(time.perf_counter() - began)
        if span.is_recording():
            span.set_attribute("rpc.grpc.status", code)
            if code in _OURS:
                traces.failed(span, code)
            span.end()


def _code(context: grpc.aio.ServicerContext[Any, Any]) -> str:
    """Name of the status a call was aborted with."""
    found: Any = context.code()
    number = found.value[0] if isinstance(found, grpc.StatusCode) else found
    return next((code.name for code in grpc.StatusCode if code.value[0] == number and number), "UNKNOWN")
