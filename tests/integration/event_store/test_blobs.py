"""BlobService: content by its digest, whole or not at all."""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from nats.js import JetStreamContext
from running_store import PATIENCE_S, Log, Store, lines, refusal, running_store

from broker import Broker
from milepost.blob.v1 import blob_service_pb2 as pb

pytestmark = pytest.mark.any_database

LIMIT_BYTES = 3_000_000
CONTENT = random.Random(1).randbytes(700_001)
# What compresses to next to nothing.
ZEROS = bytes(LIMIT_BYTES)


@pytest.fixture
async def store(broker: Broker, js: JetStreamContext, tmp_path: Path) -> AsyncIterator[Store]:
    async with running_store(tmp_path / "store", broker.url, blob_max_bytes=LIMIT_BYTES) as running:
        yield running


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def parts(content: bytes, *, sha256: str = "", size_bytes: int | None = None, step: int = 100_000) -> list:
    """The messages of an upload."""
    size = len(content) if size_bytes is None else size_bytes
    ref = pb.UploadBlobRequest(ref=pb.BlobRef(sha256=sha256 or digest(content), size_bytes=size))
    return [ref] + [pb.UploadBlobRequest(content=content[n : n + step]) for n in range(0, len(content), step)]


async def upload(store: Store, messages: list) -> pb.UploadBlobResponse:
    return await store.blobs.UploadBlob(iter(messages), timeout=PATIENCE_S)


async def refused(store: Store, messages: list) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await upload(store, messages)
    return refusal(raised.value)


async def download(store: Store, sha256: str, offset: int = 0, length: int = 0) -> list[bytes]:
    request = pb.DownloadBlobRequest(sha256=sha256, offset=offset, length=length)
    return [part.content async for part in store.blobs.DownloadBlob(request, timeout=PATIENCE_S)]


async def missing(store: Store, *digests: str) -> list[str]:
    return list((await store.blobs.FindMissingBlobs(pb.FindMissingBlobsRequest(sha256=digests))).sha256)


def files(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "store" / "blobs").rglob("*") if path.is_file())


def open_nameless_files() -> list[str]:
    """Files of this process that have no name any more."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except OSError:
            continue
        if target.endswith("(deleted)") and "blob" not in target:
            found.append(target)
    return found


@pytest.mark.parametrize("content", [b"", b"x", CONTENT, ZEROS], ids=["empty", "small", "random", "zeros"])
async def test_a_blob_comes_back_as_it_went(store: Store, content: bytes, tmp_path: Path) -> None:
    assert await missing(store, digest(content)) == [digest(content)]
    assert not (await upload(store, parts(content))).already_stored
    assert await missing(store, digest(content)) == []
    got = await download(store, digest(content))
    assert b"".join(got) == content
    assert all(len(part) <= 256 * 1024 for part in got)
    assert files(tmp_path) == [digest(content)]


@pytest.mark.parametrize(
    ("offset", "length"),
    [(0, 1), (1, 0), (262_143, 2), (262_144, 262_144), (700_000, 5), (700_001, 1), (10**9, 0), (300_000, 399_999)],
)
async def test_a_range_of_a_blob(store: Store, offset: int, length: int) -> None:
    await upload(store, parts(CONTENT))
    expected = CONTENT[offset : offset + length] if length else CONTENT[offset:]
    assert b"".join(await download(store, digest(CONTENT), offset, length)) == expected


async def test_what_is_stored_already_need_not_be_sent(store: Store) -> None:
    await upload(store, parts(CONTENT))
    assert (await upload(store, parts(CONTENT)[:1])).already_stored


async def test_only_missing_blobs_are_named_in_the_order_asked(store: Store) -> None:
    await upload(store, parts(b"known"))
    unknown = [digest(bytes([n])) for n in range(5)]
    assert await missing(store, *unknown[:3], digest(b"known"), *unknown[3:]) == unknown
    many = [digest(n.to_bytes(2, "big")) for n in range(5000)]
    assert await missing(store, *many) == many


async def test_wrong_content_leaves_nothing(store: Store, tmp_path: Path) -> None:
    wrong = digest(b"something else")
    expected = {"expected": wrong, "actual": f"{digest(CONTENT)} with {len(CONTENT)} bytes"}
    assert await refused(store, parts(CONTENT, sha256=wrong)) == (
        grpc.StatusCode.DATA_LOSS,
        "DIGEST_MISMATCH",
        expected,
    )
    for size_bytes in (0, len(CONTENT) - 1, len(CONTENT) + 1):
        assert (await refused(store, parts(CONTENT, size_bytes=size_bytes)))[1] == "DIGEST_MISMATCH"
    assert await missing(store, digest(CONTENT), wrong) == [digest(CONTENT), wrong]
    assert files(tmp_path) == []


async def test_a_blob_that_is_too_large_is_refused_before_it_is_sent(store: Store) -> None:
    messages = parts(b"", sha256=digest(b"x"), size_bytes=LIMIT_BYTES + 1)
    assert await refused(store, messages) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "BLOB_TOO_LARGE",
        {"limit_bytes": str(LIMIT_BYTES)},
    )


async def test_an_upload_that_is_none_is_refused(store: Store, tmp_path: Path) -> None:
    ref, content = parts(b"x")
    for messages in ([], [content], [ref, ref, content], [pb.UploadBlobRequest()], parts(b"x", sha256="../" * 21)):
        assert (await refused(store, messages))[:2] == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
    assert files(tmp_path) == []


async def test_a_blob_nobody_stored_is_not_found(store: Store) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await download(store, digest(b"nothing"))
    assert refusal(raised.value) == (grpc.StatusCode.NOT_FOUND, "BLOB_NOT_FOUND", {"sha256": digest(b"nothing")})


async def test_equal_uploads_at_once_are_one_blob(store: Store, tmp_path: Path) -> None:
    answers = await asyncio.gather(*(upload(store, parts(CONTENT)) for _ in range(8)))
    assert len(answers) == 8
    assert files(tmp_path) == [digest(CONTENT)]
    assert b"".join(await download(store, digest(CONTENT))) == CONTENT


async def test_an_upload_that_is_broken_off_leaves_nothing(store: Store, tmp_path: Path) -> None:
    before = open_nameless_files()
    call = store.blobs.UploadBlob()
    for message in parts(CONTENT)[:3]:
        await call.write(message)
    async with asyncio.timeout(PATIENCE_S):
        while open_nameless_files() == before:
            await asyncio.sleep(0.01)
        call.cancel()
        while open_nameless_files() != before:
            await asyncio.sleep(0.01)
    assert files(tmp_path) == []
    assert await missing(store, digest(CONTENT)) == [digest(CONTENT)]
    await upload(store, parts(CONTENT))
    assert b"".join(await download(store, digest(CONTENT))) == CONTENT


async def test_blobs_outlive_the_process_and_parts_of_a_killed_one_do_not(
    store: Store, js: JetStreamContext, broker: Broker, tmp_path: Path
) -> None:
    folder = tmp_path / "another"
    async with running_store(folder, broker.url) as first:
        await upload(first, parts(CONTENT))
    left = folder / "blobs" / digest(CONTENT)[:2] / f"{digest(b'x')}#1"
    left.write_bytes(b"half a blob")
    async with running_store(folder, broker.url) as second:
        assert not left.exists()
        assert await missing(second, digest(CONTENT)) == []
        assert b"".join(await download(second, digest(CONTENT))) == CONTENT


async def test_uploads_and_ingestion_write_beside_each_other(js: JetStreamContext, store: Store) -> None:
    log = Log(js, "s")

    async def append() -> None:
        for n in range(200):
            await log.append(*lines(f"{n}"))

    contents = [n.to_bytes(4, "big") * 100 for n in range(60)]
    await asyncio.gather(append(), *(upload(store, parts(content)) for content in contents))
    await store.stored(log)
    assert await missing(store, *(digest(content) for content in contents)) == []
