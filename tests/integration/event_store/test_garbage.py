"""Garbage: what nothing keeps is erased, and nothing else (log.md R16)."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.message import Message
from nats.js import JetStreamContext
from running_store import PATIENCE_S, Log, Store, ingestion_held_up, refusal, running_store
from sqlalchemy import delete, insert, select, update

from broker import Broker
from databases import url_of
from event_store.gateways.keeping_tables import blob_references, unnoted_logs
from event_store.gateways.tables import blobs, logs
from event_store.main import MIGRATIONS
from milepost.admin.v1 import admin_service_pb2 as admin
from milepost.blob.v1 import blob_service_pb2 as pb
from milepost.checkpoint.v1.checkpoint_pb2 import Checkpoint, StateFile
from milepost.event.v1.event_pb2 import (
    ArtifactStored,
    CheckpointCommitted,
    CheckpointDeleted,
    LogLine,
    RunOpened,
    SessionCreated,
    SessionUpdated,
)
from milepost.scenario.v1.scenario_pb2 import Scene
from milepost.session.v1.session_pb2 import Artifact, ForkOrigin
from runtime.database import open_database
from scenario.model import Manifest, ScenarioFile
from session_log.codec import record


@pytest.fixture
async def store(broker: Broker, js: JetStreamContext, tmp_path: Path) -> AsyncIterator[Store]:
    """One that gives no lease: what nothing names may go at once."""
    async with running_store(tmp_path / "store", broker.url, blob_lease_s=0.0) as running:
        yield running


async def put(store: Store, content: bytes) -> str:
    sha256 = hashlib.sha256(content).hexdigest()
    ref = pb.UploadBlobRequest(ref=pb.BlobRef(sha256=sha256, size_bytes=len(content)))
    await store.blobs.UploadBlob(iter([ref, pb.UploadBlobRequest(content=content)]), timeout=PATIENCE_S)
    return sha256


async def put_scenario(store: Store, **files: bytes) -> tuple[str, set[str]]:
    """Its digest, and all its blobs."""
    named = tuple([ScenarioFile(name, await put(store, content), len(content)) for name, content in files.items()])
    manifest = Manifest(named[0].path, named)
    digest = await put(store, manifest.text().encode())
    return digest, {digest, *(file.sha256 for file in named)}


async def stored(store: Store, *digests: str) -> set[str]:
    """Those of `digests` that the store has."""
    missing = await store.blobs.FindMissingBlobs(pb.FindMissingBlobsRequest(sha256=digests), timeout=PATIENCE_S)
    return set(digests) - set(missing.sha256)


async def clean_up(store: Store, *, dry_run: bool = False) -> admin.CleanUpResponse:
    return await store.admin.CleanUp(admin.CleanUpRequest(dry_run=dry_run), timeout=PATIENCE_S)


async def cleaned_up(store: Store) -> admin.CleanUpResponse:
    """Clean up as soon as it is possible."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                return await clean_up(store)
            except grpc.aio.AioRpcError as error:
                if refusal(error)[1] != "NOT_NOW":
                    raise


async def append(log: Log, *payloads: Message) -> None:
    await log.append(*(record(payload) for payload in payloads))


async def hold(store: Store, holder: str, *digests: str) -> list[str]:
    request = pb.HoldBlobsRequest(holder=holder, sha256=digests)
    return list((await store.blobs.HoldBlobs(request, timeout=PATIENCE_S)).missing)


def files(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "store" / "blobs").rglob("*") if path.is_file()}


async def test_what_nothing_names_goes_and_a_dry_run_only_says_so(store: Store, tmp_path: Path) -> None:
    a, b = await put(store, b"a" * 10), await put(store, b"b" * 20)
    said = await clean_up(store, dry_run=True)
    assert (said.erased_blobs, said.erased_bytes) == (2, 30)
    assert await stored(store, a, b) == {a, b} == files(tmp_path)
    assert await clean_up(store) == said
    assert await stored(store, a, b) == set() == files(tmp_path)
    assert (await clean_up(store)).erased_blobs == 0


async def test_a_lease_keeps_what_nothing_names(broker: Broker, js: JetStreamContext, tmp_path: Path) -> None:
    async with running_store(tmp_path / "store", broker.url) as store:
        a = await put(store, b"a")
        assert (await clean_up(store)).erased_blobs == 0
        assert await stored(store, a) == {a}


@pytest.mark.parametrize("collected_between", [False, True])
async def test_what_a_log_names_stays(js: JetStreamContext, store: Store, *, collected_between: bool) -> None:
    log = Log(js, "s")
    scenario, first = await put_scenario(store, a=b"net", b=b"routes")
    later, second = await put_scenario(store, a=b"net", b=b"other routes")
    past, origin_state, state, artifact, lost = [await put(store, bytes([n]) * 99) for n in range(5)]
    origin = ForkOrigin(past_sha256=past, state_sha256=origin_state)
    await append(log, SessionCreated(scene=Scene(scenario_digest=scenario), forked_from=origin))
    made = Checkpoint(checkpoint_id="c", state_file=StateFile(sha256=state))
    await append(log, CheckpointCommitted(checkpoint=made), SessionUpdated(scene=Scene(scenario_digest=later)))
    await append(log, ArtifactStored(artifact=Artifact(name="sumo.log", sha256=artifact)))
    await store.stored(log)
    assert (await clean_up(store)).erased_blobs == 1
    kept = {*first, *second, past, origin_state, state, artifact}
    assert await stored(store, *kept, lost) == kept
    # A checkpoint that is gone keeps nothing; one of the same file in another log does.
    other = Log(js, "other")
    if collected_between:
        await append(other, CheckpointCommitted(checkpoint=made))
        await store.stored(other)
    await append(log, CheckpointDeleted(checkpoint_id="c"))
    await store.stored(log)
    assert (await clean_up(store)).erased_blobs == (0 if collected_between else 1)
    assert (state in await stored(store, state)) is collected_between


async def test_a_reference_that_is_made_and_dropped_in_one_batch_keeps_nothing(
    js: JetStreamContext, store: Store
) -> None:
    log = Log(js, "s")
    gone, kept = await put(store, b"gone"), await put(store, b"kept")
    checkpoints = [
        Checkpoint(checkpoint_id=name, state_file=StateFile(sha256=blob)) for name, blob in (("a", gone), ("b", kept))
    ]
    made = [CheckpointCommitted(checkpoint=checkpoint) for checkpoint in checkpoints]
    await append(log, *made, CheckpointDeleted(checkpoint_id="a"), RunOpened(run=2))
    await store.stored(log)
    await clean_up(store)
    assert await stored(store, gone, kept) == {kept}


async def test_what_is_held_stays_until_it_is_let_go(store: Store) -> None:
    a, b, c = [await put(store, text) for text in (b"a", b"b", b"c")]
    absent = hashlib.sha256(b"absent").hexdigest()
    assert await hold(store, "one", a, b) == []
    assert await hold(store, "two", b) == []
    # All or nothing: what was held before is still held.
    assert await hold(store, "one", c, absent) == [absent]
    await clean_up(store)
    assert await stored(store, a, b, c) == {a, b}
    assert await hold(store, "one") == []
    await clean_up(store)
    assert await stored(store, a, b) == {b}


async def test_a_manifest_that_is_lost_keeps_nobody_from_collecting(js: JetStreamContext, store: Store) -> None:
    log = Log(js, "s")
    await append(log, SessionCreated(scene=Scene(scenario_digest=hashlib.sha256(b"lost").hexdigest())))
    await store.stored(log)
    a = await put(store, b"a")
    assert (await clean_up(store)).erased_blobs == 1
    assert await stored(store, a) == set()


async def test_nothing_is_collected_while_the_bytes_of_a_manifest_are_away(
    js: JetStreamContext, store: Store, tmp_path: Path
) -> None:
    """As when the folder of blobs is not mounted: what the manifest names must not look like garbage."""
    log = Log(js, "s")
    scenario, named = await put_scenario(store, a=b"net")
    await append(log, SessionCreated(scene=Scene(scenario_digest=scenario)))
    await store.stored(log)
    folder, away = tmp_path / "store" / "blobs", tmp_path / "away"
    folder.rename(away)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await clean_up(store)
    assert refusal(raised.value)[1] == "NOT_NOW"
    away.rename(folder)
    assert (await clean_up(store)).erased_blobs == 0
    assert await stored(store, *named) == named


async def test_uploads_while_garbage_is_collected_end_whole_or_not_at_all(store: Store, tmp_path: Path) -> None:
    contents = [bytes([n]) * 1000 for n in range(4)]
    stop = asyncio.Event()

    async def collect() -> None:
        while not stop.is_set():
            await clean_up(store)

    async def upload() -> None:
        for _ in range(4):
            for content in contents:
                await put(store, content)

    collecting = asyncio.create_task(collect())
    await asyncio.gather(upload(), upload(), upload())
    stop.set()
    await collecting
    digests = {await put(store, content): content for content in contents}
    assert await stored(store, *digests) == set(digests) == files(tmp_path)
    for sha256, content in digests.items():
        parts = store.blobs.DownloadBlob(pb.DownloadBlobRequest(sha256=sha256), timeout=PATIENCE_S)
        assert b"".join([part.content async for part in parts]) == content


async def test_a_collector_that_was_killed_leaves_nothing_half_deleted(
    broker: Broker, js: JetStreamContext, tmp_path: Path
) -> None:
    """It had doomed two blobs, and erased the bytes of one: both are missing, and stored anew as if never there."""
    async with running_store(tmp_path / "store", broker.url) as store:
        a, b = await put(store, b"a"), await put(store, b"b")
    url = url_of(tmp_path / "store" / "events.db")
    async with open_database(url, migrations=MIGRATIONS) as engine, engine.begin() as connection:
        await connection.execute(update(blobs).values(doomed=True, lease_until_us=0))
    (tmp_path / "store" / "blobs" / b[:2] / b).unlink()
    async with running_store(tmp_path / "store", broker.url) as store:
        assert await stored(store, a, b) == set()
        assert await hold(store, "one", a) == [a]
        assert await put(store, b"a") == a
        await clean_up(store)
        assert await stored(store, a, b) == {a}
        assert files(tmp_path) == {a}


async def test_nothing_is_collected_while_the_store_is_behind_the_broker(
    broker: Broker, js: JetStreamContext, store: Store, tmp_path: Path
) -> None:
    """What is on the broker and not stored yet may name any blob."""
    a = await put(store, b"a")
    log = Log(js, "s")
    async with ingestion_held_up(tmp_path / "store") as release:
        await append(log, ArtifactStored(artifact=Artifact(name="x", sha256=a)))
        cleaning = asyncio.create_task(clean_up(store))
        await asyncio.wait({cleaning}, timeout=0.3)
        assert not cleaning.done()
        release()
        assert (await cleaning).erased_blobs == 0
    assert await stored(store, a) == {a}


async def test_what_logs_of_the_release_before_name_is_noted_before_anything_is_collected(
    broker: Broker, js: JetStreamContext, tmp_path: Path
) -> None:
    async with running_store(tmp_path / "store", broker.url) as store:
        named, lost = await put(store, b"named"), await put(store, b"lost")
        log = Log(js, "s")
        await append(log, ArtifactStored(artifact=Artifact(name="x", sha256=named)), LogLine(text="a"))
        await store.stored(log)
    url = url_of(tmp_path / "store" / "events.db")
    async with open_database(url, migrations=MIGRATIONS) as engine, engine.begin() as connection:
        await connection.execute(delete(blob_references))
        await connection.execute(insert(unnoted_logs).from_select(["log_key"], select(logs.c.log_key)))
        await connection.execute(update(blobs).values(lease_until_us=0))
    async with running_store(tmp_path / "store", broker.url) as store:
        assert (await cleaned_up(store)).erased_blobs == 1
        assert await stored(store, named, lost) == {named}
