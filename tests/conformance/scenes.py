"""What a case needs to be there before its first step, made once for all languages; each returns variables."""

import asyncio
import base64
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from conformance.doors import Authority
from conformance.stacks import Stage, token
from milepost.admin.v1.admin_service_pb2 import CleanUpRequest
from milepost.admin.v1.admin_service_pb2_grpc import StoreAdminServiceStub
from milepost.credentials import Credentials
from milepost.session.v1.session_pb2 import SessionSpec, SessionState

# Simulated seconds per second of a session that is to last as long as somebody needs it; four intervals a second.
PACE = 40.0
LASTING_S = 1e6
# More than windows and buffers hold: 250 bytes each.
BURST_EVENTS = 40_000
# As many labels as a session may have, as long as they may be: 16 KiB. A message holds 4 MiB.
LABELS = {f"label-{number:02}": "x" * 255 for number in range(64)}
MANY, TOO_MANY = 60, 300


async def paced(stage: Stage) -> dict[str, Any]:
    """`session`: one that runs until somebody ends it, an event every half second."""
    session = await stage.client.sessions.create(
        SessionSpec(scenario_digest=_city(stage), seed=1, end_time_s=LASTING_S, pace=PACE, interval_steps=10)
    )
    await stage.client.sessions.wait_for(session.session_id, SessionState.SESSION_STATE_RUNNING)
    return {"session": session.session_id}


async def bursting(stage: Stage) -> dict[str, Any]:
    """`session`: one that runs slowly and has more to say, once it is let go, than connections hold."""
    spec = SessionSpec(scenario_digest=_city(stage), seed=1, end_time_s=BURST_EVENTS, pace=4, interval_steps=1)
    session = await stage.client.sessions.create(spec)
    await stage.client.sessions.wait_for(session.session_id, SessionState.SESSION_STATE_RUNNING)
    return {"session": session.session_id}


async def ended(stage: Stage) -> dict[str, Any]:
    """`session`: one that has completed."""
    if "ended" not in stage.known:
        session = await stage.client.sessions.run(SessionSpec(scenario_digest=_city(stage), seed=1))
        stage.known["ended"] = session.session_id
    return {"session": stage.known["ended"]}


async def cut(stage: Stage) -> dict[str, Any]:
    """`session`: one whose first run was cut; its log begins at `oldest`."""
    sessions = stage.client.sessions
    session = await sessions.run(SessionSpec(scenario_digest=_city(stage), seed=2))
    await sessions.restart(session.session_id)
    await sessions.wait(session.session_id)
    async with asyncio.timeout(60):
        while True:
            head = await stage.client.events.head(session.session_id)
            if head.oldest_seq > 1:
                return {"session": session.session_id, "oldest": head.oldest_seq}
            async with _store(stage) as channel:
                await StoreAdminServiceStub(channel).CleanUp(CleanUpRequest(), timeout=30)
            await asyncio.sleep(0.1)


async def nothing(_: Stage) -> dict[str, Any]:
    """No variables."""
    return {}


SCENES: dict[str, Callable[[Stage], Awaitable[dict[str, Any]]]] = {
    "": nothing,
    "paced": paced,
    "ended": ended,
    "bursting": bursting,
    "cut": cut,
}


def unused_id() -> str:
    """A session id nobody has."""
    return f"nobody-{uuid.uuid4().hex[:12]}"


def _city(stage: Stage) -> str:
    return str(stage.known["city"])


def _store(stage: Stage) -> Any:
    return Credentials(token=stage.token).open_channel(stage.stack.ready["event_store"], ())


async def known_to_all(stage: Stage, bundles: Path) -> dict[str, Any]:
    """What every case of a stack may name: the digest of the city, tokens, and requests of many bytes."""
    scenario = await stage.client.scenarios.upload(bundles / "city")
    one = {"spec": {"scenario_digest": scenario.digest}, "create_only": True, "labels": LABELS}
    return {
        "city": scenario.digest,
        "bundles": bundles,
        "authority": base64.b64encode(stage.authority.pem).decode(),
        "other_authority": base64.b64encode(Authority(bundles).pem).decode(),
        "stranger": token("mallory", tenant="south"),
        "forged": token("mallory", key="another key, of thirty-two bytes or more"),
        "expired": token("mallory", expires_in_s=-3600),
        "many": [one] * MANY,
        "too_many": [one] * TOO_MANY,
    }
