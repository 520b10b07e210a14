"""The embedded Milepost: broker, event_store, session_api and workers, kept alive and stopped in order.

All children start at once: their ports are chosen before (ports.py), and each service waits for those it needs.
When all serve, the ready file appears; it is written again when a child that died serves again, and removed by
a clean stop. It is one JSON object:

    {"session_api": "127.0.0.1:7400", "event_store": "127.0.0.1:7401", "nats": "nats://127.0.0.1:24222",
     "gateway": "127.0.0.1:7402",
     "pid": 100, "pids": {"nats": 101, "event_store": 102, "session_api": 103, "worker-1": 104, "gateway": 105},
     "metrics": {"event_store": "127.0.0.1:41001", …}}
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

from milepost.up import broker
from milepost.up.child import Child, bound_log
from milepost.up.children import Addresses, StackSettings, child_specs
from milepost.up.data_directory import DataDirectory
from milepost.up.ports import HOST, free_ports, is_free

# Everything that serves must do so within, seconds: importing SUMO on a cold disk is slow.
START_TIMEOUT_S = 120.0
# How often the size of the logs is looked at, seconds.
_LOG_CHECK_S = 30.0
# How often the broker's log is looked at for a full disk, seconds.
_DISK_CHECK_S = 1.0


class StackTooSlow(RuntimeError):
    """Not everything served in time; the message names what does not."""


class ServicesMissing(RuntimeError):
    """The services are not installed beside the client."""


class PortTaken(RuntimeError):
    """Somebody else listens on a port that was asked for."""


class Stack:
    """A running stack. `pids` by name holds those children that serve at the moment."""

    def __init__(self, settings: StackSettings, directory: DataDirectory, addresses: Addresses) -> None:
        self.addresses = addresses
        self._ready_file = settings.ready_file.absolute() if settings.ready_file else None
        self._directory = directory
        self._all_serve = asyncio.Event()
        self._groups = [
            [Child(spec, changed=self._changed) for spec in group]
            for group in child_specs(settings, directory, addresses)
        ]

    @property
    def children(self) -> list[Child]:
        """All children, in the order in which they are stopped."""
        return [child for group in self._groups for child in group]

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by name."""
        return {child.spec.name: child.pid for child in reversed(self.children) if child.pid is not None}

    async def serving(self) -> None:
        """Wait until everything serves. Raises StackTooSlow."""
        try:
            await asyncio.wait_for(self._all_serve.wait(), START_TIMEOUT_S)
        except TimeoutError:
            missing = ", ".join(child.spec.name for child in self.children if child.pid is None)
            raise StackTooSlow(f"not serving after {START_TIMEOUT_S:.0f} s: {missing}") from None

    async def stop(self) -> None:
        """Stop all: workers first, so that they can still append what they end with, the broker last."""
        if self._ready_file is not None:
            self._ready_file.unlink(missing_ok=True)
        for group in self._groups:
            await asyncio.gather(*(child.stop() for child in group))

    async def bound_logs(self) -> None:
        """Keep the logs of running children bounded; never ends by itself."""
        while True:
            await asyncio.sleep(_LOG_CHECK_S)
            for child in self.children:
                bound_log(child.spec)

    async def heal_broker(self) -> None:
        """Start the broker again once a full disk has room: its streams answer nothing before (log.md R5)."""
        nats = next(child for child in self.children if child.spec.name == "nats")
        watch = broker.FullDisk(nats.spec.log, self._directory.path)
        while True:
            await asyncio.sleep(_DISK_CHECK_S)
            if await asyncio.to_thread(watch.is_over):
                nats.restart()

    def _changed(self) -> None:
        if any(child.pid is None for child in self.children):
            return
        if self._ready_file is not None:
            write_atomically(self._ready_file, json.dumps(self._report(), indent=2) + "\n")
        self._all_serve.set()

    def _report(self) -> dict[str, object]:
        names = [name for name in self.pids if name != "nats"]
        said = {name: json.loads(self._directory.ready_file(name).read_text()) for name in names}
        return {
            "session_api": self.addresses.session_api,
            "event_store": self.addresses.event_store,
            "nats": f"nats://{self.addresses.nats}",
            **({"gateway": self.addresses.gateway} if self.addresses.gateway else {}),
            "pid": os.getpid(),
            "pids": self.pids,
            "metrics": {name: ready["metrics"] for name, ready in said.items()},
        }


@asynccontextmanager
async def running_stack(settings: StackSettings) -> AsyncIterator[Stack]:
    """A stack that serves; stopped when the body ends, killed by the kernel when this process is.

    Raises DataDirectoryInUse, PortTaken, BrokerMissing, ServicesMissing, StackTooSlow, and ChildHopeless when a
    child does not start.
    """
    if find_spec("session_api") is None:
        raise ServicesMissing("the services are not installed here; this is the client alone")
    directory = DataDirectory(settings.data_directory)
    with directory.held():
        addresses = _choose_addresses(settings)
        broker.write_config(directory, int(addresses.nats.rpartition(":")[2]))
        if settings.ready_file is not None:
            settings.ready_file.parent.mkdir(parents=True, exist_ok=True)
            # Left by a life that was killed.
            settings.ready_file.unlink(missing_ok=True)
        stack = Stack(settings, directory, addresses)
        try:
            async with asyncio.TaskGroup() as tasks:
                for child in stack.children:
                    tasks.create_task(child.keep_alive(), name=child.spec.name)
                beside = [
                    tasks.create_task(stack.bound_logs(), name="logs"),
                    tasks.create_task(stack.heal_broker(), name="full disk"),
                ]
                try:
                    await stack.serving()
                    yield stack
                finally:
                    for task in beside:
                        task.cancel()
                    await asyncio.shield(stack.stop())
        except BaseExceptionGroup as group:
            # What went wrong alone is raised alone: callers of a stack need not know that tasks run it.
            if len(group.exceptions) == 1:
                raise group.exceptions[0] from None
            raise


def write_atomically(path: Path, text: str) -> None:
    """Readers see the old file or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(path)


def _choose_addresses(settings: StackSettings) -> Addresses:
    api, store, gateway, nats = free_ports(4)
    if settings.port:
        api = settings.port
        # Where clients look for it when they are told of one port only (milepost.client).
        store = api + 1 if is_free(api + 1) else store
        gateway = api + 2 if is_free(api + 2) else gateway
    gateway = settings.gateway_port or gateway
    store = settings.event_store_port or store
    for port in (api, store, gateway):
        if not is_free(port):
            options = "--port, --event-store-port or --gateway-port"
            raise PortTaken(f"port {port} of {HOST} is in use; choose another with {options}")
    return Addresses(
        session_api=f"{HOST}:{api}",
        event_store=f"{HOST}:{store}",
        nats=f"{HOST}:{nats}",
        gateway=f"{HOST}:{gateway}" if settings.gateway else None,
    )
