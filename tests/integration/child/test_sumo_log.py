"""What SUMO prints is followed while it runs, and understood when it gave up."""

from pathlib import Path

import pytest
from child_runs import TRAFFIC, City, plan, run

from milepost.session.v1.session_pb2 import Engine
from sim_worker.child.zygote import missing_packages
from sim_worker.gateways.sumo_log import MAX_LINE_CHARS, LastWords, LogLines, SumoLog, last_words, says_anything
from sim_worker.gateways.zygote import Zygote

pytestmark = pytest.mark.asyncio(loop_scope="module")

UNKNOWN_EDGE = '<routes><vehicle id="v" depart="0"><route edges="A0B0 nowhere"/></vehicle></routes>'
UNKNOWN_TYPE = '<routes><vehicle id="v" type="tank" depart="0"><route edges="A0B0 B0C0"/></vehicle></routes>'
MALFORMED = '<routes>\n<vehicle id="v" depart="0">\n<route edges="A0B0 B0C0"/>\n</routes>'
UNKNOWN_LANE = '<additional><inductionLoop id="loop" lane="nowhere_0" pos="3" freq="10" file="NUL"/></additional>'


async def test_it_yields_complete_lines_once(tmp_path: Path) -> None:
    path = tmp_path / "sumo.log"
    log = SumoLog(path)
    assert log.read(max_lines=9) == LogLines(())
    path.write_text("Warning: one\n\nWarning: tw")
    assert log.read(max_lines=9) == LogLines(("Warning: one",))
    with path.open("a") as file:
        file.write("o\nWarning: three\n")
    assert log.read(max_lines=9) == LogLines(("Warning: two", "Warning: three"))
    assert log.read(max_lines=9) == LogLines(())


async def test_it_drops_the_oldest_lines_and_says_how_many(tmp_path: Path) -> None:
    path = tmp_path / "sumo.log"
    path.write_text("".join(f"line {n}\n" for n in range(10)))
    assert SumoLog(path).read(max_lines=3) == LogLines(("line 7", "line 8", "line 9"), dropped=7)


async def test_a_line_without_end_is_cut_and_does_not_stop_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "sumo.log"
    path.write_bytes(b"x" * 1_000_000 + b"\nafter\n")
    log = SumoLog(path)
    lines: list[str] = []
    while read := log.read(max_lines=9).lines:
        lines += read
    assert lines[-1] == "after"
    assert max(map(len, lines)) == MAX_LINE_CHARS


async def test_a_log_that_is_not_there_has_no_last_words(tmp_path: Path) -> None:
    assert last_words(tmp_path / "sumo.log") == LastWords()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("Loading done.\n Warning of nothing\n", False),
        ("Loading done.\nWarning: Teleporting vehicle 'v'\n", True),
        ("Error: no\n", True),
        ("", False),
        (None, False),
    ],
)
async def test_it_knows_whether_anything_is_worth_keeping(tmp_path: Path, content: str | None, *, says: bool) -> None:
    path = tmp_path / "sumo.log"
    if content is not None:
        path.write_text(content)
    assert says_anything(path) is says


@pytest.mark.parametrize("engine", [Engine.ENGINE_LIBSUMO, Engine.ENGINE_TRACI], ids=["libsumo", "traci"])
@pytest.mark.parametrize(
    ("traffic", "extra", "message", "place"),
    [
        (UNKNOWN_EDGE, (), "The edge 'nowhere' within the route for vehicle 'v' is not known.", ("", 0)),
        (UNKNOWN_TYPE, (), "The vehicle type 'tank' for vehicle 'v' is not known.", ("", 0)),
        (MALFORMED, (), "expected end of tag 'vehicle'", ("city.rou.xml", 4)),
        (TRAFFIC, ("--additional-files", "scene/loop.add.xml"), "lane with the id 'nowhere_0' is not known", ("", 0)),
        (TRAFFIC, ("--additional-files", "scene/gone.add.xml"), "is not accessible", ("gone.add.xml", 0)),
    ],
    ids=["unknown edge", "unknown type", "malformed", "unknown lane", "missing file"],
)
async def test_why_sumo_refused_a_scenario_is_told_with_file_and_line(
    city: City,
    zygote: Zygote,
    *,
    engine: Engine.ValueType,
    traffic: str,
    extra: tuple[str, ...],
    message: str,
    place: tuple[str, int],
    request: pytest.FixtureRequest,
) -> None:
    if engine == Engine.ENGINE_LIBSUMO and zygote.ready.libsumo_missing:
        pytest.skip(f"libsumo cannot be used here: {zygote.ready.libsumo_missing}")
    directory = city.lay_out(request.node.name, traffic=traffic)
    (directory / "scene" / "loop.add.xml").write_text(UNKNOWN_LANE)
    heard = await run(zygote, directory, plan(engine, *extra))
    assert heard.failed is not None
    assert heard.failed.loading
    words = last_words(directory / "sumo.log")
    assert message in words.message
    assert (words.file, words.line) == place
    assert any(message in line for line in words.lines)


async def test_a_build_without_the_binary_is_told_from_a_bad_scenario(
    city: City, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MILEPOST_SUMO_BINARY", "/nowhere/sumo")
    zygote = await Zygote.start()
    try:
        heard = await run(zygote, city.lay_out("no binary"), plan(Engine.ENGINE_TRACI))
    finally:
        await zygote.close()
    assert heard.failed is not None
    assert heard.failed.engine_unavailable


async def test_a_missing_system_library_is_named_with_its_package() -> None:
    failure = "libGL.so.1: cannot open shared object file: No such file or directory"
    assert missing_packages(failure) == f"{failure} (install libgl1)"
    assert missing_packages("") == ""
