"""A real nats-server for tests: on a free port, with JetStream in a folder, killed and restarted at will."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

START_TIMEOUT_S = 20.0


def nats_server_binary() -> str:
    """The binary of the environment the tests run in."""
    beside = Path(sys.executable).with_name("nats-server")
    found = os.environ.get("MILEPOST_NATS_SERVER") or (str(beside) if beside.exists() else shutil.which("nats-server"))
    assert found, "nats-server is not installed"
    return found


class Broker:
    """One server. `url` stays the same over restarts."""

    def __init__(self, folder: Path, extra: str = "") -> None:
        self._folder, self._extra = folder, extra
        self._process: subprocess.Popen[bytes] | None = None
        self._port = -1

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"nats://127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Start, on the port of the first start, and wait until it answers."""
        self._folder.mkdir(parents=True, exist_ok=True)
        ports = self._folder / "ports"
        shutil.rmtree(ports, ignore_errors=True)
        ports.mkdir()
        config = self._folder / "nats.conf"
        config.write_text(
            f"host: 127.0.0.1\nport: {self._port}\nports_file_dir: {json.dumps(str(ports))}\n"
            f"jetstream {{ store_dir: {json.dumps(str(self._folder / 'js'))} }}\n{self._extra}\n"
        )
        # Nothing runs between fork and exec: this process has gRPC's threads.
        log = self._folder / "nats.log"
        self._process = subprocess.Popen([nats_server_binary(), "-c", str(config), "-l", str(log)])
        async with asyncio.timeout(START_TIMEOUT_S):
            while not (files := list(ports.glob("*.ports"))) or not files[0].read_text().strip():
                assert self._process.poll() is None, (self._process.returncode, log.exists() and log.read_text())
                await asyncio.sleep(0.005)
            self._port = int(json.loads(files[0].read_text())["nats"][0].rpartition(":")[2])
            while not _answers(self._port):
                await asyncio.sleep(0.005)

    def kill(self) -> None:
        """End it as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it cleanly."""
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """Let it answer nothing; when this returns, its last thread stands."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        # A signal sent is not yet a signal taken: a busy machine lets a server of many threads answer meanwhile.
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WNOWAIT)

    def go_on(self) -> None:
        """Undo `pause`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    async def restart(self) -> None:
        """Crash and start again."""
        self.kill()
        await self.start()

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait(10)


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
        return connection.recv(4) == b"INFO"
    return False


@contextlib.asynccontextmanager
async def running_broker(folder: Path, extra: str = "") -> AsyncIterator[Broker]:
    """A broker for the time of the body; `extra` goes into its configuration."""
    broker = Broker(folder, extra)
    await broker.start()
    try:
        yield broker
    finally:
        broker.go_on()
        broker.kill()
