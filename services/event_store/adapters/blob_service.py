"""`milepost.blob.v1.BlobService` over the folder of blobs."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import grpc
from prometheus_client import Counter

from event_store.gateways.blob_folder import BlobDamaged, BlobFolder, WrongContent
from event_store.gateways.blob_keeping import BlobKeeping
from milepost.blob.v1 import blob_service_pb2 as pb
from milepost.blob.v1.blob_service_pb2_grpc import BlobServiceServicer
from milepost.errors.v1 import errors_pb2
from runtime.errors import CallRefused, FieldViolation
from runtime.identity import caller

_uploaded = Counter("milepost_blob_uploaded_bytes_total", "Content of blobs that were uploaded")
_downloaded = Counter("milepost_blob_downloaded_bytes_total", "Content of blobs that was sent")

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True)
class BlobServiceAdapter(BlobServiceServicer):
    """Translates; see the proto for what each call promises."""

    folder: BlobFolder
    keeping: BlobKeeping
    max_bytes: int
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    async def FindMissingBlobs(
        self, request: pb.FindMissingBlobsRequest, context: Context
    ) -> pb.FindMissingBlobsResponse:
        """See the proto."""
        known = await self.folder.known(caller().tenant, request.sha256, now=self.clock())
        return pb.FindMissingBlobsResponse(sha256=[digest for digest in request.sha256 if digest not in known])

    async def UploadBlob(
        self, request_iterator: AsyncIterator[pb.UploadBlobRequest], context: Context
    ) -> pb.UploadBlobResponse:
        """See the proto."""
        requests = aiter(request_iterator)
        first = await anext(requests, None)
        if first is None or not first.HasField("ref"):
            raise _invalid("ref", "must be the first message of an upload")
        ref = first.ref
        if ref.size_bytes > self.max_bytes:
            raise CallRefused(
                errors_pb2.ERROR_REASON_BLOB_TOO_LARGE,
                f"a blob has at most {self.max_bytes} bytes",
                metadata={"limit_bytes": str(self.max_bytes)},
            )
        tenant = caller().tenant
        if await self.folder.known(tenant, [ref.sha256], now=self.clock()):
            return pb.UploadBlobResponse(already_stored=True)
        try:
            await self.folder.put(tenant, ref.sha256, ref.size_bytes, _contents(requests), now=self.clock())
        except WrongContent as error:
            raise CallRefused(
                errors_pb2.ERROR_REASON_DIGEST_MISMATCH,
                f"announced {error.expected} with {ref.size_bytes} bytes, got {error.actual}",
                metadata={"expected": error.expected, "actual": error.actual},
            ) from error
        _uploaded.inc(ref.size_bytes)
        return pb.UploadBlobResponse()

    async def DownloadBlob(
        self, request: pb.DownloadBlobRequest, context: Context
    ) -> AsyncIterator[pb.DownloadBlobResponse]:
        """See the proto."""
        if not await self.folder.has(caller().tenant, request.sha256):
            raise _no_blob(request.sha256)
        try:
            async for part in self.folder.get(request.sha256, offset=request.offset, length=request.length):
                _downloaded.inc(len(part))
                yield pb.DownloadBlobResponse(content=part)
        except FileNotFoundError as error:
            raise _no_blob(request.sha256) from error
        except BlobDamaged as error:
            raise CallRefused(
                errors_pb2.ERROR_REASON_BLOB_CORRUPT,
                f"blob {request.sha256} is damaged",
                metadata={"sha256": request.sha256},
            ) from error

    async def HoldBlobs(self, request: pb.HoldBlobsRequest, context: Context) -> pb.HoldBlobsResponse:
        """See the proto."""
        missing = await self.keeping.hold(caller().tenant, request.holder, request.sha256, now=self.clock())
        return pb.HoldBlobsResponse(missing=sorted(missing))


async def _contents(requests: AsyncIterator[pb.UploadBlobRequest]) -> AsyncIterator[bytes]:
    async for request in requests:
        if not request.HasField("content"):
            raise _invalid("content", "must follow the reference; a second reference came")
        yield request.content


def _no_blob(sha256: str) -> CallRefused:
    return CallRefused(errors_pb2.ERROR_REASON_BLOB_NOT_FOUND, f"no blob {sha256}", metadata={"sha256": sha256})


def _invalid(name: str, description: str) -> CallRefused:
    return CallRefused(
        errors_pb2.ERROR_REASON_FIELD_INVALID,
        f"{name}: {description}",
        violations=[FieldViolation(name, description)],
    )
