"""The Milepost that the cases are run against: `plain`; `shaken`, whose processes are killed; `guarded`, which asks for
tokens.

Other ways to their servers than the straight one are doors (doors.py).
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import jwt

from conformance.doors import Authority, Door, opened
from milepost.client import Milepost
from milepost.credentials import Credentials
from stack import RunningStack, running_stack

SLOTS = 16
KEY = "a key that tokens of the conformance cases are signed with"
SETTINGS = {
    # Earlier runs may be cut as soon as somebody asks for a clean-up.
    "MILEPOST_CUT_RUNS_AFTER_S": "0.001",
    # The browser's driver is a page of a server of its own.
    "MILEPOST_ALLOWED_ORIGINS": "*",
}


def token(subject: str = "conformance", *, key: str = KEY, expires_in_s: int = 3600, **claims: str) -> str:
    """A token of the guarded stack's."""
    said = {"sub": subject, "tenant": "north", "exp": int(time.time()) + expires_in_s, **claims}
    return jwt.encode(said, key, algorithm="HS256")


@dataclass
class Stage:
    """A running stack. `client` is the runner's own; `known` are variables for the cases of this stack."""

    stack: RunningStack
    client: Milepost
    token: str
    held: AsyncExitStack
    authority: Authority
    doors: dict[str, Door] = field(default_factory=dict)
    known: dict[str, object] = field(default_factory=dict)

    @property
    def servers(self) -> dict[str, str]:
        """For the environment of a driver."""
        ready = self.stack.ready
        said = {"MILEPOST_SERVER": ready["session_api"], "MILEPOST_EVENT_STORE": ready["event_store"]}
        if gateway := ready.get("gateway"):
            said["MILEPOST_GATEWAY"] = _http(gateway)
        return said | ({"MILEPOST_TOKEN": self.token} if self.token else {})

    async def door(self, name: str, language: str) -> Door:
        """The door `proxy`, `tls` or `own`, the last one for this language alone."""
        key = f"own {language}" if name == "own" else name
        if key not in self.doors:
            encrypting = self.authority.context() if name == "tls" else None
            self.doors[key] = await self.held.enter_async_context(opened(self.stack.ready, encrypting))
        return self.doors[key]


@asynccontextmanager
async def running_stage(folder: Path, *, guarded: bool) -> AsyncIterator[Stage]:
    """A stack with its proxies."""
    settings = dict(SETTINGS)
    if guarded:
        settings["MILEPOST_AUTH_SHARED_KEY"] = KEY
    own = token(roles="admin") if guarded else ""
    async with AsyncExitStack() as held:
        stack = await held.enter_async_context(running_stack(folder, slots=SLOTS, gateway=True, environment=settings))
        ready = stack.ready
        client = await held.enter_async_context(
            Milepost.connect(ready["session_api"], ready["event_store"], credentials=Credentials(token=own))
        )
        authority = Authority(folder)
        stage = Stage(stack, client, own, held, authority)
        await stage.door("proxy", "")
        await stage.door("tls", "")
        yield stage


class Stages:
    """The stacks, each started when it is first asked for."""

    def __init__(self, folder: Path, held: AsyncExitStack) -> None:
        self._folder = folder
        self._held = held
        self._running: dict[str, Stage] = {}
        self._starting = asyncio.Lock()

    async def get(self, name: str) -> Stage:
        """By its name."""
        async with self._starting:
            if name not in self._running:
                stage = running_stage(self._folder / name, guarded=name == "guarded")
                self._running[name] = await self._held.enter_async_context(stage)
        return self._running[name]


def _http(address: str) -> str:
    return address if address.startswith("http") else f"http://{address}"
