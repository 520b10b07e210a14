"""A driver as a process: steps go in, outcomes come out (conformance.proto says how)."""

import asyncio
import struct
from collections.abc import Mapping
from pathlib import Path

from languages import Language, command, environment

from conformance.messages import pb

# The longest message a driver may send, bytes: far more than any answer holds.
LONGEST_BYTES = 256 * 1024 * 1024
# How long one may take to end once its input is closed, seconds.
END_S = 10.0
_STDERR_BYTES = 4000


class DriverDied(Exception):
    """The process ended, or said something that is no outcome; the message holds its last words."""


class Driver:
    """A running driver. Steps are answered in order, one at a time."""

    def __init__(self, language: Language, process: asyncio.subprocess.Process, log: Path) -> None:
        self.language = language
        self._process = process
        self._log = log

    @classmethod
    async def start(cls, language: Language, servers: Mapping[str, str], log: Path) -> "Driver":
        """Start a driver that finds the servers in its environment; what it says on stderr goes to `log`."""
        own = {name: value for name, value in environment().items() if not name.startswith("MILEPOST_")}
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                *command(language.driver_run),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                cwd=language.driver_folder,
                env={**own, **servers},
            )
        return cls(language, process, log)

    async def do(self, step: pb.Step) -> pb.Outcome:
        """Have a step done. Raises DriverDied. No answer is waited for longer than the caller does."""
        assert self._process.stdin
        assert self._process.stdout
        encoded = step.SerializeToString()
        try:
            self._process.stdin.write(struct.pack(">I", len(encoded)) + encoded)
            await self._process.stdin.drain()
            (size,) = struct.unpack(">I", await self._process.stdout.readexactly(4))
            if size > LONGEST_BYTES:
                raise DriverDied(f"an outcome of {size} bytes announced; does the driver print to stdout?")
            outcome = pb.Outcome.FromString(await self._process.stdout.readexactly(size))
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise DriverDied(f"the driver ended: {self._last_words()}") from error
        if outcome.step_id != step.step_id:
            raise DriverDied(f"the outcome is of step {outcome.step_id!r}, not of {step.step_id!r}")
        return outcome

    async def end(self) -> int:
        """Close its input and wait for its end; its exit code. One that does not end is killed."""
        assert self._process.stdin
        self._process.stdin.close()
        try:
            return await asyncio.wait_for(self._process.wait(), END_S)
        except TimeoutError:
            await self.kill()
            return -1

    async def kill(self) -> None:
        """End it at once."""
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    def _last_words(self) -> str:
        size = self._log.stat().st_size
        with self._log.open("rb") as log:
            log.seek(max(0, size - _STDERR_BYTES))
            return log.read().decode(errors="replace").strip() or "without a word"
