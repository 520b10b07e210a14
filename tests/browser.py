"""A real browser for tests: Chromium without a window, told what to do over a pipe (DevTools protocol).

    async with browsing(tmp_path) as tab:
        await tab.open(page)
        assert tab.complaints == [] and tab.requests == [page.as_uri()]

Skips with a word where no Chromium is installed (Debian: `apt-get install chromium`).
"""

import asyncio
import base64
import contextlib
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

PATIENCE_S = 60.0
# Nothing of its own goes over the network, nothing is asked, nothing of another life is known.
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
# It reads commands from 3 and answers on 4; copied out of the way first, for they may be each other's.
_BECOME = (
    "import os, sys; from fcntl import F_DUPFD, fcntl; "
    "ends = [fcntl(int(name), F_DUPFD, 10) for name in sys.argv[1:3]]; "
    "[os.dup2(end, number) for number, end in enumerate(ends, 3)]; os.execv(sys.argv[3], sys.argv[3:])"
)


class Tab:
    """One page; hears all that it asks for and complains about."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.requests: list[str] = []
        """Addresses that were asked for, in order."""
        self.complaints: list[str] = []
        """Exceptions, what was written to the console, what the page's policy refused."""
        self._reader, self._writer = reader, writer
        self._session = ""
        self._number = 0
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._loaded = asyncio.Event()

    async def listen(self) -> None:
        """Run until the browser ends."""
        while (message := (await self._reader.readuntil(b"\0"))[:-1]) != b"":
            self._hear(json.loads(message))

    async def attach(self, width: int, height: int) -> None:
        target = (await self.say("Target.createTarget", url="about:blank"))["targetId"]
        self._session = (await self.say("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            await self.say(f"{domain}.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        await self.say("Emulation.setDeviceMetricsOverride", **size)

    async def open(self, page: Path) -> None:
        """Open a file, and wait until it has loaded."""
        await self.visit(page.as_uri())

    async def visit(self, address: str) -> None:
        """Open an address, and wait until it has loaded."""
        self._loaded.clear()
        await self.say("Page.navigate", url=address)
        async with asyncio.timeout(PATIENCE_S):
            await self._loaded.wait()

    async def look(self, expression: str) -> Any:
        """What an expression comes to in the page."""
        found = await self.say("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def point(self, x: float, y: float) -> None:
        """Move the mouse."""
        await self.say("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    async def photograph(self, to: Path) -> None:
        """The whole page as a PNG."""
        found = await self.say("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        to.write_bytes(base64.b64decode(found["data"]))

    async def say(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the protocol; its result."""
        self._number += 1
        said: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            said["sessionId"] = self._session
        self._answers[self._number] = asyncio.get_running_loop().create_future()
        self._writer.write(json.dumps(said).encode() + b"\0")
        return await asyncio.wait_for(self._answers[self._number], PATIENCE_S)

    def _hear(self, message: dict[str, Any]) -> None:
        if "id" in message:
            assert "error" not in message, message
            self._answers.pop(message["id"]).set_result(message["result"])
            return
        told = message["params"]
        match message["method"]:
            case "Network.requestWillBeSent":
                self.requests.append(told["request"]["url"])
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(told["exceptionDetails"]))
            case "Runtime.consoleAPICalled":
                self.complaints.append(json.dumps(told["args"]))
            case "Log.entryAdded":
                self.complaints.append(told["entry"]["text"])
            case "Page.loadEventFired":
                self._loaded.set()


@contextlib.asynccontextmanager
async def browsing(folder: Path, *, width: int = 1100, height: int = 900) -> AsyncIterator[Tab]:
    """A browser of the test's own, with one empty tab."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("no chromium here: a page is looked at where one is installed")
    (theirs_in, ours_out), (ours_in, theirs_out) = os.pipe(), os.pipe()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _BECOME, str(theirs_in), str(theirs_out)),
        *(program, *_FLAGS, f"--user-data-dir={folder / 'browser'}"),
        pass_fds=(theirs_in, theirs_out),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    tab = Tab(*await _streams(ours_in, ours_out))
    listening = asyncio.create_task(tab.listen(), name="browser")
    try:
        await tab.attach(width, height)
        yield tab
    finally:
        listening.cancel()
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _streams(read_fd: int, write_fd: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=64 * 1024 * 1024)
    protocol = asyncio.StreamReaderProtocol(reader)
    await loop.connect_read_pipe(lambda: protocol, os.fdopen(read_fd, "rb"))
    transport, flow = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, os.fdopen(write_fd, "wb"))
    return reader, asyncio.StreamWriter(transport, flow, reader, loop)
