"""The client: one object for a Milepost server, with a part per noun.

Two addresses make a server: session_api takes requests, event_store is read and followed. Unless told
otherwise the event store is looked for at the next port of the same host, where `milepost up` puts it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from milepost.artifacts import Artifacts
from milepost.blobs import Blobs
from milepost.connection import NO_CREDENTIALS, Connection, open_channel
from milepost.credentials import Credentials
from milepost.events import Events
from milepost.scenarios import Scenarios
from milepost.sessions import Sessions
from milepost.studies.calls import Studies
from milepost.studies.sending import Sender
from milepost.templates import Templates
from milepost.upkeep import Upkeep

DEFAULT_SERVER = "127.0.0.1:7400"
# How long calls and watches try to get through to a server that is away, seconds.
RETRY_FOR_S = 30.0
# Watches hear something every 5 s: after three such the connection is broken, whatever TCP thinks, seconds.
SILENCE_S = 15.0


def event_store_beside(server: str) -> str:
    """The event store's address when only session_api's is known: the next port."""
    host, _, port = server.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"{server!r} is not host:port")
    return f"{host}:{int(port) + 1}"


class Milepost:
    """A connected client. Make it with `connect`; it may be used by any number of tasks of one event loop."""

    def __init__(self, api: Connection, store: Connection) -> None:
        self._connections = (api, store)
        self.upkeep = Upkeep(api, store)
        self.events = Events(store)
        self.artifacts = Artifacts(store)
        self.scenarios = Scenarios(api)
        self.templates = Templates(api, self.scenarios)
        self.sessions = Sessions(api, self.events)
        self.blobs = Blobs(store)
        self.studies = Studies(api, Sender(self.scenarios, self.templates, self.blobs))

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        server: str = DEFAULT_SERVER,
        event_store: str | None = None,
        *,
        credentials: Credentials = NO_CREDENTIALS,
        retry_for_s: float = RETRY_FOR_S,
        silence_s: float = SILENCE_S,
    ) -> AsyncIterator["Milepost"]:
        """A client of the session_api at `server` and the event_store at `event_store`, each `host:port`.

        `credentials` prove who calls; `Credentials.from_environment()` takes them from MILEPOST_TOKEN and its like.
        Connects on first use. A call to a server that is away is tried for `retry_for_s` seconds, a watch as long
        after it last heard something; a watch that hears nothing for `silence_s` connects anew. Raises ValueError
        when an address is none, OSError for a key or certificate that cannot be read.
        """
        store = event_store or event_store_beside(server)
        async with (
            open_channel(server, credentials) as api_channel,
            open_channel(store, credentials) as store_channel,
        ):
            yield cls(
                Connection(api_channel, address=server, retry_for_s=retry_for_s, silence_s=silence_s),
                Connection(store_channel, address=store, retry_for_s=retry_for_s, silence_s=silence_s),
            )

    async def reachable(self, timeout_s: float = 3.0) -> None:
        """Wait until both services accept connections. Raises Unavailable (UNREACHABLE), naming one that does not."""
        for connection in self._connections:
            await connection.reachable(timeout_s)
