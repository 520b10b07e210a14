"""The end of a zip archive, looked at before `zipfile` reads the whole central directory into memory.

[entries ...][central directory][zip64 end, its locator 20 bytes]?[end of directory 22 bytes][comment <= 65535 bytes]
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

from scenario.limits import MAX_PATH_CHARS, UploadLimits
from scenario.model import Finding, ScenarioRejected

_END: Final = struct.Struct("<4s4H2LH")
_END_MAGIC: Final = b"PK\x05\x06"
_ZIP64_LOCATOR_MAGIC: Final = b"PK\x06\x07"
_ZIP64_LOCATOR_BYTES: Final = 20
_MAX_COMMENT_BYTES: Final = 0xFFFF
# An entry's fixed part, its path in UTF-8 and generous extra fields; folders have entries too, hence twice the files.
_ENTRY_BYTES: Final = 46 + 4 * MAX_PATH_CHARS + 1024


def check_directory(archive: Path, limits: UploadLimits) -> None:
    """Raises ScenarioRejected unless `archive` ends like a zip whose directory is of a size the limits allow."""
    size_bytes = archive.stat().st_size
    with archive.open("rb") as opened:
        opened.seek(max(0, size_bytes - _MAX_COMMENT_BYTES - _END.size - _ZIP64_LOCATOR_BYTES))
        tail = opened.read()
    at = tail.rfind(_END_MAGIC)
    if at < 0 or at + _END.size > len(tail):
        raise ScenarioRejected(Finding("archive-invalid", "the upload is no zip archive"))
    _, _, _, _, entries, directory_bytes, _, _ = _END.unpack_from(tail, at)
    if tail[max(0, at - _ZIP64_LOCATOR_BYTES) :].startswith(_ZIP64_LOCATOR_MAGIC):
        # Only archives beyond 4 GiB or 65,535 files need it, and those are beyond the limits.
        raise ScenarioRejected(Finding("archive-invalid", "zip64 archives are not taken"))
    if entries > 2 * limits.max_files or directory_bytes > 2 * limits.max_files * _ENTRY_BYTES:
        raise ScenarioRejected(Finding("too-many-files", f"more than {limits.max_files} files"))
