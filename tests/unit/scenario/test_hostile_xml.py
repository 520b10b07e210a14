"""XML that attacks whoever reads it, or whoever SUMO would read and write for."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from scenario.limits import MAX_ATTRIBUTE_CHARS, MAX_XML_DEPTH, MIB
from scenario.model import Finding, Inspection

Inspected = Callable[..., Inspection]
OnlyError = Callable[..., Finding]
FILES = ["run.sumocfg", "tiny.net.xml", "tiny.rou.xml", "tiny.add.xml"]
LAUGHS = '<?xml version="1.0"?>\n<!DOCTYPE a [<!ENTITY ha "ha"><!ENTITY haha "&ha;&ha;">]>\n<a>&haha;</a>'
EXTERNAL = '<?xml version="1.0"?>\n<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>\n<a>&x;</a>'
REMOTE = '<?xml version="1.0"?>\n<!DOCTYPE a SYSTEM "http://localhost:9/a.dtd">\n<a/>'
PARAMETER = '<?xml version="1.0"?>\n<!DOCTYPE a [<!ENTITY % x SYSTEM "file:///etc/passwd"> %x;]>\n<a/>'


@pytest.mark.parametrize("path", FILES)
@pytest.mark.parametrize("content", [LAUGHS, EXTERNAL, REMOTE, PARAMETER])
def test_bombs_and_external_entities_are_refused_in_every_file(inspected: Inspected, path: str, content: str) -> None:
    errors = inspected(path, content).errors

    assert (errors[0].rule, errors[0].file, errors[0].line) == ("xml-doctype", path, 2)
    assert "root:" not in errors[0].message


@pytest.mark.parametrize("path", FILES)
def test_what_is_not_well_formed_is_named_with_its_line(inspected: Inspected, path: str) -> None:
    errors = inspected(path, "<a>\n  <b>\n</a>").errors

    assert (errors[0].rule, errors[0].file, errors[0].line) == ("xml-malformed", path, 3)


@pytest.mark.parametrize("path", ["tiny.net.xml", "tiny.rou.xml", "tiny.add.xml"])
def test_include_is_refused_in_every_file(inspected: Inspected, path: str) -> None:
    errors = inspected(path, '<a>\n<include href="/etc/passwd"/>\n</a>').errors

    assert (errors[0].rule, errors[0].file, errors[0].line) == ("xml-include", path, 2)


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ("<a>" * (MAX_XML_DEPTH + 1) + "</a>" * (MAX_XML_DEPTH + 1), "xml-too-deep"),
        (f'<a b="{"x" * (MAX_ATTRIBUTE_CHARS + 1)}"/>', "xml-too-large"),
        ("<a/>".encode("utf-16"), "xml-encoding"),
        ("<a/>".encode("utf-16-be"), "xml-encoding"),
        (b'<?xml version="1.0" encoding="utf-7"?><a/>', "xml-encoding"),
        (b'<?xml version="1.0" encoding="cp037"?><a/>', "xml-encoding"),
        (b'<?xml version="1.1"?><a/>', "xml-malformed"),
        (b"", "xml-malformed"),
        (b"\x1f\x8b not gzip", "xml-malformed"),
        (gzip.compress(b"<a/>", mtime=0)[:-4], "xml-malformed"),
        (zlib.compress(b"<a/>"), "xml-malformed"),
        (gzip.compress(b"<a>" + b" " * (64 * MIB) + b"</a>"), "xml-too-large"),
    ],
)
def test_unreadable_or_oversized_xml_is_refused(only_error: OnlyError, content: str | bytes, rule: str) -> None:
    finding = only_error("tiny.add.xml", content)

    assert (finding.rule, finding.file) == (rule, "tiny.add.xml")


@pytest.mark.parametrize("encoding", ["utf-8", "us-ascii", "iso-8859-15", "windows-1252"])
def test_usual_encodings_are_read(inspected: Inspected, encoding: str) -> None:
    content = f'<?xml version="1.0" encoding="{encoding}"?><additional/>'

    assert inspected("tiny.add.xml", content.encode(encoding)).errors == ()


OUTPUTS = [
    '<inductionLoop id="x" lane="in_0" pos="1" file="{}"/>',
    '<laneAreaDetector id="x" lane="in_0" pos="1" file="{}"/>',
    '<entryExitDetector id="x" file="{}"/>',
    '<instantInductionLoop id="x" lane="in_0" pos="1" file="{}"/>',
    '<edgeData id="x" file="{}"/>',
    '<laneData id="x" file="{}"/>',
    '<vTypeProbe id="x" file="{}"/>',
    '<routeProbe id="x" edge="in" file="{}"/>',
    '<timedEvent type="SaveTLSStates" dest="{}"/>',
    '<calibrator id="x" edge="in" pos="0" output="{}"/>',
    '<vType id="x"><param key="device.ssm.file" value="{}"/></vType>',
    '<vehicle id="x" depart="0" route="r"><param key="device.toc.file" value="{}"/></vehicle>',
    '<tlLogic id="b" programID="1"><param key="file" value="{}"/></tlLogic>',
    '<vType id="x"><param key="device.ssm.f&#105;le" value="{}"/></vType>',
    '<someDetectorOfTomorrow id="x" file="{}"/>',
]


@pytest.mark.parametrize("element", OUTPUTS)
@pytest.mark.parametrize("socket", ["localhost:9", "10.0.0.1:80", "host:name.xml"])
def test_an_output_to_a_socket_is_refused(only_error: OnlyError, element: str, socket: str) -> None:
    finding = only_error("tiny.add.xml", f"<additional>\n{element.format(socket)}\n</additional>")

    assert (finding.rule, finding.file, finding.line) == ("output-socket", "tiny.add.xml", 2)


@pytest.mark.parametrize("element", OUTPUTS)
@pytest.mark.parametrize("path", ["/etc/cron.d/x", "../../x.xml", "C:\\x.xml", "stdout", "x.xml"])
def test_any_other_output_is_redirected_and_the_warning_says_so(inspected: Inspected, element: str, path: str) -> None:
    inspection = inspected("tiny.add.xml", f"<additional>\n{element.format(path)}\n</additional>")

    assert inspection.errors == ()
    warning = inspection.warnings[0]
    assert (warning.rule, warning.file, warning.line) == ("output-redirected", "tiny.add.xml", 2)
    assert path in warning.message


INPUTS = [
    '<variableSpeedSign id="x" lanes="in_0" file="{}"/>',
    '<calibrator id="x" edge="in" pos="0" file="{}"/>',
    '<edgeData id="x" file="e.xml" edgesFile="{}"/>',
]


@pytest.mark.parametrize("element", INPUTS)
@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("/etc/passwd", "path-escapes"),
        ("../x.xml", "path-escapes"),
        ("x:y.xml", "path-escapes"),
        ("x.xml", "input-missing"),
    ],
)
def test_an_input_that_escapes_or_is_missing_is_refused(
    only_error: OnlyError, element: str, path: str, rule: str
) -> None:
    finding = only_error("tiny.add.xml", f"<additional>\n{element.format(path)}\n</additional>")

    assert (finding.rule, finding.file, finding.line) == (rule, "tiny.add.xml", 2)


@pytest.mark.parametrize("element", INPUTS[:2])
def test_an_input_named_by_an_input_is_inspected_too(only_error: OnlyError, root: Path, element: str) -> None:
    (root / "sub").mkdir()
    (root / "sub/inner.xml").write_text(EXTERNAL)

    finding = only_error("tiny.add.xml", f"<additional>{element.format('sub/inner.xml')}</additional>")

    assert (finding.rule, finding.file, finding.line) == ("xml-doctype", "sub/inner.xml", 2)


def test_files_that_name_each_other_are_read_once(inspected: Inspected, root: Path) -> None:
    (root / "sign.xml").write_text('<a><variableSpeedSign id="x" lanes="in_0" file="sign.xml"/></a>')

    inspection = inspected("tiny.add.xml", f"<additional>{INPUTS[0].format('sign.xml')}</additional>")

    assert inspection.errors == ()


def test_an_emission_model_outside_sumos_tables_is_refused(only_error: OnlyError) -> None:
    finding = only_error("tiny.add.xml", '<additional><vType id="x" emissionClass="PHEMlight/../../x"/></additional>')

    assert finding.rule == "path-escapes"
