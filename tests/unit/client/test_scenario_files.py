"""Which files make a scenario, and its digest."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from milepost.exceptions import ScenarioFilesError
from milepost.scenario_files import MAX_FILES, collect, is_zip

CONFIG = """<configuration>
  <input>
    <net-file value="net/city.net.xml"/>
    <route-files value="a.rou.xml, b%20c.rou.xml"/>
    <additional-files value="add/signs.add.xml"/>
  </input>
  <output><tripinfo-output value="trips.xml"/></output>
  <summary-output value="summary.xml"/>
</configuration>"""
SIGNS = """<additional>
  <variableSpeedSign id="v" lanes="e_0" file="speeds.xml"/>
  <edgeData id="d" file="old.xml" edgesFile="edges.txt"/>
</additional>"""


@pytest.fixture
def city(tmp_path: Path) -> Path:
    root = tmp_path / "city"
    files = {
        "run.sumocfg": CONFIG,
        "net/city.net.xml": "<net/>",
        "a.rou.xml": "<routes/>",
        "b c.rou.xml": "<routes/>",
        "add/signs.add.xml": SIGNS,
        "add/speeds.xml": "<vss/>",
        "edges.txt": "edge:e",
        # What SUMO wrote last time and what happens to lie there.
        "trips.xml": "<tripinfos/>",
        "summary.xml": "<summary/>",
        "add/old.xml": "<meandata/>",
        "notes.txt": "hello",
    }
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


NEEDED = [
    "a.rou.xml",
    "add/signs.add.xml",
    "add/speeds.xml",
    "b c.rou.xml",
    "edges.txt",
    "net/city.net.xml",
    "run.sumocfg",
]


def test_a_configuration_brings_what_it_reads_and_nothing_it_wrote(city):
    files = collect(city / "run.sumocfg")

    assert [file.path for file in files.files] == NEEDED
    assert files.config_path == "run.sumocfg"


def test_a_directory_is_its_only_configuration(city):
    (city / "._run.sumocfg").write_text("left by a Mac")

    assert collect(city) == collect(city / "run.sumocfg")


def test_the_digest_is_that_of_the_manifest_text(city):
    files = collect(city)
    lines = ["milepost-scenario 1", "config run.sumocfg"]
    for name in NEEDED:
        content = (city / name).read_bytes()
        lines.append(f"{hashlib.sha256(content).hexdigest()} {len(content)} {name}")

    assert files.manifest == "".join(f"{line}\n" for line in lines)
    assert files.digest == hashlib.sha256(files.manifest.encode()).hexdigest()


def test_a_configuration_may_use_a_net_beside_its_folder(city):
    (city / "variants").mkdir()
    (city / "variants" / "rain.sumocfg").write_text(
        '<configuration><input><net-file value="../net/city.net.xml"/></input></configuration>'
    )

    files = collect(city / "variants" / "rain.sumocfg")

    assert files.config_path == "variants/rain.sumocfg"
    assert [file.path for file in files.files] == ["net/city.net.xml", "variants/rain.sumocfg"]
    assert files.root == city.resolve()


@pytest.mark.parametrize("value", ["../key.pem", "../../id_rsa", "/etc/hostname"])
def test_a_configuration_does_not_take_other_files_of_its_reader_along(tmp_path, value):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "key.pem").write_text("secret")
    (tmp_path / "id_rsa").write_text("secret")
    config = tmp_path / "a" / "b" / "run.sumocfg"
    config.write_text(f'<configuration><input><weight-files value="{value}"/></input></configuration>')

    assert [file.path for file in collect(config).files] == ["run.sumocfg"]


def test_a_symbolic_link_is_refused(city):
    (city / "a.rou.xml").unlink()
    (city / "a.rou.xml").symlink_to(city / "b c.rou.xml")

    with pytest.raises(ScenarioFilesError, match=r"a\.rou\.xml is a symbolic link"):
        collect(city)


def test_a_linked_folder_is_refused(city):
    (city / "net").rename(city / "real")
    (city / "net").symlink_to(city / "real")

    with pytest.raises(ScenarioFilesError, match="net is a symbolic link"):
        collect(city)


def test_what_is_named_but_missing_is_left_to_the_server(city):
    (city / "net" / "city.net.xml").unlink()

    assert "net/city.net.xml" not in [file.path for file in collect(city).files]


def test_a_malformed_configuration_is_left_to_the_server(city):
    (city / "run.sumocfg").write_text("<configuration><input>")

    assert [file.path for file in collect(city).files] == ["run.sumocfg"]


def test_entities_are_not_expanded(city):
    (city / "run.sumocfg").write_text(
        '<!DOCTYPE c [<!ENTITY n "a.rou.xml">]><configuration><input><route-files value="&n;"/></input></configuration>'
    )

    assert [file.path for file in collect(city).files] == ["run.sumocfg"]


def test_no_or_several_configurations_are_refused(tmp_path):
    with pytest.raises(ScenarioFilesError, match=r"holds no \.sumocfg"):
        collect(tmp_path)
    for name in ("a.sumocfg", "b.sumocfg"):
        (tmp_path / name).write_text("<configuration/>")
    with pytest.raises(ScenarioFilesError, match=r"a\.sumocfg, b\.sumocfg"):
        collect(tmp_path)
    with pytest.raises(ScenarioFilesError, match="no such file"):
        collect(tmp_path / "nowhere")


def test_too_many_files_are_refused(tmp_path):
    names = [f"{number}.rou.xml" for number in range(MAX_FILES)]
    for name in names:
        (tmp_path / name).touch()
    value = ",".join(names)
    (tmp_path / "run.sumocfg").write_text(
        f'<configuration><input><route-files value="{value}"/></input></configuration>'
    )

    with pytest.raises(ScenarioFilesError, match=f"limit is {MAX_FILES}"):
        collect(tmp_path)


def test_an_archive_is_known_by_its_content(tmp_path, city):
    with zipfile.ZipFile(tmp_path / "city.bin", "w") as archive:
        archive.write(city / "run.sumocfg", "run.sumocfg")

    assert is_zip(tmp_path / "city.bin")
    assert not is_zip(city / "run.sumocfg")
    assert not is_zip(city)
