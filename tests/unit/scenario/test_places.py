"""Values in XML files: found by XPath, others put in their places, and every other byte as it was."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenario.bindings import Bound, BoundFile, BoundPlace, written
from scenario.demo import demo_directory
from scenario.limited import find_places_limited
from scenario.limits import MAX_PLACES_PER_TARGET, InspectionLimits
from scenario.model import ScenarioRejected
from scenario.places import NoPlace, Place, Target, find_places

NET = """<?xml version="1.0" encoding="UTF-8"?>
<!-- kept -->
<net version="1.20">
    <tlLogic id="A" type="static" programID="0" offset='0'>
        <phase duration="31" state="GGrr"/>
        <phase  duration = "4.00"  state="yyrr" />
    </tlLogic>
    <tlLogic id="B &amp; C" offset="5"><phase duration="31" state="Gr"></phase></tlLogic>
</net>
"""


@pytest.fixture
def net(tmp_path: Path) -> Path:
    place = tmp_path / "a.net.xml"
    place.write_text(NET)
    return place


def one(path: Path, select: str, attribute: str) -> tuple[Place, ...]:
    """The places of one target, which must have some."""
    (found,) = find_places(path, path.name, [Target(select, attribute)])
    assert not isinstance(found, NoPlace), found
    return found


def filled(path: Path, *bound: tuple[str, str, Bound]) -> bytes:
    """The file with a value for each (select, attribute)."""
    values = [
        BoundPlace(place, attribute, value)
        for select, attribute, value in bound
        for place in one(path, select, attribute)
    ]
    return BoundFile(path.read_bytes()).filled(values)


def test_one_value_is_put_where_it_belongs_and_nothing_else_changes(net: Path) -> None:
    assert filled(net, ("tlLogic[@id='A']/phase[2]", "duration", 6)).decode() == NET.replace('"4.00"', '"6"')
    assert filled(net, ("tlLogic[@id='A']", "offset", 12.5)).decode() == NET.replace("'0'", "'12.5'")
    assert filled(net, ("tlLogic[@id='B & C']/phase", "state", "rG")).decode() == NET.replace('"Gr"', '"rG"')


def test_every_element_that_is_selected_gets_the_value(net: Path) -> None:
    assert filled(net, (".//phase", "duration", 9)).count(b'"9"') == 3
    assert [place.current for place in one(net, ".//phase", "duration")] == ["31", "4.00", "31"]


def test_an_attribute_that_is_missing_is_made(net: Path) -> None:
    made = filled(net, ("tlLogic/phase[1]", "minDur", 5), ("tlLogic/phase[1]", "maxDur", 50.5)).decode()
    assert made == NET.replace('<phase duration="31"', '<phase maxDur="50.5" minDur="5" duration="31"')
    assert filled(net, (".", "note", "x")).decode() == NET.replace("<net", '<net note="x"')


@pytest.mark.parametrize("value", [4, 4.0, "4.00"])
def test_a_value_that_stands_there_already_leaves_the_file_as_it_is(net: Path, value: Bound) -> None:
    assert filled(net, ("tlLogic[@id='A']/phase[2]", "duration", value)) == NET.encode()
    assert filled(net, ("tlLogic[2]", "id", "B & C")) == NET.encode()


def test_text_stands_there_only_letter_by_letter(net: Path) -> None:
    assert filled(net, ("tlLogic[@id='A']/phase[2]", "duration", "4")).decode() == NET.replace('"4.00"', '"4"')


@given(value=st.text(st.characters(exclude_categories=["C", "Zl", "Zp"], exclude_characters="\xa0"), max_size=20))
def test_whatever_text_is_put_in_is_what_a_reader_gets(value: str) -> None:
    for quote in "\"'":
        content = f"<a b={quote}c{quote}><d/></a>".encode("ascii")
        start = content.index(b"c")
        content = BoundFile(content).filled(
            [
                BoundPlace(Place(start, start + 1, "c", needs_inspection=False), "b", value),
                BoundPlace(Place(start + 5, start + 5, None, needs_inspection=False), "e", value),
            ]
        )
        root = ElementTree.fromstring(content)
        assert (root.get("b"), root[0].get("e")) == (value, value)


def test_encodings_and_line_ends_of_the_file_stay(tmp_path: Path) -> None:
    text = '<?xml version="1.0" encoding="ISO-8859-1"?>\r\n<a name="Stra\xdfe">\r\n<b c="1"/></a>'
    place = tmp_path / "a.xml"
    place.write_bytes(text.encode("latin-1"))
    assert filled(place, ("b", "c", "ü")) == text.replace('"1"', '"&#252;"').encode("latin-1")
    assert filled(place, (".", "name", "Straße")) == place.read_bytes()
    place.write_bytes("\ufeff".encode() + b"<a><b c='1'/></a>")
    assert filled(place, ("b", "c", 2)) == "\ufeff".encode() + b"<a><b c='2'/></a>"


def test_equal_values_make_equal_bytes_in_whatever_order_they_are_bound(net: Path) -> None:
    bound = [("tlLogic", "offset", 3), ("tlLogic/phase", "duration", 7), ("tlLogic/phase", "next", 0)]
    assert filled(net, *bound) == filled(net, *reversed(bound)) == filled(net, *bound)


def test_gzip_stays_gzip_and_equal_values_make_equal_bytes() -> None:
    packed = demo_directory() / "milton.net.xml.gz"
    assert filled(packed, ("edge/lane", "x", 1)) == filled(packed, ("edge/lane", "x", 1))
    first = one(packed, ".//tlLogic", "offset")[0]
    content = BoundFile(packed.read_bytes()).filled([BoundPlace(first, "offset", 77)])
    assert content[:2] == b"\x1f\x8b"
    before, after = (gzip.decompress(data) for data in (packed.read_bytes(), content))
    assert after == before[: first.start] + b"77" + before[first.end :]
    same = BoundFile(packed.read_bytes()).filled([BoundPlace(first, "offset", float(str(first.current)))])
    assert same == packed.read_bytes()


@pytest.mark.parametrize(
    "select", ["a[", "/net", "//phase", "tlLogic[@id='A", "tlLogic[", "]", "@id", "x:phase", "phase[0]", "*[", "[", ""]
)
def test_what_is_no_path_is_told_so(net: Path, select: str) -> None:
    (found,) = find_places(net, "n", [Target(select, "duration")])
    assert isinstance(found, NoPlace)
    assert found.part == "select"


@given(select=st.text(alphabet="ab*./[]@='\"() 1:{}-&|", max_size=12))
def test_any_text_is_a_path_or_is_told_to_be_none(select: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    place = tmp_path_factory.getbasetemp() / "any.xml"
    place.write_text("<a><b a='1'><a/></b><b/></a>")
    (found,) = find_places(place, "any.xml", [Target(select, "x")])
    assert isinstance(found, NoPlace) or found


@pytest.mark.parametrize(
    ("element", "select", "attribute"),
    [
        ("<e1Detector id='d' file='out.xml'/>", "*", "file"),
        ("<e1Detector id='d'/>", "*", "file"),
        ("<rerouter id='r'/>", "*", "dest"),
        ("<calibrator id='c'/>", "*", "output"),
        ("<v><param key='device.ssm.file' value='x'/></v>", ".//param", "value"),
        ("<v><param key='anything' value='x'/></v>", ".//param", "key"),
        ("<v/>", "v", "xmlns"),
        ("<v/>", "v", "xsi:schemaLocation"),
    ],
)
def test_attributes_that_name_files_or_say_what_others_mean_are_not_bound(
    tmp_path: Path, element: str, select: str, attribute: str
) -> None:
    place = tmp_path / "a.xml"
    place.write_text(f"<additional>{element}</additional>")
    (found,) = find_places(place, "a.xml", [Target(select, attribute)])
    assert isinstance(found, NoPlace)
    assert found.part == "attribute"


def test_what_others_refer_to_is_to_be_inspected_when_it_changes(tmp_path: Path) -> None:
    place = tmp_path / "a.xml"
    place.write_text("<x><edge id='e' speed='1'/><trip from='e' depart='0'/><vType emissionClass='zero'/></x>")
    targets = [("edge", "id"), ("trip", "from"), ("vType", "emissionClass"), ("edge", "speed"), ("trip", "depart")]
    found = [one(place, *target)[0].needs_inspection for target in targets]
    assert found == [True, True, True, False, False]


def test_more_places_than_a_binding_may_have_are_refused(tmp_path: Path) -> None:
    place = tmp_path / "a.xml"
    place.write_text(f"<a>{'<b/>' * (MAX_PLACES_PER_TARGET + 1)}</a>")
    (found,) = find_places(place, "a.xml", [Target("b", "c")])
    assert found == NoPlace("select", f"selects more than {MAX_PLACES_PER_TARGET} elements")


@pytest.mark.parametrize("content", ["", "plain", "<a>", "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"])
def test_a_file_that_is_no_xml_to_us_is_rejected(tmp_path: Path, content: str) -> None:
    place = tmp_path / "a.xml"
    place.write_text(content)
    with pytest.raises(ScenarioRejected):
        asyncio.run(find_places_limited(place, "a.xml", [Target("*", "b")]))


def test_a_limited_process_finds_what_would_be_found_here(net: Path) -> None:
    targets = [Target(".//phase", "duration"), Target("nothing", "a"), Target("tlLogic", "made")]
    assert asyncio.run(find_places_limited(net, "n", targets)) == find_places(net, "n", targets)


@pytest.mark.slow
def test_a_path_that_takes_for_ever_ends_with_its_process(tmp_path: Path) -> None:
    place = tmp_path / "a.xml"
    place.write_text("<a>" * 30 + "<b/>" * 2000 + "</a>" * 30)
    select = ".//*" + "//*" * 20 + "//c"
    with pytest.raises(ScenarioRejected, match="inspection-exhausted"):
        asyncio.run(find_places_limited(place, "a.xml", [Target(select, "x")], InspectionLimits(cpu_s=1)))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (30, "30"),
        (30.0, "30"),
        (-0.0, "0"),
        (0.1, "0.1"),
        (1e15, "1000000000000000"),
        (1e300, "1e+300"),
        (1e-7, "1e-07"),
        (1 / 3, "0.3333333333333333"),
        ("30.0", "30.0"),
    ],
)
def test_numbers_are_written_as_sumo_reads_them(value: Bound, text: str) -> None:
    assert written(value) == text
