"""Two session APIs on one store."""

import asyncio
import contextlib
import json
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
from running_api import Api, running_api

from broker import Broker, running_broker
from databases import url_of
from milepost.scenario.v1.template_service_pb2_grpc import TemplateServiceStub
from milepost.session.v1 import session_service_pb2 as pb
from milepost.session.v1.session_pb2 import SessionSpec
from milepost.session.v1.session_service_pb2_grpc import SessionServiceStub
from milepost.study.v1.study_service_pb2_grpc import StudyServiceStub

START_S = 60.0


class Pair:
    """One API in this process, the other in one of its own: that one is killed."""

    def __init__(self, api: Api, nats_url: str, folder: Path) -> None:
        self.api, self.nats_url, self._folder = api, nats_url, folder
        self.process: asyncio.subprocess.Process | None = None
        self.other: Any = None
        self._channel: grpc.aio.Channel | None = None

    @property
    def templates(self) -> tuple[Any, Any]:
        """Stubs of TemplateService."""
        assert self._channel is not None
        return self.api.templates, TemplateServiceStub(self._channel)

    @property
    def studies(self) -> tuple[Any, Any]:
        """Stubs of StudyService."""
        assert self._channel is not None
        return StudyServiceStub(self.api.channel), StudyServiceStub(self._channel)

    @property
    def both(self) -> tuple[Any, Any]:
        """Stubs."""
        return self.api.sessions, self.other

    async def start(self) -> None:
        """Start the other, unless it runs."""
        if self.process is not None and self.process.returncode is None:
            return
        await self._hang_up()
        ready = self._folder / "other.json"
        ready.unlink(missing_ok=True)
        settings = {
            "NATS_URL": self.nats_url,
            "EVENT_STORE": self.api.store.address,
            "DATABASE_URL": url_of(self._folder / "api" / "api.db"),
            "LISTEN": "127.0.0.1:0",
            "METRICS_LISTEN": "127.0.0.1:0",
            "READY_FILE": str(ready),
            "RECONCILE_S": "0.5",
        }
        with (self._folder / "other.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "session_api"),
                env={**os.environ, **{f"MILEPOST_{name}": value for name, value in settings.items()}},
                stdout=log,
                stderr=log,
            )
        async with asyncio.timeout(START_S):
            while not ready.exists():
                assert self.process.returncode is None, (self._folder / "other.log").read_text()
                await asyncio.sleep(0.02)
        self._channel = grpc.aio.insecure_channel(json.loads(ready.read_text())["address"])
        self.other = SessionServiceStub(self._channel)

    async def kill(self) -> None:
        """As a crash would: who has called it learns of it from the broken connection."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    async def close(self) -> None:
        """End the other, if it runs."""
        if self.process is not None:
            await self.kill()
        await self._hang_up()

    async def _hang_up(self) -> None:
        if self._channel is not None:
            await self._channel.close()
            self._channel = None

    def wanted(self, **fields: Any) -> pb.CreateSessionRequest:
        """A request for a session of the demo city."""
        return pb.CreateSessionRequest(spec=SessionSpec(scenario_digest=self.api.scenario_digest), **fields)

    async def ordered(self) -> Counter[str]:
        """Orders, by session."""
        info = await self.api.js.stream_info("WORK", subjects_filter="milepost.work.>")
        return Counter(name.rpartition(".")[2] for name in info.state.subjects or {})


@contextlib.asynccontextmanager
async def running_pair(folder: Path) -> AsyncIterator[Pair]:
    """Broker, store and one API; the other when it is started."""
    async with (
        running_broker(folder / "nats") as broker,
        running_api(folder / "api", broker.url, reconcile_s=0.5) as api,
    ):
        assert isinstance(broker, Broker)
        await api.create(create_only=True)
        made = Pair(api, broker.url, folder)
        try:
            yield made
        finally:
            await made.close()
