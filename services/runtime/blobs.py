"""Blobs of the event store, from the side of a service that puts and gets them."""

import hashlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path

import grpc

from milepost.blob.v1.blob_service_pb2 import (
    BlobRef,
    DownloadBlobRequest,
    FindMissingBlobsRequest,
    HoldBlobsRequest,
    UploadBlobRequest,
)
from milepost.blob.v1.blob_service_pb2_grpc import BlobServiceStub

CHUNK_BYTES = 256 * 1024
# How long one blob may take to travel on a local network, seconds.
TRANSFER_TIMEOUT_S = 120.0
_SMALL_TIMEOUT_S = 10.0


@dataclass(eq=False)
class BlobMissing(Exception):
    """The store has no blob of this digest."""

    sha256: str


@dataclass(eq=False)
class BlobCorrupt(Exception):
    """What arrived does not have the digest it was asked for by."""

    sha256: str


class Blobs:
    """Puts and gets; gRPC errors other than a missing blob are raised as they are."""

    def __init__(self, stub: BlobServiceStub) -> None:
        self._stub = stub

    async def missing(self, digests: Iterable[str]) -> set[str]:
        """Those of `digests` the store does not have; the others are kept for another day."""
        request = FindMissingBlobsRequest(sha256=sorted(set(digests)))
        return set((await self._stub.FindMissingBlobs(request, timeout=_SMALL_TIMEOUT_S)).sha256)

    async def hold(self, holder: str, digests: Iterable[str]) -> set[str]:
        """Keep these, and nothing else, for a holder; returns those the store does not have: then nothing changed."""
        request = HoldBlobsRequest(holder=holder, sha256=sorted(set(digests)))
        return set((await self._stub.HoldBlobs(request, timeout=_SMALL_TIMEOUT_S)).missing)

    async def put_bytes(self, content: bytes, *, sha256: str = "") -> str:
        """Store `content`; returns its digest, which need not be computed where it is known."""
        digest = sha256 or hashlib.sha256(content).hexdigest()

        async def parts() -> AsyncIterator[UploadBlobRequest]:
            yield UploadBlobRequest(ref=BlobRef(sha256=digest, size_bytes=len(content)))
            for start in range(0, len(content), CHUNK_BYTES):
                yield UploadBlobRequest(content=content[start : start + CHUNK_BYTES])

        await self._stub.UploadBlob(parts(), timeout=TRANSFER_TIMEOUT_S)
        return digest

    async def put_file(self, path: Path, *, sha256: str, size_bytes: int) -> None:
        """Store the first `size_bytes` of a file, whose digest is known."""

        async def parts() -> AsyncIterator[UploadBlobRequest]:
            yield UploadBlobRequest(ref=BlobRef(sha256=sha256, size_bytes=size_bytes))
            left = size_bytes
            with path.open("rb") as file:
                while left and (chunk := file.read(min(CHUNK_BYTES, left))):
                    left -= len(chunk)
                    yield UploadBlobRequest(content=chunk)

        await self._stub.UploadBlob(parts(), timeout=TRANSFER_TIMEOUT_S)

    async def get_bytes(self, sha256: str, *, limit_bytes: int) -> bytes:
        """A small blob whole. Raises BlobMissing, BlobCorrupt (also when larger than the limit)."""
        content = bytearray()
        async for chunk in self._chunks(sha256):
            content += chunk
            if len(content) > limit_bytes:
                raise BlobCorrupt(sha256)
        if hashlib.sha256(content).hexdigest() != sha256:
            raise BlobCorrupt(sha256)
        return bytes(content)

    async def get_file(self, sha256: str, path: Path) -> None:
        """A blob into a new file. Raises BlobMissing, BlobCorrupt; the file is gone then."""
        digest = hashlib.sha256()
        try:
            with path.open("xb") as file:
                async for chunk in self._chunks(sha256):
                    digest.update(chunk)
                    file.write(chunk)
            if digest.hexdigest() != sha256:
                raise BlobCorrupt(sha256)
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    async def _chunks(self, sha256: str) -> AsyncIterator[bytes]:
        try:
            async for part in self._stub.DownloadBlob(DownloadBlobRequest(sha256=sha256), timeout=TRANSFER_TIMEOUT_S):
                yield part.content
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                raise BlobMissing(sha256) from error
            if error.code() is grpc.StatusCode.DATA_LOSS:
                raise BlobCorrupt(sha256) from error
            raise


def digest_of_file(path: Path, *, limit_bytes: int) -> tuple[str, int]:
    """SHA-256 and size of the first `limit_bytes` of a file."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while size < limit_bytes and (chunk := file.read(min(CHUNK_BYTES, limit_bytes - size))):
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size
