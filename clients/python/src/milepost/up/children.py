"""Which children make a stack, and how each is told where everything is: by its environment."""

import json
import os
import secrets
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from milepost.up import broker
from milepost.up.child import ChildSpec
from milepost.up.data_directory import DataDirectory
from milepost.up.ports import HOST

# How long each child may take to stop, seconds: a worker hands its sessions over, a server drains.
_WORKER_STOP_S = 30.0
_SERVICE_STOP_S = 15.0
_BROKER_STOP_S = 10.0
# Any of these set: callers have to prove who they are.
_AUTHENTICATION = ("MILEPOST_AUTH_SHARED_KEY", "MILEPOST_AUTH_JWKS", "MILEPOST_TLS_CLIENT_CA")
_SERVICE_KEY = "MILEPOST_AUTH_SERVICE_KEY"
# The gateway passes proofs on and judges none.
_KEYS = ("MILEPOST_AUTH_", "MILEPOST_TLS_CLIENT_CA")


@dataclass(frozen=True, slots=True, kw_only=True)
class StackSettings:
    """What `milepost up` was asked for. `slots` None: each worker decides. Ports 0: any free ones, adjacent.

    `gateway`: serve browsers, too; port None: two after that of session_api, if it is free, else any.
    `database`: URL of a PostgreSQL database for all services; None: SQLite files in the data directory.
    """

    data_directory: Path
    ready_file: Path | None = None
    workers: int = 1
    slots: int | None = None
    port: int = 0
    event_store_port: int | None = None
    gateway: bool = False
    gateway_port: int | None = None
    database: str | None = None


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a stack serves, each `host:port`. `gateway` None: it has none."""

    session_api: str
    event_store: str
    nats: str
    gateway: str | None = None


def authenticates() -> bool:
    """Whether the environment asks callers to prove who they are."""
    return any(os.environ.get(name) for name in _AUTHENTICATION)


def child_specs(settings: StackSettings, directory: DataDirectory, addresses: Addresses) -> list[list[ChildSpec]]:
    """The children, in groups that stop together, first to last."""
    inherited = dict(os.environ)
    keyless = {name: value for name, value in inherited.items() if not name.startswith(_KEYS)}
    if authenticates() and not inherited.get(_SERVICE_KEY):
        # For this life: whoever needs it is a child of this process.
        inherited[_SERVICE_KEY] = secrets.token_hex(32)

    def service(name: str, module: str, stop_timeout_s: float, **own: str) -> ChildSpec:
        environment = {
            "NATS_URL": f"nats://{addresses.nats}",
            "EVENT_STORE": addresses.event_store,
            "METRICS_LISTEN": f"{HOST}:0",
            "READY_FILE": str(directory.ready_file(name)),
            **own,
        }
        return ChildSpec(
            name=name,
            command=(sys.executable, "-m", module),
            environment={
                **(keyless if module == "gateway" else inherited),
                **{f"MILEPOST_{key}": value for key, value in environment.items()},
            },
            log=directory.log_file(name),
            serves=_says_so(directory.ready_file(name)),
            stop_timeout_s=stop_timeout_s,
        )

    slots = {} if settings.slots is None else {"SLOTS": str(settings.slots)}
    workers = [
        service(
            name := f"worker-{number}",
            "sim_worker",
            _WORKER_STOP_S,
            LISTEN=f"{HOST}:0",
            WORKER_ID=name,
            WORK_DIR=str(directory.workers / str(number)),
            **slots,
        )
        for number in range(1, settings.workers + 1)
    ]
    session_api = service(
        "session_api",
        "session_api",
        _SERVICE_STOP_S,
        LISTEN=addresses.session_api,
        DATABASE_URL=settings.database or directory.database_url("session_api"),
    )
    event_store = service(
        "event_store",
        "event_store",
        _SERVICE_STOP_S,
        LISTEN=addresses.event_store,
        DATABASE_URL=settings.database or directory.database_url("event_store"),
        BLOB_URL=directory.blobs.as_uri(),
    )
    gateways = []
    if addresses.gateway:
        api = addresses.session_api
        gateways.append(service("gateway", "gateway", _SERVICE_STOP_S, LISTEN=addresses.gateway, SESSION_API=api))
    nats_port = int(addresses.nats.rpartition(":")[2])
    nats = ChildSpec(
        name="nats",
        command=(str(broker.broker_binary()), "--config", str(directory.broker_config)),
        environment=os.environ,
        log=directory.log_file("nats"),
        serves=lambda _: broker.serves(nats_port),
        stop_timeout_s=_BROKER_STOP_S,
    )
    return [[*gateways, *workers], [session_api], [event_store], [nats]]


def _says_so(ready_file: Path) -> Callable[[int], Awaitable[bool]]:
    async def serves(pid: int) -> bool:
        try:
            said: object = json.loads(ready_file.read_text())["pid"]
        except FileNotFoundError:
            return False
        return said == pid

    return serves
