"""Blobs by their digest: compressed bytes in an object store (a local folder by default); leases in SQL."""

import asyncio
import contextlib
import hashlib
import sys
import tempfile
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, cast
from urllib.parse import unquote, urlparse

import obstore
import zstandard
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, ObjectStore, from_url
from sqlalchemy import and_, delete, insert, not_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from event_store.gateways.blob_grants import forget, grant, granted
from event_store.gateways.event_rows import KEYS_PER_QUERY, portions
from event_store.gateways.keeping_tables import manifest_files
from event_store.gateways.tables import blobs

ObjectStoreError = BaseError
"""Anything that went wrong between us and the object store."""

# How long a blob is kept that nothing durable names (log.md R16).
LEASE = timedelta(hours=24)
_READ_BYTES = 256 * 1024
# What is compressed at once; more is left to a thread.
_AT_ONCE_BYTES = 64 * 1024
# Blobs erased in one transaction, which holds up other writers.
ERASED_AT_ONCE = 50


@dataclass(eq=False)
class BlobDamaged(Exception):
    """What is stored under this digest is not what was stored."""

    sha256: str


@dataclass(eq=False)
class WrongContent(Exception):
    """The bytes are not those that were announced."""

    expected: str
    actual: str


@dataclass(frozen=True, slots=True)
class SizedBlob:
    """A blob and the size of its content, before compression."""

    sha256: str
    size_bytes: int


class BlobFolder:
    """Stores and reads blobs."""

    def __init__(self, url: str, engine: AsyncEngine, writing: asyncio.Lock, lease: timedelta = LEASE) -> None:
        """`writing` is taken by every writer of blobs; where the database has one writer at a time, by all."""
        self._lease = lease
        self._store = _open(url)
        self._engine = engine
        self._writing = writing

    async def known(self, tenant: str, digests: Collection[str], *, now: datetime) -> set[str]:
        """Those that a tenant has stored; their leases begin anew."""
        async with self._writing, self._engine.begin() as connection:
            mine = await granted(connection, tenant, list(digests))
            return await renewed(connection, mine, until=now + self._lease)

    async def has(self, tenant: str, sha256: str) -> bool:
        """Whether a tenant may read a blob, should it be stored."""
        async with self._engine.connect() as connection:
            return bool(await granted(connection, tenant, [sha256]))

    async def put(
        self, tenant: str, sha256: str, size_bytes: int, content: AsyncIterator[bytes], *, now: datetime
    ) -> None:
        """Store what arrives, for a tenant, once it proved to be what was announced; otherwise nothing.

        All of it has to arrive also where another tenant has stored it: whoever knows only a digest gets nothing.
        Raises WrongContent.
        """
        digest, size = hashlib.sha256(), 0
        # A file without a name: nothing is left of it, whatever ends this process.
        with tempfile.TemporaryFile() as temporary:
            compressor = zstandard.ZstdCompressor().compressobj()
            async for part in content:
                size += len(part)
                if size > size_bytes:
                    raise WrongContent(sha256, f"more than {size_bytes} bytes")
                digest.update(part)
                if len(part) > _AT_ONCE_BYTES:
                    temporary.write(await asyncio.to_thread(compressor.compress, part))
                else:
                    temporary.write(compressor.compress(part))
            temporary.write(compressor.flush())
            if size != size_bytes or digest.hexdigest() != sha256:
                raise WrongContent(sha256, f"{digest.hexdigest()} with {size} bytes")
            row = {"sha256": sha256, "size_bytes": size, "lease_until_us": microseconds(now + self._lease)}
            while not await self._given(tenant, sha256, now=now):
                # Appears under its name whole or not at all.
                temporary.seek(0)
                await obstore.put_async(self._store, _key(sha256), temporary)
                # Somebody may have stored the same content meanwhile: equal bytes under the same name.
                with contextlib.suppress(IntegrityError):
                    async with self._writing, self._engine.begin() as connection:
                        await connection.execute(insert(blobs).values(row))
                        await grant(connection, tenant, sha256)
                    return

    async def _given(self, tenant: str, sha256: str, *, now: datetime) -> bool:
        """Let a tenant have a blob, and its lease begin anew; False when there is none, a doomed one neither."""
        try:
            async with self._writing, self._engine.begin() as connection:
                there = select(blobs.c.sha256).where(blobs.c.sha256 == sha256)
                if (await connection.execute(there)).first() is None:
                    return False
                if await renewed(connection, [sha256], until=now + self._lease):
                    await grant(connection, tenant, sha256)
                    return True
        except IntegrityError:
            # Another replica stores the same for the same tenant; it is there now, or will be stored again.
            return sha256 in await self.known(tenant, [sha256], now=now)
        # What is doomed goes first: its bytes would be erased under the new row.
        await self.erase_doomed([sha256])
        return False

    async def erase_doomed(self, digests: Sequence[str]) -> int:
        """Erase the bytes and the rows of those that are doomed; returns how many. Killed in between, again."""
        erased = 0
        for some in portions(digests, ERASED_AT_ONCE):
            async with self._writing, self._engine.begin() as connection:
                mine = and_(blobs.c.sha256.in_(some), blobs.c.doomed)
                # Whoever has the rows erases the bytes; the others find no rows.
                rows = await connection.execute(select(blobs.c.sha256).where(mine).with_for_update())
                found = [row.sha256 for row in rows]
                if not found:
                    continue
                for sha256 in found:
                    with contextlib.suppress(FileNotFoundError, NotFoundError):
                        await obstore.delete_async(self._store, _key(sha256))
                await connection.execute(delete(manifest_files).where(manifest_files.c.manifest.in_(found)))
                await forget(connection, found)
                await connection.execute(delete(blobs).where(mine))
                erased += len(found)
        return erased

    async def doomed(self) -> list[SizedBlob]:
        """Those that a collection has doomed and not erased yet."""
        async with self._engine.connect() as connection:
            query = select(blobs.c.sha256, blobs.c.size_bytes).where(blobs.c.doomed)
            return [SizedBlob(*row) for row in await connection.execute(query)]

    async def get(self, sha256: str, *, offset: int, length: int) -> AsyncIterator[bytes]:
        """Content from `offset`, at most `length` bytes (0: to the end).

        Raises FileNotFoundError before the first, and BlobDamaged where what is stored cannot be unpacked.
        """
        packed = await asyncio.to_thread(obstore.open_reader, self._store, _key(sha256))
        # Unpacked a piece at a time: what compresses well must not unfold in memory.
        unpacked = zstandard.ZstdDecompressor().stream_reader(cast(IO[bytes], packed))
        skip, left = offset, length or sys.maxsize
        while left and (content := await asyncio.to_thread(_read, unpacked, sha256)):
            part = content[skip : skip + left]
            skip -= min(skip, len(content))
            left -= len(part)
            if part:
                yield part


def _read(unpacked: IO[bytes], sha256: str) -> bytes:
    try:
        return unpacked.read(_READ_BYTES)
    except zstandard.ZstdError as error:
        raise BlobDamaged(sha256) from error


def _open(url: str) -> ObjectStore:
    parsed = urlparse(url)
    if parsed.scheme == "file":
        folder = Path(unquote(parsed.path))
        # Parts that a killed process left: the store writes `<name>#<number>`, then renames.
        for part in folder.glob("??/*#*"):
            part.unlink()
        return LocalStore(folder, mkdir=True, automatic_cleanup=True)
    return from_url(url)


def _key(sha256: str) -> str:
    return f"{sha256[:2]}/{sha256}"


async def renewed(connection: AsyncConnection, digests: Sequence[str], *, until: datetime) -> set[str]:
    """Those of `digests` that are stored; their leases run `until`, which a collector's transaction meets."""
    found: set[str] = set()
    for some in portions(digests, KEYS_PER_QUERY):
        mine = and_(blobs.c.sha256.in_(some), not_(blobs.c.doomed))
        await connection.execute(update(blobs).where(mine).values(lease_until_us=microseconds(until)))
        found |= {row.sha256 for row in await connection.execute(select(blobs.c.sha256).where(mine))}
    return found


def microseconds(moment: datetime) -> int:
    """Since 1970, as the tables hold times."""
    return round(moment.timestamp() * 1_000_000)
