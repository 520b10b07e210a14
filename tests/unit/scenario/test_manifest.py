"""The manifest: what names a scenario."""

from __future__ import annotations

import hashlib

import pytest

from milepost.scenario.v1 import scenario_service_pb2
from scenario import wire
from scenario.model import Manifest, ScenarioFile, ScenarioRejected, Scene, SumoOption

EMPTY = hashlib.sha256(b"").hexdigest()
TEXT = f"milepost-scenario 1\nconfig b/run.sumocfg\n{EMPTY} 0 B.xml\n{EMPTY} 12 b/run.sumocfg\n"


def test_text_is_laid_out_as_the_contract_says_with_paths_sorted_as_bytes() -> None:
    manifest = Manifest("b/run.sumocfg", (ScenarioFile("b/run.sumocfg", EMPTY, 12), ScenarioFile("B.xml", EMPTY, 0)))

    assert manifest.text() == TEXT
    assert manifest.digest == hashlib.sha256(TEXT.encode()).hexdigest()


def test_order_of_the_files_does_not_change_the_digest() -> None:
    files = tuple(ScenarioFile(name, EMPTY, 1) for name in ("ä.xml", "z.xml", "a.xml"))

    assert Manifest("a.xml", files).digest == Manifest("a.xml", files[::-1]).digest


def test_parse_reads_back_what_text_wrote() -> None:
    assert Manifest.parse(TEXT).text() == TEXT


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "milepost-scenario 2\nconfig a\n",
        "milepost-scenario 1\n",
        TEXT.removesuffix("\n"),
        TEXT + "\n",
        TEXT.replace(EMPTY, EMPTY.upper()),
        TEXT.replace(" 12 ", " 012 "),
        "\n".join([*TEXT.split("\n")[:2], *TEXT.split("\n")[3:1:-1], ""]),
    ],
)
def test_parse_refuses_whatever_text_would_not_have_written(broken: str) -> None:
    with pytest.raises(ScenarioRejected) as refused:
        Manifest.parse(broken)

    assert refused.value.findings[0].rule == "manifest-invalid"


def test_manifest_of_an_upload_comes_off_the_wire() -> None:
    files = (ScenarioFile("a.xml", EMPTY, 1), ScenarioFile("run.sumocfg", EMPTY, 2))
    message = scenario_service_pb2.Manifest(files=[wire.file_to_proto(file) for file in files])

    assert wire.manifest_from_proto("run.sumocfg", message) == Manifest("run.sumocfg", files)


@pytest.mark.parametrize("end_time_s", [None, 0.0, 3600.5])
def test_scene_survives_the_wire(end_time_s: float | None) -> None:
    scene = Scene("d", "n.xml", ("r1", "r2"), ("a",), 10.0, end_time_s, 0.5, (SumoOption("scale", "2"),))

    assert wire.scene_from_proto(wire.scene_to_proto(scene)) == scene
