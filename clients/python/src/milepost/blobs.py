"""Blobs: content that is named by its digest, sent before something else names it."""

import asyncio
import hashlib
from collections.abc import Iterator
from pathlib import Path

from milepost.blob.v1.blob_service_pb2 import (
    BlobRef,
    DownloadBlobRequest,
    FindMissingBlobsRequest,
    UploadBlobRequest,
)
from milepost.blob.v1.blob_service_pb2_grpc import BlobServiceStub
from milepost.connection import Connection
from milepost.exceptions import DataLoss

CHUNK_BYTES = 512 * 1024
# As long as it takes; a call without any deadline could hang for ever, seconds.
UPLOAD_TIMEOUT_S = 3600.0


class Blobs:
    """The verbs of BlobService for who is no service. Every failure is a MilepostError."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stub = BlobServiceStub(connection.channel)

    async def upload(self, path: Path) -> BlobRef:
        """Send a file unless it is stored; it is kept for 24 h, and as long as something names it. Raises OSError."""
        ref = await asyncio.to_thread(_ref_of, path)
        wanted = FindMissingBlobsRequest(sha256=[ref.sha256])
        missing = await self._connection.call(lambda left_s: self._stub.FindMissingBlobs(wanted, timeout=left_s))
        if missing.sha256:
            await self._connection.call(lambda _: self._stub.UploadBlob(_messages(path, ref), timeout=UPLOAD_TIMEOUT_S))
        return ref

    async def read(self, ref: BlobRef, *, timeout_s: float = UPLOAD_TIMEOUT_S) -> bytes:
        """All of a blob. Raises NotFound, and DataLoss when the content is not what its digest says."""

        async def attempt(_: float) -> bytes:
            call = self._stub.DownloadBlob(DownloadBlobRequest(sha256=ref.sha256), timeout=timeout_s)
            return b"".join([response.content async for response in call])

        content = await self._connection.call(attempt)
        if hashlib.sha256(content).hexdigest() != ref.sha256:
            raise DataLoss("DIGEST_MISMATCH", "a blob is not what was stored", metadata={"expected": ref.sha256})
        return content


def _ref_of(path: Path) -> BlobRef:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return BlobRef(sha256=digest, size_bytes=file.tell())


def _messages(path: Path, ref: BlobRef) -> Iterator[UploadBlobRequest]:
    yield UploadBlobRequest(ref=ref)
    with path.open("rb") as file:
        while content := file.read(CHUNK_BYTES):
            yield UploadBlobRequest(content=content)
