"""Without authentication nothing is served but on loopback, unless that is said to be meant."""

import pytest

from runtime.grpc_server import GrpcServer, OpenToEverybody
from runtime.settings import ServiceSettings

KEYS = {"auth_shared_key": "k" * 32, "auth_service_key": "s" * 32}


@pytest.mark.parametrize(
    ("listen", "settings", "refused"),
    [
        ("127.0.0.1:0", {}, False),
        ("localhost:0", {}, False),
        ("0.0.0.0:0", {}, True),
        ("0.0.0.0:0", {"insecure": True}, False),
        ("0.0.0.0:0", KEYS, False),
    ],
)
async def test_a_server_opens_itself_to_others_only_with_authentication(
    listen: str, settings: dict[str, object], *, refused: bool
) -> None:
    server = GrpcServer(ServiceSettings(listen=listen, metrics_listen="127.0.0.1:0", **settings))
    try:
        if refused:
            with pytest.raises(OpenToEverybody, match="MILEPOST_INSECURE"):
                await server.start(["milepost.event.v1.EventService"])
        else:
            await server.start(["milepost.event.v1.EventService"])
    finally:
        await server.stop(0)


async def test_who_serves_health_alone_may_be_reached() -> None:
    server = GrpcServer(ServiceSettings(listen="0.0.0.0:0", metrics_listen="127.0.0.1:0"))
    await server.start(())
    await server.stop(0)
