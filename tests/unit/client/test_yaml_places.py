"""Values of a YAML file know where they stand; what is wrong with the file is told with its place."""

from pathlib import Path

import pytest

from milepost.exceptions import InputFileError
from milepost.yaml_places import MAX_DEPTH, placed, read_placed
from milepost.yaml_values import segments_of, written

STUDY = """\
name: Cologne
variants:
  - {name: base}
  - name: c60
    parameters:
      cycle_s: 60
      "odd.name": 1
"""


def findings(text: str, name: str = "study.yaml") -> list[str]:
    with pytest.raises(InputFileError) as refused:
        placed(text, name)
    return [f"{one.field}: {one.description}" for one in refused.value.violations]


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("", "1:1"),
        ("name", "1:7"),
        ("variants", "2:1"),
        ("variants[0]", "3:5"),
        ("variants[0].name", "3:12"),
        ("variants[1].parameters.cycle_s", "6:16"),
        ('variants[1].parameters["cycle_s"]', "6:16"),
        ('variants[1].parameters["odd.name"]', "7:19"),
        ("variants[1].parameters.offset_s", "5:5"),
        ("variants[9].name", "2:1"),
        ("nowhere.at[3].all", "1:1"),
    ],
)
def test_a_path_has_its_place_or_that_of_what_is_nearest_above_it(path, place):
    assert placed(STUDY, "study.yaml").place(path) == f"study.yaml:{place}"


def test_plain_values_are_those_of_the_core_schema():
    text = "[on, 1:30, 2020-01-01, 007, 1e-3, -.5, 0x10, ~, , true, '60', !!str 60, '', 1_000]"
    assert placed(text.replace("~, ,", "~, null,"), "a").plain() == [
        "on", "1:30", "2020-01-01", 7, 0.001, -0.5, 16, None, None, True, "60", "60", "", "1_000"
    ]  # fmt: skip


def test_json_is_read_also_when_it_is_indented_with_tabs(tmp_path):
    file = tmp_path / "study.json"
    file.write_text('{\n\t"name": "a",\n\t"seeds": [1, 2]\n}')
    root = read_placed(file)
    assert root.plain() == {"name": "a", "seeds": [1, 2]}
    assert root.place("seeds") == "study.json:3:2"


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("a: 1\nb: 2\na: 3\n", "study.yaml:3:1: a: stands here again, first in line 1"),
        ("a:\n\tb: 1\n", "study.yaml:2:1: a tab; indent with spaces"),
        ("a: [1, 2\nb: 3\n", "study.yaml:2:2: "),
        ("a: !!python/object/apply:os.system [ls]\n", "study.yaml:1:4: the tag "),
        ("a: &a {b: *a}\n", "study.yaml:1:11: *a was not named before"),
        ("a: 1\n---\nb: 2\n", "study.yaml:2:1: a second document"),
        ("", "study.yaml:1:1: holds nothing"),
        ("{[1]: 2}", "study.yaml:1:2: a key must be a word"),
        ("[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2), f"study.yaml:1:{MAX_DEPTH + 2}: nested over"),
    ],
)
def test_what_is_no_file_of_values_is_refused_with_its_place(text, finding):
    [found] = findings(text)
    assert found.startswith(finding)


def test_aliases_are_what_they_stand_for_and_bounded_by_it():
    root = placed("a: &it {x: [1, 2]}\nb: *it\n", "a")
    assert root.plain() == {"a": {"x": [1, 2]}, "b": {"x": [1, 2]}}
    assert root.nearest(("b", "x", 1)).path == "b.x[1]"
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    [found] = findings("\n".join(lines))
    assert "more than" in found


def test_all_findings_are_told_at_once_in_the_order_of_the_file():
    root = placed("seeds: 3\nvariant:\n  - name: [a]\nname: {}\n", "study.yaml")
    known = root.mapping("name", "seeds", "variants", required=("objective",))
    known["name"].text()
    known["seeds"].items()
    with pytest.raises(InputFileError) as refused:
        root.document.check()
    assert [f"{one.field}: {one.description}" for one in refused.value.violations] == [
        "study.yaml:1:1: objective is missing",
        "study.yaml:1:8: seeds: must be a list, is 3",
        "study.yaml:2:1: variant: unknown key; did you mean variants?",
        "study.yaml:4:1: name: must be a text, is a mapping",
    ]


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path):
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    for name in ("none.yaml", "binary.yaml"):
        with pytest.raises(InputFileError):
            read_placed(tmp_path / name)


@pytest.mark.parametrize("path", ["a", "a.b", "a[3].b-c", 'a["x.y"][0]', 'a["say \\"hi\\""]'])
def test_paths_are_written_as_they_are_read(path):
    assert written(segments_of(path)) == path


def test_texts_are_as_they_are_written():
    root = placed("[1.10, true, 0x10, 'a']", "a")
    assert [one.text() for one in root.items()] == ["1.10", "true", "0x10", "a"]
