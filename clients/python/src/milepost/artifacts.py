"""Artifacts: the files a session left behind, read from the store by content."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import grpc

from milepost.blob.v1.blob_service_pb2 import DownloadBlobRequest
from milepost.blob.v1.blob_service_pb2_grpc import BlobServiceStub
from milepost.connection import Backoff, Connection
from milepost.exceptions import DataLoss, Unavailable, from_rpc_error
from milepost.session.v1.session_pb2 import Artifact


class Artifacts:
    """Downloads of what `Session.artifacts` names (FULL view)."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stub = BlobServiceStub(connection.channel)

    async def chunks(self, artifact: Artifact) -> AsyncIterator[bytes]:
        """The content in order, in pieces; goes on where it stood after a broken connection.

        Raises NotFound, Unavailable, and at the end DataLoss when the content is not what its digest says.
        """
        seen = hashlib.sha256()
        received_bytes = 0
        backoff = Backoff(self._connection.retry_for_s)
        while received_bytes < artifact.size_bytes:
            request = DownloadBlobRequest(sha256=artifact.sha256, offset=received_bytes)
            try:
                async for response in self._stub.DownloadBlob(request):
                    backoff.succeeded()
                    seen.update(response.content)
                    received_bytes += len(response.content)
                    yield response.content
                break
            except grpc.aio.AioRpcError as broken:
                error = from_rpc_error(broken)
                if not isinstance(error, Unavailable):
                    raise error from None
                await backoff.wait(error)
        if seen.hexdigest() != artifact.sha256:
            raise DataLoss(
                "DIGEST_MISMATCH",
                f"{artifact.name} is not what was stored",
                metadata={"expected": artifact.sha256, "actual": seen.hexdigest()},
            )

    async def download(self, artifact: Artifact, to: Path) -> None:
        """Write the content to a file, replaced as a whole at the end. Raises as `chunks` does."""
        partial = to.with_name(f".{to.name}.part")
        try:
            with partial.open("wb") as file:
                async for chunk in self.chunks(artifact):
                    file.write(chunk)
            partial.replace(to)
        finally:
            partial.unlink(missing_ok=True)
