"""Receive an upload into a directory: a zip archive, or files one after the other.

header ─► zip:       chunks of the archive        ─► unpacked, bounded while inflating
└► manifest:  chunks of file after file    ─► each kept as a blob as soon as it is whole, so that an
(those already kept left out)    upload that broke off goes on where it stood
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from milepost.errors.v1 import errors_pb2
from milepost.scenario.v1.scenario_service_pb2 import FileChunk, UploadHeader, UploadScenarioRequest
from runtime.blobs import BlobMissing, Blobs
from runtime.errors import CallRefused, FieldViolation
from scenario.bundle import check_paths, unpack_zip
from scenario.limits import UploadLimits
from scenario.model import ScenarioFile, ScenarioRejected, ScenarioTooLarge
from scenario.wire import file_from_proto
from session_api.application.store_scenario import refusal


@dataclass(frozen=True, slots=True)
class ReceiveUpload:
    """Writes what arrives below a directory."""

    blobs: Blobs
    limits: UploadLimits

    async def __call__(self, requests: AsyncIterator[UploadScenarioRequest], into: Path) -> UploadHeader:
        """Receive everything into `into/files`; returns the header.

        Raises CallRefused: FIELD_INVALID, SCENARIO_INVALID, SCENARIO_TOO_LARGE, DIGEST_MISMATCH.
        """
        first = await anext(aiter(requests), None)
        if first is None or not first.HasField("header"):
            raise _invalid("header", "must be the first message of an upload")
        files = into / "files"
        try:
            if first.header.HasField("zip"):
                archive = into / "upload.zip"
                await self._receive_zip(requests, archive)
                await asyncio.to_thread(unpack_zip, archive, files, self.limits)
            else:
                expected = [file_from_proto(file) for file in first.header.manifest.files]
                self._check_manifest(expected)
                files.mkdir()
                await _FileReceiver(self.blobs, files, expected).receive(requests)
        except (ScenarioRejected, ScenarioTooLarge) as error:
            raise refusal(error) from error
        return first.header

    async def _receive_zip(self, requests: AsyncIterator[UploadScenarioRequest], archive: Path) -> None:
        size = 0
        with archive.open("xb") as file:
            async for request in requests:
                chunk = _chunk(request)
                if chunk.path or chunk.offset != size:
                    raise _invalid("chunk", f"of a zip archive must have no path and begin at {size}")
                size += len(chunk.content)
                if size > self.limits.max_total_bytes:
                    raise ScenarioTooLarge(limit_bytes=self.limits.max_total_bytes)
                file.write(chunk.content)

    def _check_manifest(self, expected: list[ScenarioFile]) -> None:
        """Refuse by what is announced, before anything is received."""
        check_paths([file.path for file in expected], self.limits)
        for file in expected:
            if file.size_bytes > self.limits.max_file_bytes:
                raise ScenarioTooLarge(limit_bytes=self.limits.max_file_bytes, file=file.path)
        if sum(file.size_bytes for file in expected) > self.limits.max_total_bytes:
            raise ScenarioTooLarge(limit_bytes=self.limits.max_total_bytes)


@dataclass(slots=True)
class _FileReceiver:
    """Files of a manifest, one after the other."""

    blobs: Blobs
    root: Path
    expected: list[ScenarioFile]
    _received: set[str] = field(default_factory=set)

    async def receive(self, requests: AsyncIterator[UploadScenarioRequest]) -> None:
        by_path = {file.path: file for file in self.expected}
        current: ScenarioFile | None = None
        sink: BinaryIO | None = None
        offset = 0
        try:
            async for request in requests:
                chunk = _chunk(request)
                if current is None or chunk.path != current.path:
                    await self._finish(current, sink)
                    if chunk.path not in by_path or chunk.path in self._received:
                        raise _invalid("chunk.path", f"{chunk.path!r} is not a file of the manifest still to come")
                    current, offset = by_path[chunk.path], 0
                    sink = self._open(current.path)
                if chunk.offset != offset or offset + len(chunk.content) > current.size_bytes:
                    raise _invalid("chunk.offset", f"of {chunk.path!r} must be {offset}, within the announced size")
                offset += len(chunk.content)
                assert sink is not None
                sink.write(chunk.content)
            await self._finish(current, sink)
        finally:
            if sink is not None:
                sink.close()
        await self._fetch_kept()

    def _open(self, path: str) -> BinaryIO:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        return target.open("xb")

    async def _finish(self, file: ScenarioFile | None, sink: BinaryIO | None) -> None:
        if file is None or sink is None:
            return
        sink.close()
        target = self.root / file.path
        actual = hashlib.sha256(await asyncio.to_thread(target.read_bytes)).hexdigest()
        if actual != file.sha256:
            raise CallRefused(
                errors_pb2.ERROR_REASON_DIGEST_MISMATCH,
                f"{file.path} does not have the announced content",
                metadata={"file": file.path, "expected": file.sha256, "actual": actual},
            )
        await self.blobs.put_file(target, sha256=file.sha256, size_bytes=file.size_bytes)
        self._received.add(file.path)

    async def _fetch_kept(self) -> None:
        """Files left out of the stream, because the store has them."""
        for file in self.expected:
            if file.path in self._received:
                continue
            target = self.root / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                await self.blobs.get_file(file.sha256, target)
            except BlobMissing as error:
                raise _invalid("chunk", f"{file.path!r} was neither sent nor is it stored") from error


def _chunk(request: UploadScenarioRequest) -> FileChunk:
    if not request.HasField("chunk"):
        raise _invalid("chunk", "must follow the header; a second header came")
    return request.chunk


def _invalid(field_name: str, description: str) -> CallRefused:
    return CallRefused(
        errors_pb2.ERROR_REASON_FIELD_INVALID,
        f"{field_name}: {description}",
        violations=[FieldViolation(field_name, description)],
    )
