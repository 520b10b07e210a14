"""An API and a store that ask who calls, in this process, and callers of any tenant.

async with guarded_stack(folder) as guarded:
    alice = guarded.caller("alice", tenant="north")
    await alice.call("milepost.session.v1.SessionService", "GetSession", GetSessionRequest(session_id="s"))
"""

import contextlib
import importlib
import sys
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import jwt
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

for _folder in ("event_store", "session_api"):
    sys.path.insert(0, str(Path(__file__).parents[1] / _folder))

from running_api import Refusal, serving
from running_store import running_store

from broker import running_broker
from databases import KINDS, chosen, url_of
from milepost.client import Milepost
from milepost.credentials import Credentials
from session_api.settings import SessionApiSettings

USERS_KEY = "the key that tokens of users are signed with"
SERVICES_KEY = "the key that services know each other by, and nobody else"
PROTOS = Path(__file__).parents[3] / "protos"
# For what is answered by itself, on a machine that does much else.
CALL_S = 30.0


def services() -> list[ServiceDescriptor]:
    """Every service there is a contract for."""
    found: list[ServiceDescriptor] = []
    for path in sorted(PROTOS.rglob("*.proto")):
        if "\nservice " in path.read_text():
            name = ".".join(path.relative_to(PROTOS).with_suffix("").parts)
            found += importlib.import_module(f"{name}_pb2").DESCRIPTOR.services_by_name.values()
    return found


def methods() -> dict[str, MethodDescriptor]:
    """Every RPC, by `Service.Method`."""
    return {f"{service.name}.{method.name}": method for service in services() for method in service.methods}


def token(subject: str, *, key: str = USERS_KEY, **claims: Any) -> str:
    """A token; claims that are None are left out."""
    said = {"sub": subject, "exp": int(time.time()) + 600, **claims}
    return jwt.encode({name: value for name, value in said.items() if value is not None}, key, algorithm="HS256")


@dataclass
class Outcome:
    """What a call came to: `reason` of its refusal, or its responses."""

    responses: list[Any] = field(default_factory=list)
    code: grpc.StatusCode = grpc.StatusCode.OK
    reason: str = ""
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def response(self) -> Any:
        """The only one."""
        assert len(self.responses) == 1, self
        return self.responses[0]


class Caller:
    """Makes any call, as somebody."""

    def __init__(self, channels: dict[str, grpc.aio.Channel], metadata: Sequence[tuple[str, str]], tenant: str) -> None:
        self._channels, self._metadata, self.tenant = channels, tuple(metadata), tenant

    async def call(self, name: str, *requests: Message, timeout_s: float = CALL_S) -> Outcome:
        """Call `Service.Method`; a stream of answers is read to its end, or until it says that it has caught up."""
        method = methods()[name]
        request_type, response_type = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
        kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
        assert all(isinstance(request, request_type) for request in requests), (name, requests)
        make: Any = getattr(self._channels[method.containing_service.full_name], kind)(
            f"/{method.containing_service.full_name}/{method.name}",
            request_serializer=request_type.SerializeToString,
            response_deserializer=response_type.FromString,
        )
        asked = iter(requests) if method.client_streaming else requests[0]
        call = make(asked, metadata=self._metadata, timeout=timeout_s)
        outcome = Outcome()
        try:
            if not method.server_streaming:
                outcome.responses.append(await call)
                return outcome
            async for response in call:
                outcome.responses.append(response)
                if getattr(response, "caught_up", False) is True:
                    call.cancel()
                    break
        except grpc.aio.AioRpcError as error:
            refusal = Refusal(error)
            outcome.code, outcome.reason, outcome.metadata = refusal.code, refusal.reason, refusal.metadata
        return outcome


class Guarded:
    """Where the stack serves, and who calls it."""

    def __init__(self, api: grpc.aio.Channel, store: grpc.aio.Channel, *, addresses: tuple[str, str]) -> None:
        self.addresses = addresses
        in_store = {"EventService", "BlobService", "StoreAdminService"}
        self._channels = {one.full_name: store if one.name in in_store else api for one in services()}

    def connect(self, credentials: Credentials) -> contextlib.AbstractAsyncContextManager[Milepost]:
        """A client as users have it."""
        return Milepost.connect(*self.addresses, credentials=credentials)

    def client(
        self, subject: str, *, tenant: str, roles: Sequence[str] = ()
    ) -> contextlib.AbstractAsyncContextManager[Milepost]:
        """The client of somebody with a token."""
        return self.connect(Credentials(token(subject, tenant=tenant, roles=list(roles))))

    def channel(self, service: str) -> grpc.aio.Channel:
        """A channel to whoever serves a service of ours, by its short name."""
        return next(channel for name, channel in self._channels.items() if name.endswith(f".{service}"))

    def caller(self, subject: str = "somebody", *, tenant: str = "", roles: Sequence[str] = ()) -> Caller:
        """Somebody with a token; of a tenant nobody has heard of, unless one is named."""
        tenant = tenant or f"t-{uuid.uuid4().hex}"
        said = token(subject, tenant=tenant, roles=list(roles) or None)
        return self.bearer(said, tenant=tenant)

    def bearer(self, said: str | None, *, tenant: str = "", **metadata: str) -> Caller:
        """Whoever sends this token, or none."""
        authorization = [("authorization", f"Bearer {said}")] if said is not None else []
        others = [(key.replace("_", "-"), value) for key, value in metadata.items()]
        return Caller(self._channels, [*authorization, *others], tenant)


@contextlib.asynccontextmanager
async def guarded_stack(folder: Path, **changed: Any) -> AsyncIterator[Guarded]:
    """Broker, store and API for the time of the body; `changed` settings are those of both."""
    settings = {"auth_shared_key": USERS_KEY, "auth_service_key": SERVICES_KEY, **changed}
    # Who may see what is decided before any database is asked.
    with chosen(KINDS[0]):
        async with (
            running_broker(folder / "broker") as broker,
            running_store(folder / "store", broker.url, **settings) as store,
        ):
            wanted = SessionApiSettings(
                nats_url=broker.url,
                listen="127.0.0.1:0",
                metrics_listen="127.0.0.1:0",
                database_url=url_of(folder / "api.db"),
                event_store=store.address,
                ready_file=folder / "api.json",
                **settings,
            )
            async with serving(wanted) as address, grpc.aio.insecure_channel(address) as api:
                yield Guarded(api, store.channel, addresses=(address, store.address))
