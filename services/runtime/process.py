"""A process of ours, from its first line to its last: logs, metrics, ready file, a clean stop on SIGTERM."""

import asyncio
import gc
import json
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import structlog
from prometheus_client import start_http_server

from runtime import traces
from runtime.logs import configure_logs
from runtime.settings import ServiceSettings

log = structlog.get_logger()
# How long a cancelled task may take to go before it is cancelled again, seconds.
CANCEL_AGAIN_S = 1.0
S = TypeVar("S", bound=ServiceSettings)


class Lifetime:
    """What a service's `serve` gets: the event that asks it to stop, and how to say that it is ready."""

    def __init__(self, settings: ServiceSettings, metrics_address: str) -> None:
        self.stop = asyncio.Event()
        self._settings = settings
        self._metrics_address = metrics_address

    def ready(self, address: str) -> None:
        """Say in the log and in the ready file that everything serves at `address`."""
        log.info("ready", address=address, metrics=self._metrics_address, pid=os.getpid())
        if self._settings.ready_file is not None:
            write_atomically(
                self._settings.ready_file,
                json.dumps({"address": address, "metrics": self._metrics_address, "pid": os.getpid()}),
            )


def run_service(name: str, settings_type: type[S], serve: Callable[[S, Lifetime], Coroutine[Any, Any, None]]) -> None:
    """Run `serve` until it returns; SIGTERM and SIGINT set its stop event. Exits 0 on a clean stop."""
    settings = settings_type()
    configure_logs(service=name, level=settings.log_level)
    metrics_address = _serve_metrics(settings.metrics_listen)

    async def main() -> None:
        lifetime = Lifetime(settings, metrics_address)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, lifetime.stop.set)
        await serve(settings, lifetime)

    # What was imported stays: looking at it again in every full collection takes a tenth of a second, and more on a
    # busy machine, during which nobody is served.
    gc.collect()
    gc.freeze()
    with traces.configured(name):
        asyncio.run(main())
    log.info("stopped")
    sys.stdout.flush()


def _serve_metrics(listen: str) -> str:
    host, _, port = listen.rpartition(":")
    server, _ = start_http_server(int(port), host)
    return f"{host}:{server.server_port}"


async def cancel(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks until they have heard it, and wait until they are gone; their results are not wanted any more.

    `asyncio.wait_for` before Python 3.12, which nats-py waits with, swallows a cancellation that comes in the same
    moment as the answer (cpython#86296).
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_S)


def write_atomically(path: Path, text: str) -> None:
    """Readers see the old file or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(path)
