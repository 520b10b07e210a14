"""A scenario as files arrive: paths judged, archives unpacked within limits, directories hashed, the config found.

Nothing declared by an archive is believed: sizes and ratios are counted while inflating. A refusal leaves nothing.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import IO, Final

from scenario.limits import (
    MAX_PATH_CHARS,
    MAX_PATH_SEGMENTS,
    MAX_SEGMENT_BYTES,
    MIB,
    RATIO_FREE_BYTES,
    UploadLimits,
)
from scenario.model import Finding, ScenarioFile, ScenarioRejected, ScenarioTooLarge
from scenario.zip_directory import check_directory

CONFIG_SUFFIX: Final = ".sumocfg"
_CHUNK_BYTES: Final = MIB
_DRIVE: Final = re.compile(r"[A-Za-z]:")
_ENCRYPTED_FLAG: Final = 0x1
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def check_path(path: str) -> Finding | None:
    """What is wrong with `path` as the path of a scenario's file; None when nothing is."""
    segments = path.split("/")
    if not path or len(path) > MAX_PATH_CHARS or len(segments) > MAX_PATH_SEGMENTS:
        wrong = f"is empty, longer than {MAX_PATH_CHARS} characters or deeper than {MAX_PATH_SEGMENTS} folders"
    elif path.startswith("/") or _DRIVE.match(path) or ".." in segments:
        return Finding("path-escapes", "the path leaves the scenario", path)
    elif "\\" in path or any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} for char in path):
        wrong = "holds a backslash, a control character or no valid Unicode"
    elif "" in segments or "." in segments:
        wrong = "has an empty or '.' segment"
    elif any(len(segment.encode()) > MAX_SEGMENT_BYTES for segment in segments):
        wrong = f"has a segment of more than {MAX_SEGMENT_BYTES} bytes"
    else:
        return None
    return Finding(
        "path-invalid", f"the path {wrong}", path.encode("utf-8", "backslashreplace").decode()[:MAX_PATH_CHARS]
    )


def holds(root: Path, path: str) -> bool:
    """Whether `path` is a valid path of a scenario and a file in `root`."""
    return check_path(path) is None and (root / path).is_file()


def check_paths(paths: Iterable[str], limits: UploadLimits) -> None:
    """Raises ScenarioRejected unless all are valid, unique on every file system, and no file is another's folder."""
    by_folded: dict[str, str] = {}
    folders: set[str] = set()
    findings: list[Finding] = []
    for count, path in enumerate(paths, start=1):
        if count > limits.max_files:
            raise ScenarioRejected(Finding("too-many-files", f"more than {limits.max_files} files"))
        wrong = check_path(path)
        if wrong is not None:
            findings.append(wrong)
            continue
        folded = _folded(path)
        if folded in by_folded:
            other = by_folded[folded]
            what = "occurs twice" if other == path else f"differs from '{other}' only in case or accents' form"
            findings.append(Finding("path-duplicate", f"the path {what}", path))
        by_folded[folded] = path
        folders.update(_folded(str(folder)) for folder in PurePosixPath(path).parents)
    findings += [
        Finding("path-duplicate", "the path is a file and a folder", by_folded[folded])
        for folded in sorted(by_folded.keys() & folders)
    ]
    if findings:
        raise ScenarioRejected(*findings)


def find_config(paths: Iterable[str], asked: str) -> str:
    """The .sumocfg to run: `asked`, or the only one there is. Raises ScenarioRejected."""
    known = sorted(paths)
    if asked:
        if asked in known:
            return asked
        raise ScenarioRejected(Finding("config-missing", f"there is no file '{asked}'", asked))
    # Archives made on a Mac hold a hidden `._name` beside each file.
    found = [path for path in known if path.endswith(CONFIG_SUFFIX) and not PurePosixPath(path).name.startswith(".")]
    if len(found) == 1:
        return found[0]
    if not found:
        raise ScenarioRejected(Finding("config-missing", f"no file ends with {CONFIG_SUFFIX}"))
    names = ", ".join(found[:5])
    raise ScenarioRejected(Finding("config-ambiguous", f"say which of the {len(found)} configurations to run: {names}"))


def scan_directory(root: Path, limits: UploadLimits) -> tuple[ScenarioFile, ...]:
    """Hashes what lies in `root`, sorted by path. Raises ScenarioRejected (links, special files), ScenarioTooLarge."""
    found: dict[str, Path] = {}
    for folder, folder_names, file_names in os.walk(root):
        for name in folder_names + file_names:
            place = Path(folder, name)
            mode = place.lstat().st_mode
            if stat.S_ISREG(mode):
                found[place.relative_to(root).as_posix()] = place
            elif not stat.S_ISDIR(mode):
                path = place.relative_to(root).as_posix()
                raise ScenarioRejected(Finding("file-special", "the entry is a link or no regular file", path))
        if len(found) > limits.max_files:
            raise ScenarioRejected(Finding("too-many-files", f"more than {limits.max_files} files"))
    check_paths(found, limits)
    files: list[ScenarioFile] = []
    budget = _Budget(limits)
    for path in sorted(found, key=str.encode):
        with found[path].open("rb") as source:
            files.append(_copy(source, None, path, budget))
    return tuple(files)


def unpack_zip(archive: Path, into: Path, limits: UploadLimits) -> tuple[ScenarioFile, ...]:
    """Unpacks `archive` into the directory `into`, which must not exist yet; the files, sorted by path.

    Raises ScenarioRejected or ScenarioTooLarge, and then `into` is gone again.
    """
    into.mkdir(parents=True)
    try:
        check_directory(archive, limits)
        with zipfile.ZipFile(archive) as opened:
            return _extract(opened, archive.stat().st_size, into, limits)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeDecodeError) as error:
        shutil.rmtree(into)
        raise ScenarioRejected(Finding("archive-invalid", f"the archive cannot be read: {error}")) from error
    except BaseException:
        shutil.rmtree(into)
        raise


class _Budget:
    """Bytes written so far, against the limits."""

    def __init__(self, limits: UploadLimits, *, archive_bytes: int | None = None) -> None:
        self._limits = limits
        self._total_bytes = 0
        self._inflated_limit = (
            max(RATIO_FREE_BYTES, archive_bytes * limits.max_inflate_ratio) if archive_bytes is not None else None
        )

    def add(self, count: int, *, file_bytes: int, path: str) -> None:
        """Counts `count` bytes more of the file that now has `file_bytes`."""
        self._total_bytes += count
        if file_bytes > self._limits.max_file_bytes:
            raise ScenarioTooLarge(limit_bytes=self._limits.max_file_bytes, file=path)
        if self._total_bytes > self._limits.max_total_bytes:
            raise ScenarioTooLarge(limit_bytes=self._limits.max_total_bytes)
        if self._inflated_limit is not None and self._total_bytes > self._inflated_limit:
            message = f"inflates to more than {self._limits.max_inflate_ratio} times the size of the archive"
            raise ScenarioRejected(Finding("archive-ratio", message, path))


def _extract(opened: zipfile.ZipFile, archive_bytes: int, into: Path, limits: UploadLimits) -> tuple[ScenarioFile, ...]:
    members = [member for member in opened.infolist() if _check_member(member)]
    check_paths((member.orig_filename for member in members), limits)
    budget = _Budget(limits, archive_bytes=archive_bytes)
    files: list[ScenarioFile] = []
    for member in sorted(members, key=lambda member: member.orig_filename.encode()):
        target = into / member.orig_filename
        target.parent.mkdir(parents=True, exist_ok=True)
        with opened.open(member) as source, target.open("xb") as sink:
            files.append(_copy(source, sink, member.orig_filename, budget))
    return tuple(files)


def _check_member(member: zipfile.ZipInfo) -> bool:
    """Whether it is a file; a folder is not. Raises ScenarioRejected for all else."""
    # orig_filename: zipfile cuts `filename` at a NUL, which would hide what the entry is called.
    path, mode = member.orig_filename, member.external_attr >> 16
    if stat.S_IFMT(mode) not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise ScenarioRejected(Finding("file-special", "the entry is a link or no regular file", path))
    if member.flag_bits & _ENCRYPTED_FLAG:
        raise ScenarioRejected(Finding("archive-encrypted", "the entry is encrypted", path))
    if member.compress_type not in _METHODS:
        raise ScenarioRejected(Finding("archive-invalid", "the entry is neither stored nor deflated", path))
    if member.header_offset < 0:
        # Of a directory that lies about where it stands: reading there is an error of the system.
        raise ScenarioRejected(Finding("archive-invalid", "the entry is said to begin before the archive", path))
    if not path.endswith("/"):
        return True
    wrong = check_path(path[:-1])
    if wrong is not None:
        raise ScenarioRejected(wrong)
    return False


def _copy(source: IO[bytes], sink: IO[bytes] | None, path: str, budget: _Budget) -> ScenarioFile:
    """Hashes `source` and, where there is one, writes it to `sink`."""
    digest, size_bytes = hashlib.sha256(), 0
    while chunk := source.read(_CHUNK_BYTES):
        size_bytes += len(chunk)
        budget.add(len(chunk), file_bytes=size_bytes, path=path)
        digest.update(chunk)
        if sink is not None:
            sink.write(chunk)
    return ScenarioFile(path, digest.hexdigest(), size_bytes)


def _folded(path: str) -> str:
    """What a file system that ignores case and the form of accents takes the path for."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKC", path).casefold())
