"""Bad input gets its typed error, naming file and line or field; nothing is left behind."""

import io
import tempfile
import uuid
import zipfile
from pathlib import Path

import pytest

from milepost.exceptions import MilepostError
from milepost.session.v1.session_pb2 import FailureReason, SessionSpec, SessionState
from stack import RunningStack

pytestmark = pytest.mark.asyncio(loop_scope="session")

CONFIG = (
    '<configuration>\n<input><net-file value="n.net.xml"/><route-files value="r.rou.xml"/></input>\n</configuration>'
)


def archive(path: Path, **files: str) -> Path:
    with zipfile.ZipFile(path, "w") as opened:
        for name, content in files.items():
            opened.writestr(name, content)
    return path


async def refusal(stack: RunningStack, source: Path) -> MilepostError:
    before = sorted(Path(tempfile.gettempdir()).glob("milepost-*"))
    known = [one.digest async for one in stack.client.scenarios.list()]
    with pytest.raises(MilepostError) as refused:
        await stack.client.scenarios.upload(source)
    assert sorted(Path(tempfile.gettempdir()).glob("milepost-*")) == before
    assert [one.digest async for one in stack.client.scenarios.list()] == known
    return refused.value


async def test_a_zip_that_climbs_out_is_refused(stack: RunningStack, tmp_path: Path) -> None:
    error = await refusal(stack, archive(tmp_path / "z.zip", **{"../evil.sumocfg": CONFIG}))
    assert error.reason == "SCENARIO_INVALID"
    assert error.metadata["rule"] == "path-escapes"
    assert "../evil.sumocfg" in error.message


async def test_a_zip_with_a_symlink_is_refused(stack: RunningStack, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        link = zipfile.ZipInfo("n.net.xml")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        opened.writestr(link, "/etc/passwd")
        opened.writestr("c.sumocfg", CONFIG)
    (tmp_path / "z.zip").write_bytes(buffer.getvalue())
    error = await refusal(stack, tmp_path / "z.zip")
    assert (error.reason, error.metadata["file"]) == ("SCENARIO_INVALID", "n.net.xml")


async def test_a_missing_net_is_named_with_the_line_that_wants_it(stack: RunningStack, tmp_path: Path) -> None:
    error = await refusal(stack, archive(tmp_path / "z.zip", **{"c.sumocfg": CONFIG, "r.rou.xml": "<routes/>"}))
    assert (error.metadata["file"], error.metadata["line"]) == ("c.sumocfg", "2")
    assert "n.net.xml" in error.message


async def test_a_route_over_a_missing_edge_is_named_with_file_and_line(
    stack: RunningStack, city: Path, tmp_path: Path
) -> None:
    routes = '<routes>\n<vehicle id="v" depart="0">\n<route edges="nowhere"/>\n</vehicle>\n</routes>'
    files = {"c.sumocfg": CONFIG, "n.net.xml": (city / "city.net.xml").read_text(), "r.rou.xml": routes}
    error = await refusal(stack, archive(tmp_path / "z.zip", **files))
    assert (error.metadata["rule"], error.metadata["file"], error.metadata["line"]) == (
        "route-edge-unknown",
        "r.rou.xml",
        "3",
    )
    assert error.violations[0].field == "r.rou.xml:3"


@pytest.mark.parametrize(
    "dtd",
    [
        '<!DOCTYPE routes [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>',
        '<!DOCTYPE routes [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
    ],
)
async def test_entities_are_refused(stack: RunningStack, city: Path, tmp_path: Path, dtd: str) -> None:
    files = {
        "c.sumocfg": CONFIG,
        "n.net.xml": (city / "city.net.xml").read_text(),
        "r.rou.xml": f"{dtd}\n<routes>&a;</routes>",
    }
    error = await refusal(stack, archive(tmp_path / "z.zip", **files))
    assert (error.metadata["rule"], error.metadata["file"]) == ("xml-doctype", "r.rou.xml")


async def test_an_output_to_a_socket_is_refused_and_one_to_an_absolute_path_is_made_harmless(
    stack: RunningStack, city: Path, tmp_path: Path
) -> None:
    victim = tmp_path / "victim.xml"
    net, routes = (city / "city.net.xml").read_text(), "<routes/>"

    def config(target: str) -> str:
        return CONFIG.replace("</input>", f'</input><output><summary-output value="{target}"/></output>')

    files = {"c.sumocfg": config("127.0.0.1:9999"), "n.net.xml": net, "r.rou.xml": routes}
    error = await refusal(stack, archive(tmp_path / "socket.zip", **files))
    assert error.metadata["rule"] == "output-socket"

    files["c.sumocfg"] = config(str(victim))
    scenario = await stack.client.scenarios.upload(archive(tmp_path / "absolute.zip", **files))
    session = await stack.client.sessions.run(SessionSpec(scenario_digest=scenario.digest, end_time_s=10))
    assert session.state == SessionState.SESSION_STATE_COMPLETED
    assert not victim.exists()
    assert [one.name for one in session.artifacts if one.name.endswith("victim.xml")]


async def test_what_only_sumo_can_know_fails_the_session_with_its_words(
    stack: RunningStack, city: Path, tmp_path: Path
) -> None:
    routes = '<routes>\n<vehicle id="v" type="no_such_type" depart="0"><route edges="{}"/></vehicle>\n</routes>'
    net = (city / "city.net.xml").read_text()
    edge = next(part.split('"')[0] for part in net.split('<edge id="')[1:] if not part.startswith(":"))
    files = {"c.sumocfg": CONFIG, "n.net.xml": net, "r.rou.xml": routes.format(edge)}
    scenario = await stack.client.scenarios.upload(archive(tmp_path / "z.zip", **files))
    session = await stack.client.sessions.run(SessionSpec(scenario_digest=scenario.digest))
    assert session.state == SessionState.SESSION_STATE_FAILED
    assert session.failure.reason == FailureReason.FAILURE_REASON_SCENARIO_INVALID
    assert "no_such_type" in " ".join(session.failure.last_words)


async def test_wrong_fields_are_named(stack: RunningStack, city: Path) -> None:
    scenario = await stack.client.scenarios.upload(city)
    cases = {
        "spec.scenario_digest": (SessionSpec(scenario_digest="xyz"), ""),
        "spec.end_time_s": (SessionSpec(scenario_digest=scenario.digest, end_time_s=-1), ""),
        "session_id": (SessionSpec(scenario_digest=scenario.digest), "Not An Id"),
    }
    for field, (spec, session_id) in cases.items():
        with pytest.raises(MilepostError) as refused:
            await stack.client.sessions.create(spec, session_id=session_id)
        assert refused.value.reason == "FIELD_INVALID"
        assert [violation.field for violation in refused.value.violations] == [field]
    with pytest.raises(MilepostError) as unknown:
        await stack.client.sessions.create(SessionSpec(scenario_digest="0" * 64))
    assert unknown.value.reason == "SCENARIO_NOT_FOUND"
    with pytest.raises(MilepostError) as missing:
        await stack.client.sessions.get(f"gone-{uuid.uuid4().hex[:6]}")
    assert missing.value.reason == "SESSION_NOT_FOUND"


async def test_an_option_outside_the_list_is_refused_by_name(stack: RunningStack, city: Path) -> None:
    scenario = await stack.client.scenarios.upload(city)
    spec = SessionSpec(scenario_digest=scenario.digest)
    spec.options.add(name="remote-port", value="1234")
    with pytest.raises(MilepostError) as refused:
        await stack.client.sessions.create(spec)
    assert refused.value.violations[0].field == "spec.options"
    assert "remote-port" in refused.value.violations[0].description
