"""A Go program with KEDA's own published stubs scales by our service: main.go, beside this file."""

import asyncio
import base64
import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto

sys.path.insert(0, str(Path(__file__).parents[2] / "integration" / "session_api"))

from running_api import PATIENCE_S, Api, running_api

from broker import Broker
from externalscaler import externalscaler_pb2
from runtime.work_queue import Line
from session_api.gateways.work_orders import WorkOrders

# Go compiles gRPC first: half a minute of two cores, once.
pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

POOL = "sumo-1_28_0"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, built."""
    if shutil.which("go") is None:
        pytest.skip("Go is not installed: KEDA's published stubs were not tried")
    built = tmp_path_factory.mktemp("keda") / "keda"
    fetched = go("mod", "download", "google.golang.org/grpc", "github.com/kedacore/keda/v2")
    if fetched.returncode:
        pytest.skip(f"Go modules cannot be fetched: KEDA's published stubs were not tried ({fetched.stderr[-200:]})")
    compiled = go("build", "-o", str(built), ".")
    assert compiled.returncode == 0, compiled.stderr
    return built


def go(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A command of Go's, in the folder of the program."""
    return subprocess.run(["go", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=False)


class Keda:
    """The program, running. What it says is polled answers and pushes, in two queues."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.polled: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.pushed: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def listen(self) -> None:
        assert self._process.stdout is not None
        while said := await self._process.stdout.readline():
            line = json.loads(said)
            (self.pushed if {"pushed", "ended"} & set(line) else self.polled).put_nowait(line)

    async def poll(self) -> dict[str, Any]:
        """One round: GetMetrics, then IsActive."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        return await self.answer()

    async def answer(self) -> dict[str, Any]:
        return await asyncio.wait_for(self.polled.get(), PATIENCE_S)

    async def push(self) -> dict[str, Any]:
        return await asyncio.wait_for(self.pushed.get(), PATIENCE_S)


@contextlib.asynccontextmanager
async def keda(program: Path, address: str, **metadata: str) -> AsyncIterator[Keda]:
    process = await asyncio.create_subprocess_exec(
        program,
        address,
        *(f"{key}={value}" for key, value in metadata.items()),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    running = Keda(process)
    listening = asyncio.create_task(running.listen())
    try:
        yield running
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await listening


async def test_keda_polls_listens_and_comes_back(program: Path, broker: Broker, tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as outlives:
        async with running_api(tmp_path / "api", broker.url) as api:
            address = api.address
            scaling = await outlives.enter_async_context(
                keda(program, address, scalerAddress=address, pool=POOL, slotsPerWorker="2")
            )
            compare_contracts(base64.b64decode((await scaling.answer())["contract"]))
            assert await scaling.answer() == {"metric": f"milepost-slots-{POOL}", "target": 2}
            assert await scaling.push() == {"pushed": False}
            assert await scaling.poll() == wanted(0)
            await order(api, "a")
            assert await scaling.push() == {"pushed": True}
            await order(api, "b")
            assert await scaling.poll() == wanted(2)
            broker.kill()
            assert await scaling.poll() == {"error": "Unavailable"}
            await broker.start()
            while (answer := await scaling.poll()) != wanted(2):
                assert answer == {"error": "Unavailable"}
        assert await scaling.push() == {"ended": "OK"}
        async with running_api(tmp_path / "api", broker.url, listen=address):
            assert await scaling.push() == {"pushed": True}
            assert await scaling.poll() == wanted(2)


async def test_keda_is_told_that_its_metadata_means_nothing(program: Path, broker: Broker, tmp_path: Path) -> None:
    async with running_api(tmp_path / "api", broker.url) as api, keda(program, api.address, pool=POOL) as scaling:
        await scaling.answer()
        assert await scaling.answer() == {"error": "InvalidArgument"}


def wanted(slots: int) -> dict[str, Any]:
    """A round of polling as it goes well."""
    return {"metric": f"milepost-slots-{POOL}", "value": slots, "active": slots > 0}


async def order(api: Api, session_id: str) -> None:
    await WorkOrders(api.js, lease_s=10).publish(Line(POOL, "standard", "t"), session_id)


def compare_contracts(published: bytes) -> None:
    """Ours is KEDA's: the same package, methods, fields, names, numbers and types."""
    ours = FileDescriptorProto()
    externalscaler_pb2.DESCRIPTOR.CopyToProto(ours)
    assert in_words(ours) == in_words(FileDescriptorProto.FromString(published))


def in_words(contract: FileDescriptorProto) -> set[str]:
    """What goes over the wire of a contract, a line for each field and method."""
    methods = {
        f"/{contract.package}.{service.name}/{method.name} {method.client_streaming} {method.server_streaming} "
        f"{method.input_type} {method.output_type}"
        for service in contract.service
        for method in service.method
    }
    messages = [nested for message in contract.message_type for nested in (message, *message.nested_type)]
    fields = {
        f"{message.name}.{field.name} {field.number} {field.type} {field.label} {field.type_name}"
        for message in messages
        for field in message.field
    }
    return methods | fields
