"""Talking to NATS: connections that wait for the broker, addresses read from the contracts, our streams.

A message's stream, subject and retention stand once, as an option on the message in protos/.
"""

import asyncio
import contextlib
import re
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import nats
import nats.errors
import structlog
from google.protobuf.message import Message
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import NotFoundError
from prometheus_client import Gauge

from milepost.dispatch.v1.dispatch_pb2 import WorkOrder
from milepost.event.v1.record_pb2 import EventBatch
from milepost.options.v1 import options_pb2

log = structlog.get_logger()
_connected = Gauge("milepost_broker_connected", "1 while this process is connected to the broker, else 0")

# How long one request to the broker may take before it counts as unclear, seconds.
REQUEST_TIMEOUT_S = 2.0
# How long to wait between two attempts to reach the broker, seconds.
RECONNECT_WAIT_S = 0.25
# Between two tries to cancel what goes on connecting, seconds.
_CANCEL_AGAIN_S = 0.1
ANY = "*"
"""In place of a token of a subject: any."""
# No separator, no wildcard, nothing that ends a line of the protocol.
_TOKEN = re.compile(r"[^\s.*>\x00-\x1f\x7f]+")
# Default size of the log on the broker; it is purged behind the store, so this is a buffer, not an archive.
LOG_MAX_BYTES = 8 * 1024**3


def binding(message: type[Message]) -> options_pb2.BrokerBinding:
    """Broker address of a message type. Raises KeyError when its proto names none."""
    options = message.DESCRIPTOR.GetOptions()
    if not options.HasExtension(options_pb2.broker):
        raise KeyError(message.DESCRIPTOR.full_name)
    return options.Extensions[options_pb2.broker]


def is_token(name: str) -> bool:
    """Whether a name can be a token of a subject: what cannot names nothing that is on the broker."""
    return _TOKEN.fullmatch(name) is not None


def subject(message: type[Message], **tokens: str) -> str:
    """Subject of a message; `*` as a token makes a filter. Raises ValueError for what is no token, such as a dot."""
    for name, token in tokens.items():
        if token != ANY and not is_token(token):
            raise ValueError(f"{name}={token!r} is not a subject token")
    return binding(message).subject.format(**tokens)


def tokens_of(message: type[Message], actual: str) -> dict[str, str]:
    """The variable tokens of a subject that was received."""
    pattern = binding(message).subject.split(".")
    return {part.strip("{}"): token for part, token in zip(pattern, actual.split("."), strict=True) if part[0] == "{"}


async def connect(url: str, *, name: str, appends: bool = False, echo: bool = True) -> Client:
    """A connection that reconnects for ever; the first connect waits for the broker, too.

    `url`: one server, or several of a cluster with commas between.

    `appends`: for connections that append to logs (log.md R3). Nothing is buffered while disconnected, or
    a publish that was reported as failed would be delivered seconds later.
    `echo=False`: what this connection publishes does not reach its own subscriptions.
    """
    servers, user = _without_user(url)
    settings: dict[str, Any] = {"no_echo": not echo, **({"pending_size": 0} if appends else {}), **user}
    while True:
        try:
            client = await nats.connect(
                servers,
                name=name,
                max_reconnect_attempts=-1,
                reconnect_time_wait=RECONNECT_WAIT_S,
                connect_timeout=2,
                ping_interval=5,
                max_outstanding_pings=2,
                error_cb=_on_error,
                disconnected_cb=_on_loss,
                reconnected_cb=_on_return,
                **settings,
            )
            _connected.set(1)
            return client
        except (OSError, nats.errors.Error) as error:
            log.warning("broker not reachable yet", url=",".join(servers), error=repr(error))
            await asyncio.sleep(RECONNECT_WAIT_S)


def _without_user(url: str) -> tuple[list[str], dict[str, str]]:
    """Addresses without user and password, and these as options: logs show addresses, and a cluster tells more of them.

    A user has an inbox of its own, so that permissions can keep answers from others (deploy/nats/users.conf).
    """
    servers, options = [], dict[str, str]()
    for address in url.split(","):
        parsed = urlsplit(address)
        if parsed.username:
            user, password = unquote(parsed.username), unquote(parsed.password or "")
            options = {"user": user, "password": password, "inbox_prefix": f"_INBOX.{user}"}
        servers.append(urlunsplit(parsed._replace(netloc=parsed.netloc.rpartition("@")[2])))
    return servers, options


async def disconnect(client: Client) -> None:
    """Close a connection; a broker that goes away at this moment breaks the farewell, not the stop."""
    with contextlib.suppress(nats.errors.Error, OSError):
        await client.close()
    # One that breaks while it is being closed leaves a task behind that connects for ever, and that takes a
    # cancellation for something else now and then: the process would never end.
    connecting: asyncio.Task[None] | None = client._reconnection_task  # noqa: SLF001
    while connecting is not None and not connecting.done():
        connecting.cancel()
        await asyncio.wait({connecting}, timeout=_CANCEL_AGAIN_S)


async def _on_loss() -> None:
    _connected.set(0)


async def _on_return() -> None:
    _connected.set(1)


async def _on_error(error: Exception) -> None:
    log.warning("broker connection", error=repr(error))


def jetstream(client: Client) -> JetStreamContext:
    """The JetStream side of a connection, with our time-out."""
    return client.jetstream(timeout=REQUEST_TIMEOUT_S)


async def ensure_streams(js: JetStreamContext, *, log_max_bytes: int = LOG_MAX_BYTES, replicas: int = 1) -> None:
    """Create `SESSIONS` and `WORK` where they are missing; any service may be first.

    `SESSIONS` refuses when full and never drops (log.md, Subjects). `WORK` holds one order per session
    (R7): a second one is refused, so publishing is idempotent. Waits until the broker answers.
    """
    logs, work = binding(EventBatch), binding(WorkOrder)
    configs = (
        StreamConfig(
            name=logs.stream,
            subjects=["milepost.log.>"],
            retention=RetentionPolicy.LIMITS,
            storage=StorageType.FILE,
            discard=DiscardPolicy.NEW,
            max_bytes=log_max_bytes,
            num_replicas=replicas,
            allow_direct=False,
        ),
        StreamConfig(
            name=work.stream,
            subjects=["milepost.work.>"],
            retention=RetentionPolicy.WORK_QUEUE,
            storage=StorageType.FILE,
            discard=DiscardPolicy.NEW,
            max_msgs_per_subject=1,
            discard_new_per_subject=True,
            num_replicas=replicas,
        ),
    )
    for config in configs:
        await _ensure_stream(js, config)


async def _ensure_stream(js: JetStreamContext, config: StreamConfig) -> None:
    assert config.name is not None
    while True:
        try:
            found = (await js.stream_info(config.name)).config
            if found.num_replicas != config.num_replicas:
                # Whoever was first decided; changing it moves all of a stream, and is the operator's to order.
                log.warning("stream has other replicas", stream=config.name, replicas=found.num_replicas)
            return
        except NotFoundError:
            await _add_stream(js, config)
        except nats.errors.Error as error:
            log.warning("broker does not answer yet", stream=config.name, error=repr(error))
            await asyncio.sleep(RECONNECT_WAIT_S)


async def _add_stream(js: JetStreamContext, config: StreamConfig) -> None:
    try:
        await js.add_stream(config)
    except nats.errors.Error as error:
        # Another service was first, with settings of its own: its stream is the stream. Or the cluster has no leader
        # yet, or too few servers for so many replicas. Whoever asked looks again.
        log.info("stream not made", stream=config.name, error=str(error))
        await asyncio.sleep(RECONNECT_WAIT_S)
