"""Zip archives: unpacked within limits or refused, and a refusal leaves nothing."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from scenario.bundle import unpack_zip
from scenario.limits import MIB, UploadLimits
from scenario.model import ScenarioRejected, ScenarioTooLarge

Build = Callable[[zipfile.ZipFile], None]


@pytest.fixture
def archive(tmp_path: Path) -> Callable[[Build], Path]:
    def build(write: Build) -> Path:
        path = tmp_path / "upload.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
            opened.writestr("run.sumocfg", "<configuration/>")
            write(opened)
        return path

    return build


def refuse(archive: Path, limits: UploadLimits | None = None) -> tuple[str, str]:
    """Rule and file of the refusal, once it is certain that nothing is left."""
    into = archive.parent / "unpacked"
    with pytest.raises(ScenarioRejected) as refused:
        unpack_zip(archive, into, limits or UploadLimits())
    assert sorted(archive.parent.iterdir()) == [archive]
    return refused.value.findings[0].rule, refused.value.findings[0].file


def special(name: str, mode: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.create_system = 3
    entry.external_attr = mode << 16
    return entry


def test_files_come_out_as_they_went_in(archive: Callable[[Build], Path]) -> None:
    path = archive(lambda opened: (opened.mkdir("town"), opened.writestr("town/net.xml", "<net/>"))[-1])

    files = unpack_zip(path, path.parent / "unpacked", UploadLimits())

    assert [(file.path, file.size_bytes) for file in files] == [("run.sumocfg", 16), ("town/net.xml", 6)]
    assert (path.parent / "unpacked/town/net.xml").read_text() == "<net/>"


@pytest.mark.parametrize("name", ["../evil.xml", "a/../../evil.xml", "/tmp/evil.xml", "C:/evil.xml", "../", "/tmp/"])
def test_a_path_that_leaves_is_refused(archive: Callable[[Build], Path], name: str) -> None:
    path = archive(lambda opened: opened.writestr(name, "x"))

    assert refuse(path) == ("path-escapes", name.rstrip("/") if name != "/tmp/" else "/tmp")
    assert not Path("/tmp/evil.xml").exists()


def test_a_backslash_is_refused(archive: Callable[[Build], Path]) -> None:
    assert refuse(archive(lambda opened: opened.writestr("..\\evil.xml", "x")))[0] == "path-invalid"


def test_a_name_cut_off_at_a_nul_is_refused(archive: Callable[[Build], Path]) -> None:
    path = archive(lambda opened: opened.writestr("good.xml?/../../evil", "x"))
    path.write_bytes(path.read_bytes().replace(b"good.xml?/../../evil", b"good.xml\x00/../../evil"))

    assert refuse(path)[0] in {"path-escapes", "archive-invalid"}


@pytest.mark.parametrize("mode", [stat.S_IFLNK | 0o777, stat.S_IFIFO | 0o600, stat.S_IFCHR | 0o600, stat.S_IFSOCK])
def test_links_and_special_files_are_refused(archive: Callable[[Build], Path], mode: int) -> None:
    path = archive(lambda opened: opened.writestr(special("net.xml", mode), "/etc/passwd"))

    assert refuse(path) == ("file-special", "net.xml")


@pytest.mark.parametrize("name", ["run.sumocfg", "RUN.SUMOCFG", "run.sumocfg/net.xml"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_that_collide_are_refused(archive: Callable[[Build], Path], name: str) -> None:
    assert refuse(archive(lambda opened: opened.writestr(name, "other")))[0] == "path-duplicate"


def test_an_encrypted_entry_is_refused(archive: Callable[[Build], Path]) -> None:
    path = archive(lambda opened: opened.writestr("secret.xml", "x"))
    content = bytearray(path.read_bytes())
    central = content.rfind(b"PK\x01\x02")
    content[central + 8] |= 1
    path.write_bytes(content)

    assert refuse(path) == ("archive-encrypted", "secret.xml")


def test_an_unusual_compression_is_refused(archive: Callable[[Build], Path]) -> None:
    path = archive(lambda opened: opened.writestr("net.xml", "x" * 99, compress_type=zipfile.ZIP_LZMA))

    assert refuse(path) == ("archive-invalid", "net.xml")


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x05\x06", b"PK\x05\x06" + b"\xff" * 18])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "upload.zip"
    path.write_bytes(content)

    assert refuse(path)[0] in {"archive-invalid", "too-many-files"}


def test_a_damaged_entry_is_refused(archive: Callable[[Build], Path]) -> None:
    path = archive(lambda opened: opened.writestr("net.xml", b"damaged here", compress_type=zipfile.ZIP_STORED))
    path.write_bytes(path.read_bytes().replace(b"damaged here", b"damaged HERE"))

    assert refuse(path)[0] == "archive-invalid"


def test_more_files_than_the_limit_are_refused(archive: Callable[[Build], Path]) -> None:
    path = archive(lambda opened: [opened.writestr(f"{number}.xml", "") for number in range(3)][-1])

    assert refuse(path, UploadLimits(max_files=3))[0] == "too-many-files"


def test_a_huge_directory_is_refused_before_it_is_read(archive: Callable[[Build], Path]) -> None:
    path = archive(lambda opened: opened.writestr("net.xml", ""))
    content = bytearray(path.read_bytes())
    struct.pack_into("<2H", content, content.rfind(b"PK\x05\x06") + 8, 0xFFFF, 0xFFFF)
    path.write_bytes(content)

    assert refuse(path)[0] == "too-many-files"


def test_an_entry_before_the_archive_is_refused(archive: Callable[[Build], Path]) -> None:
    path = archive(lambda opened: opened.writestr("net.xml", "x"))
    content = bytearray(path.read_bytes())
    place = content.rfind(b"PK\x05\x06") + 16
    # The directory is said to stand further back than it does, so all entries move to the front.
    struct.pack_into("<L", content, place, struct.unpack_from("<L", content, place)[0] + 100)
    path.write_bytes(content)

    assert refuse(path) == ("archive-invalid", "run.sumocfg")


def test_zip64_is_refused(archive: Callable[[Build], Path]) -> None:
    path = archive(lambda opened: opened.writestr("net.xml", ""))
    content = path.read_bytes()
    end = content.rfind(b"PK\x05\x06")
    path.write_bytes(content[:end] + b"PK\x06\x07" + bytes(16) + content[end:])

    assert refuse(path) == ("archive-invalid", "")


def test_a_bomb_is_refused_by_what_comes_out_of_it(archive: Callable[[Build], Path]) -> None:
    path = archive(lambda opened: opened.writestr("bomb.xml", bytes(64 * MIB)))

    assert refuse(path) == ("archive-ratio", "bomb.xml")


def test_a_declared_size_is_not_believed(archive: Callable[[Build], Path]) -> None:
    path = archive(lambda opened: opened.writestr("bomb.xml", bytes(64 * MIB)))
    content = bytearray(path.read_bytes())
    for magic, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<L", content, content.rfind(magic) + offset, 10)
    path.write_bytes(content)

    assert refuse(path)[0] in {"archive-ratio", "archive-invalid"}


def test_a_file_beyond_its_limit_stops_there(archive: Callable[[Build], Path]) -> None:
    path = archive(lambda opened: opened.writestr("net.xml", bytes(3 * MIB)))

    with pytest.raises(ScenarioTooLarge) as refused:
        unpack_zip(path, path.parent / "unpacked", UploadLimits(max_file_bytes=2 * MIB))

    assert (refused.value.file, refused.value.limit_bytes) == ("net.xml", 2 * MIB)
    assert list(path.parent.iterdir()) == [path]


def test_files_beyond_their_sum_stop_there(archive: Callable[[Build], Path]) -> None:
    path = archive(lambda opened: [opened.writestr(f"{number}.xml", bytes(MIB)) for number in range(3)][-1])

    with pytest.raises(ScenarioTooLarge) as refused:
        unpack_zip(path, path.parent / "unpacked", UploadLimits(max_total_bytes=2 * MIB))

    assert (refused.value.file, refused.value.limit_bytes) == ("", 2 * MIB)
    assert list(path.parent.iterdir()) == [path]


def test_three_gigabytes_stop_at_the_limit_not_at_their_end(tmp_path: Path) -> None:
    path = tmp_path / "upload.zip"
    head = io.BytesIO()
    with zipfile.ZipFile(head, "w") as opened:
        opened.writestr(special("net.xml", stat.S_IFREG | 0o600), b"")
    size_bytes = 3 << 30
    with path.open("wb") as sparse:
        # One stored entry of 3 GB of zeros: its header, a hole, the directory.
        content = head.getvalue()
        central = content.rfind(b"PK\x01\x02")
        local, directory = bytearray(content[:central]), bytearray(content[central:])
        struct.pack_into("<2L", local, 18, size_bytes, size_bytes)
        struct.pack_into("<2L", directory, 20, size_bytes, size_bytes)
        struct.pack_into("<L", directory, directory.rfind(b"PK\x05\x06") + 16, len(local) + size_bytes)
        sparse.write(local)
        sparse.seek(size_bytes, io.SEEK_CUR)
        sparse.write(directory)
    limits = UploadLimits(max_file_bytes=8 * MIB, max_total_bytes=16 * MIB)

    with pytest.raises(ScenarioTooLarge) as refused:
        unpack_zip(path, tmp_path / "unpacked", limits)

    assert (refused.value.file, refused.value.limit_bytes) == ("net.xml", 8 * MIB)
    assert list(tmp_path.iterdir()) == [path]
