"""Keep what a session wrote: SUMO's messages and declared outputs become blobs, bounded, named in the log."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
import structlog

from milepost.event.v1.event_pb2 import ArtifactStored
from milepost.session.v1.session_pb2 import Artifact
from runtime.blobs import Blobs, digest_of_file

log = structlog.get_logger()

SUMO_LOG = "sumo.log"
OUTPUTS = "outputs"
# Files kept of one session; more are counted in the log of the worker only.
MAX_ARTIFACTS = 500
_RETRY_WAIT_S = 1.0
_SMALL_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class KeepArtifacts:
    """Stores the files of a session's directory that are worth keeping."""

    blobs: Blobs
    limit_bytes: int

    async def __call__(self, directory: Path, *, prefix: str = "", messages: bool = True) -> Sequence[ArtifactStored]:
        """Store them, in order of name, `prefix` before each; waits while the store does not answer.

        `messages`: SUMO's, too.
        """
        files = [
            *([directory / SUMO_LOG] if messages else []),
            *sorted(path for path in (directory / OUTPUTS).rglob("*")),
        ]
        kept = [path for path in files if path.is_file() and not path.is_symlink()]
        if len(kept) > MAX_ARTIFACTS:
            log.warning("artifacts left out", kept=MAX_ARTIFACTS, left_out=len(kept) - MAX_ARTIFACTS)
        return [
            await self._keep(path, prefix + path.relative_to(directory).as_posix()) for path in kept[:MAX_ARTIFACTS]
        ]

    async def _keep(self, path: Path, name: str) -> ArtifactStored:
        sha256, size = await keep_file(self.blobs, path, limit_bytes=self.limit_bytes)
        return ArtifactStored(
            artifact=Artifact(
                name=name,
                sha256=sha256,
                size_bytes=size,
                truncated=path.stat().st_size > size,
            )
        )


async def keep_file(blobs: Blobs, path: Path, *, limit_bytes: int) -> tuple[str, int]:
    """Store the first `limit_bytes` of a file; its digest and size. Waits while the store does not answer."""
    sha256, size = await asyncio.to_thread(digest_of_file, path, limit_bytes=limit_bytes)
    while True:
        try:
            # To ask about what is small costs more than to send it.
            if size <= _SMALL_BYTES or await blobs.missing([sha256]):
                await blobs.put_file(path, sha256=sha256, size_bytes=size)
        except grpc.aio.AioRpcError as error:
            log.warning("a file waits for the store", file=path.name, status=error.code().name)
            await asyncio.sleep(_RETRY_WAIT_S)
        else:
            return sha256, size
