"""Paths of a scenario's files: nothing leaves, nothing hides, nothing collides."""

from __future__ import annotations

import posixpath
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenario.bundle import check_path, check_paths, find_config, scan_directory
from scenario.limits import MAX_FILES, MAX_PATH_CHARS, UploadLimits
from scenario.model import ScenarioRejected, ScenarioTooLarge

PATHS = st.text(st.sampled_from("ab./\\:ä\x00\n~ \ud800"), max_size=12) | st.text(max_size=40)


@given(PATHS)
def test_a_valid_path_stays_inside_and_means_one_place(path: str) -> None:
    if check_path(path) is not None:
        return
    assert posixpath.normpath(path) == path
    assert not path.startswith("/")
    assert ".." not in path.split("/")
    assert "\\" not in path
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in path)
    assert Path("/root", path).resolve().is_relative_to("/root")
    path.encode()


@given(st.lists(st.text("abcXYZ09_- .é", min_size=1, max_size=20).filter(lambda name: name.strip(".")), max_size=5))
def test_ordinary_names_are_valid(segments: list[str]) -> None:
    assert check_path("/".join([*segments, "net.xml"])) is None


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("../a.xml", "path-escapes"),
        ("a/../../b.xml", "path-escapes"),
        ("a/..", "path-escapes"),
        ("/etc/passwd", "path-escapes"),
        ("C:/a.xml", "path-escapes"),
        ("c:a.xml", "path-escapes"),
        ("a\\b.xml", "path-invalid"),
        ("..\\b.xml", "path-invalid"),
        ("", "path-invalid"),
        ("a//b", "path-invalid"),
        ("./a", "path-invalid"),
        ("a/", "path-invalid"),
        ("a\nb", "path-invalid"),
        ("a\x00.xml", "path-invalid"),
        ("a\u2028b", "path-invalid"),
        ("\ud800", "path-invalid"),
        ("x" * 256, "path-invalid"),
        ("x/" * 16 + "x", "path-invalid"),
        ("x" * (MAX_PATH_CHARS + 1), "path-invalid"),
    ],
)
def test_a_hostile_path_is_refused_with_its_rule(path: str, rule: str) -> None:
    finding = check_path(path)

    assert finding is not None
    assert finding.rule == rule


@pytest.mark.parametrize(
    "paths",
    [
        ["a.xml", "a.xml"],
        ["a.xml", "A.XML"],
        ["caf\u00e9.xml", "cafe\u0301.xml"],
        ["stra\u00dfe.xml", "STRASSE.xml"],
        ["a", "a/b.xml"],
        ["A", "a/b.xml"],
    ],
)
def test_paths_that_some_file_system_takes_for_one_are_refused(paths: list[str]) -> None:
    with pytest.raises(ScenarioRejected) as refused:
        check_paths(paths, UploadLimits())

    assert {finding.rule for finding in refused.value.findings} == {"path-duplicate"}
    assert refused.value.findings[0].file in paths


def test_more_files_than_the_limit_are_refused() -> None:
    check_paths((f"{number}.xml" for number in range(MAX_FILES)), UploadLimits())

    with pytest.raises(ScenarioRejected) as refused:
        check_paths((f"{number}.xml" for number in range(MAX_FILES + 1)), UploadLimits())

    assert refused.value.findings[0].rule == "too-many-files"


def test_the_only_configuration_is_found_beside_a_macs_hidden_ones() -> None:
    assert find_config(["town/net.xml", "town/run.sumocfg", "__MACOSX/town/._run.sumocfg"], "") == "town/run.sumocfg"


def test_a_configuration_that_was_asked_for_is_taken() -> None:
    assert find_config(["a.sumocfg", "b.sumocfg"], "b.sumocfg") == "b.sumocfg"


@pytest.mark.parametrize(
    ("paths", "asked", "rule"),
    [
        (["net.xml"], "", "config-missing"),
        (["a.sumocfg"], "b.sumocfg", "config-missing"),
        (["a.sumocfg", "b.sumocfg"], "", "config-ambiguous"),
    ],
)
def test_no_clear_configuration_is_a_finding(paths: list[str], asked: str, rule: str) -> None:
    with pytest.raises(ScenarioRejected) as refused:
        find_config(paths, asked)

    assert refused.value.findings[0].rule == rule


def test_a_directory_is_hashed_file_by_file(root: Path) -> None:
    files = scan_directory(root, UploadLimits())

    assert [file.path for file in files] == ["run.sumocfg", "tiny.add.xml", "tiny.net.xml", "tiny.rou.xml"]
    assert [file.size_bytes for file in files] == [(root / file.path).stat().st_size for file in files]


@pytest.mark.parametrize("target", ["/etc/passwd", "tiny.net.xml", ".", "nowhere"])
def test_a_directory_with_a_link_is_refused(root: Path, target: str) -> None:
    (root / "link.xml").symlink_to(target)

    with pytest.raises(ScenarioRejected) as refused:
        scan_directory(root, UploadLimits())

    assert (refused.value.findings[0].rule, refused.value.findings[0].file) == ("file-special", "link.xml")


def test_a_directory_of_too_large_files_is_refused_without_reading_on(root: Path) -> None:
    with (root / "sparse.xml").open("wb") as sparse:
        sparse.truncate(3 << 30)

    with pytest.raises(ScenarioTooLarge) as refused:
        scan_directory(root, UploadLimits(max_file_bytes=1 << 20))

    assert (refused.value.file, refused.value.limit_bytes) == ("sparse.xml", 1 << 20)
