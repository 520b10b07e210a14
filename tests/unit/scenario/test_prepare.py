"""Preparation: arguments, redirected outputs, and no trust in any inspection."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from scenario.edge_data import EdgeData
from scenario.inspect import inspect
from scenario.model import ScenarioRejected, Scene, SumoOption
from scenario.outputs import Output, OutputNames
from scenario.prepare import RunOptions, prepare
from scenario.rewrite import Edit, rewrite

SPEC = RunOptions(seed=7)


def additional(root: Path, *elements: str) -> None:
    body = "\n".join(elements)
    (root / "tiny.add.xml").write_text(f"<additional>\n{body}\n</additional>\n")


def test_arguments_are_the_sessions_then_the_scenes_relative_to_its_directory(root: Path, scene: Scene) -> None:
    prepared = prepare(root, scene, spec=SPEC)

    assert " ".join(prepared.arguments) == (
        "-X never --xml-validation.net never --xml-validation.routes never --seed 7 --route-steps 0 --threads 1 "
        "--device.rerouting.threads 0 --save-state.rng --save-state.transportables --save-state.constraints "
        "--save-state.precision 17 --device.tripinfo.probability 1 --no-step-log "
        "--net-file scene/tiny.net.xml --route-files scene/tiny.rou.xml --additional-files scene/tiny.add.xml "
        "--begin 0 --step-length 1 --end 120"
    )


def test_the_sessions_options_and_end_win_over_the_scenes(root: Path, scene: Scene) -> None:
    scene = replace(scene, options=(SumoOption("ignore-route-errors", "false"), SumoOption("scale", "2")))
    spec = RunOptions(7, end_time_s=30.5, options=(SumoOption("scale", "3"),), ignore_route_errors=True)

    prepared = prepare(root, scene, spec=spec)

    assert prepared.arguments[prepared.arguments.index("--seed") + 1] == "7"
    assert prepared.arguments[-4:] == ("--end", "30.5", "--scale", "3")
    assert prepared.arguments.count("--ignore-route-errors") == 1


def test_without_an_end_there_is_none(root: Path, scene: Scene) -> None:
    assert "--end" not in prepare(root, replace(scene, end_time_s=None), spec=SPEC).arguments


def test_outputs_are_rewritten_and_every_other_byte_stays(root: Path, scene: Scene) -> None:
    before = {path.name: path.read_bytes() for path in root.iterdir()}

    prepared = prepare(root, scene, spec=SPEC)

    assert prepared.outputs == (Output("loops.xml", "outputs/loops.xml"),)
    after = {path.name: path.read_bytes() for path in root.iterdir()}
    expected = before["tiny.add.xml"].replace(b"loops.xml", b"../outputs/loops.xml")
    assert after == {**before, "tiny.add.xml": expected}


def test_preparing_again_from_fresh_copies_gives_the_same(root: Path, scene: Scene, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / "scene"
    other.mkdir(parents=True)
    for path in root.iterdir():
        (other / path.name).write_bytes(path.read_bytes())

    assert prepare(root, scene, spec=SPEC) == prepare(other, scene, spec=SPEC)
    assert (root / "tiny.add.xml").read_bytes() == (other / "tiny.add.xml").read_bytes()


@pytest.mark.parametrize("value", ["/etc/cron.d/loops.xml", "../../../loops.xml", "a\\b\\loops.xml", "C:\\loops.xml"])
def test_an_output_to_anywhere_lands_in_the_sessions_outputs(root: Path, scene: Scene, value: str) -> None:
    additional(root, f'<inductionLoop id="x" lane="in_0" pos="1" period="60" file="{value}"/>')

    prepared = prepare(root, scene, spec=SPEC)

    assert prepared.outputs == (Output(value, "outputs/loops.xml"),)
    assert 'file="../outputs/loops.xml"' in (root / "tiny.add.xml").read_text()


def test_outputs_of_options_land_there_too_under_names_of_their_own(root: Path, scene: Scene) -> None:
    options = (SumoOption("fcd-output", "/a/loops.xml"), SumoOption("tripinfo-output", "b/LOOPS.xml"))

    prepared = prepare(root, replace(scene, options=options), spec=SPEC)

    assert [output.path for output in prepared.outputs] == [
        "outputs/loops.xml",
        "outputs/LOOPS-2.xml",
        "outputs/loops-3.xml",
    ]
    assert prepared.arguments[-4:] == ("--fcd-output", "outputs/loops.xml", "--tripinfo-output", "outputs/LOOPS-2.xml")
    assert "../outputs/loops-3.xml" in (root / "tiny.add.xml").read_text()


@pytest.mark.parametrize("value", ["NUL", "nul", "/dev/null", ""])
def test_what_is_thrown_away_stays_thrown_away(root: Path, scene: Scene, value: str) -> None:
    additional(root, f'<edgeData id="x" file="{value}"/>')

    assert prepare(root, scene, spec=SPEC).outputs == ()
    assert f'file="{value}"' in (root / "tiny.add.xml").read_text()


def test_outputs_in_a_gzip_are_rewritten_and_it_stays_one(root: Path, scene: Scene) -> None:
    content = (root / "tiny.add.xml").read_bytes()
    (root / "tiny.add.xml").write_bytes(gzip.compress(content))

    prepare(root, scene, spec=SPEC)

    packed = (root / "tiny.add.xml").read_bytes()
    assert gzip.decompress(packed) == content.replace(b"loops.xml", b"../outputs/loops.xml")
    assert packed[3:8] == bytes(5), "no name and no time in the header"


def test_outputs_of_nets_nested_inputs_and_folders_are_rewritten(root: Path, scene: Scene) -> None:
    (root / "sub").mkdir()
    (root / "sub/inner.xml").write_text('<a><edgeData id="x" file="../e.xml"/></a>')
    additional(root, '<variableSpeedSign id="x" lanes="in_0" file="sub/inner.xml"/>', '<edgeData id="y" file="e.xml"/>')

    prepared = prepare(root, scene, spec=SPEC)

    assert prepared.outputs == (Output("e.xml", "outputs/e.xml"),), "both name one file"
    assert 'file="../../outputs/e.xml"' in (root / "sub/inner.xml").read_text()


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_large_files_with_marks_and_umlauts_are_rewritten_at_the_right_bytes(
    root: Path, scene: Scene, mark: bytes, pack: Callable[[bytes], bytes]
) -> None:
    filler = "<!-- Brücke über die Straße -->\r\n<poi id='x' name='ä'/>\r\n" * 30_000
    content = mark + f"<additional>\r\n{filler}<edgeData id='ü' file='e.xml'/>\r\n</additional>".encode()
    (root / "tiny.add.xml").write_bytes(pack(content))

    prepare(root, scene, spec=SPEC)

    after = (root / "tiny.add.xml").read_bytes()
    assert (after if pack is bytes else gzip.decompress(after)) == content.replace(b"e.xml", b"../outputs/e.xml")


def test_an_output_named_by_a_character_reference_is_rewritten(root: Path, scene: Scene) -> None:
    additional(root, '<vType id="x"><param key="device.ssm.f&#105;le" value="&#47;etc&#47;ssm.xml"/></vType>')

    prepare(root, scene, spec=SPEC)

    assert 'value="../outputs/ssm.xml"' in (root / "tiny.add.xml").read_text()


def test_an_ssm_device_without_a_file_gets_one(root: Path, scene: Scene) -> None:
    additional(root, '<vType id="x"><param key="has.ssm.device" value="true"/></vType>')

    prepared = prepare(root, scene, spec=SPEC)

    assert prepared.arguments[-2:] == ("--device.ssm.file", "outputs/ssm.xml")


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"net_file": "/etc/passwd"}, "path-escapes"),
        ({"net_file": "../scene/tiny.net.xml"}, "path-escapes"),
        ({"net_file": "gone.xml"}, "input-missing"),
        ({"route_files": ("a,b.xml",)}, "path-invalid"),
        ({"route_files": ("link.xml",)}, "path-escapes"),
        ({"route_files": ("folder/tiny.rou.xml",)}, "path-escapes"),
        ({"options": (SumoOption("remote-port", "1"),)}, "option-not-allowed"),
        ({"options": (SumoOption("seed", "1"),)}, "option-not-allowed"),
        ({"options": (SumoOption("log", "x"),)}, "option-not-allowed"),
        ({"options": (SumoOption("scale", "${HOME}"),)}, "option-value-invalid"),
        ({"options": (SumoOption("fcd-output", "localhost:9"),)}, "output-socket"),
        ({"options": (SumoOption("weight-files", "/etc/passwd"),)}, "path-escapes"),
    ],
)
def test_a_scene_no_inspection_would_have_made_is_refused(
    root: Path, scene: Scene, change: dict[str, object], rule: str
) -> None:
    (root / "a,b.xml").write_text("<routes/>")
    (root / "link.xml").symlink_to(root / "tiny.rou.xml")
    (root / "folder").symlink_to(root)

    with pytest.raises(ScenarioRejected) as refused:
        prepare(root, replace(scene, **change), spec=SPEC)  # type: ignore[arg-type]

    assert refused.value.findings[0].rule == rule


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>', "xml-doctype"),
        ('<a><include href="/etc/passwd"/></a>', "xml-include"),
        ('<a><edgeData id="x" file="localhost:9"/></a>', "output-socket"),
        ('<a><calibrator id="x" file="../../secret"/></a>', "path-escapes"),
        ('<a><calibrator id="x" file="gone.xml"/></a>', "input-missing"),
        ('<a><vType id="x" emissionClass="PHEMlight/../../x"/></a>', "path-escapes"),
        ("<a", "xml-malformed"),
    ],
)
def test_a_hostile_file_is_refused_though_the_scene_is_good(root: Path, scene: Scene, content: str, rule: str) -> None:
    (root / "tiny.add.xml").write_text(content)

    with pytest.raises(ScenarioRejected) as refused:
        prepare(root, scene, spec=SPEC)

    assert refused.value.findings[0].rule == rule


def test_a_prepared_scene_inspects_as_clean_as_before(root: Path, scene: Scene) -> None:
    prepare(root, scene, spec=SPEC)

    assert inspect(root, "run.sumocfg").errors == ()


def test_rewriting_does_not_write_to_the_old_file(root: Path, tmp_path: Path) -> None:
    stored = tmp_path / "stored.xml"
    stored.write_text('<a file="x"/>')
    (root / "linked.xml").hardlink_to(stored)

    rewrite(root / "linked.xml", [Edit(0, "file", "y")])

    assert (root / "linked.xml").read_text() == '<a file="y"/>'
    assert stored.read_text() == '<a file="x"/>'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('<a file="x"/>', '<a file="new"/>'),
        ("<a\n\tid='>' file = 'x'\n>", "<a\n\tid='>' file = 'new'\n>"),
        ("<a note=\"file='x'\" file='x'/>", "<a note=\"file='x'\" file='new'/>"),
        ('<a xfile="x" file=""/>', '<a xfile="x" file="new"/>'),
    ],
)
def test_only_the_value_meant_is_replaced(tmp_path: Path, before: str, after: str) -> None:
    path = tmp_path / "a.xml"
    path.write_text(before)

    rewrite(path, [Edit(0, "file", "new")])

    assert path.read_text() == after


@pytest.mark.parametrize(
    ("declared", "path"),
    [
        ("..", "outputs/output"),
        ("/", "outputs/output"),
        (".hidden", "outputs/hidden"),
        ("-rf", "outputs/rf"),
        ("e1 $(x).xml.gz", "outputs/e1___x_.xml.gz"),
        ("ä.xml", "outputs/_.xml"),
        ("x" * 300 + ".xml", "outputs/" + "x" * 116 + ".xml"),
    ],
)
def test_names_of_outputs_are_safe(declared: str, path: str) -> None:
    assert OutputNames().path_for(declared, target=declared) == path


def test_edge_data_is_asked_for_in_a_file_of_its_own_under_a_name_that_is_free(root: Path, scene: Scene) -> None:
    additional(root, '<edgeData id="mine" file="edges.xml"/>')
    (root / "milepost-edge-data.add.xml").write_text("<additional/>")

    prepared = prepare(root, scene, spec=replace(SPEC, edge_data=EdgeData(60, 30.5)))

    own = "milepost-edge-data-1.add.xml"
    files = prepared.arguments[prepared.arguments.index("--additional-files") + 1]
    assert files == f"scene/tiny.add.xml,scene/{own}"
    assert (root / own).read_text().split() == [
        *("<additional>", "<edgeData", 'id="milepost"', 'file="../outputs/edges.xml"', 'period="60"', 'begin="30.5"'),
        *('end="2000000000"', 'excludeEmpty="true"/>', "</additional>"),
    ]
    # What the scenario calls so has another name then, and only then.
    assert prepared.outputs == (Output("edges.xml", "outputs/edges-2.xml"),)


def test_without_edge_data_nothing_is_added(root: Path, scene: Scene) -> None:
    additional(root, '<edgeData id="mine" file="edges.xml"/>')
    before = sorted(root.iterdir())

    prepared = prepare(root, replace(scene, additional_files=("tiny.add.xml",)), spec=SPEC)

    assert sorted(root.iterdir()) == before
    assert prepared.outputs == (Output("edges.xml", "outputs/edges.xml"),)
