"""Scenarios on disk for the cases: a small city, one that is large, one that is wrong, and hostile ones.

`${bundle:NAME}` in a case is the path of one of them.
"""

import io
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

GRID_END_S = 300
CONFIG = """<configuration>
  <input><net-file value="grid.net.xml"/><route-files value="cars.rou.xml"/></input>
  <time><begin value="0"/><end value="{end_s}"/></time>
</configuration>
"""
ROUTES = """<routes>
  <flow id="east" begin="0" end="200" period="4" from="A0B0" to="C2D2"/>
  <flow id="west" begin="0" end="200" period="5" from="D3C3" to="B1A1"/>
</routes>
"""
# A route over an edge that does not exist, in line 2.
WRONG_ROUTES = """<routes>
  <vehicle id="lost" depart="0"><route edges="A0B0 nowhere"/></vehicle>
</routes>
"""
ENTITY = """<!DOCTYPE routes [<!ENTITY secret SYSTEM "file:///etc/passwd">]>
<routes><vType id="&secret;"/></routes>
"""
# More than one chunk, more than one HTTP/2 window, several times.
LARGE_BYTES = 5 * 1024 * 1024


def make(folder: Path) -> None:
    """All bundles, in a new folder."""
    folder.mkdir(parents=True)
    city = folder / "city"
    city.mkdir()
    netgenerate = Path(sys.executable).with_name("netgenerate")
    subprocess.run(
        [netgenerate, "--grid", "--grid.number", "4", "--output-file", city / "grid.net.xml"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    (city / "cars.rou.xml").write_text(ROUTES)
    (city / "run.sumocfg").write_text(CONFIG.format(end_s=GRID_END_S))

    with zipfile.ZipFile(folder / "city.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(city.iterdir()):
            archive.write(file, file.name)
    large = _copy(city, "large")
    (large / "cars.rou.xml").write_text(f"<!-- {'x' * LARGE_BYTES} -->\n{ROUTES}")
    accented = _copy(city, "stadtplan-żółć-東京")
    (accented / "cars.rou.xml").rename(accented / "fahrten-äöü-🚗.rou.xml")
    (accented / "run.sumocfg").write_text(
        CONFIG.format(end_s=GRID_END_S).replace("cars.rou.xml", "fahrten-äöü-🚗.rou.xml")
    )

    (_copy(city, "wrong") / "cars.rou.xml").write_text(WRONG_ROUTES)
    (_copy(city, "entity") / "cars.rou.xml").write_text(ENTITY)
    (_copy(city, "escape") / "run.sumocfg").write_text(
        CONFIG.format(end_s=GRID_END_S).replace("cars.rou.xml", "../../../../etc/passwd")
    )
    _archive(folder / "traversal.zip", city, _named("../../evil.rou.xml"))
    _archive(folder / "absolute.zip", city, _named("/etc/evil.rou.xml"))
    link = _named("link.rou.xml")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    _archive(folder / "link.zip", city, link, b"/etc/passwd")
    _archive(folder / "bomb.zip", city, _named("bomb.rou.xml"), bytes(600 * 1024 * 1024))
    (folder / "nonsense.zip").write_bytes(b"PK\x03\x04 and then nothing that makes sense")


def contents(path: Path) -> dict[str, bytes]:
    """The files of a bundle by their path in it: what a driver without a disk sends."""
    if path.is_file():
        return {path.name: path.read_bytes()}
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


def _copy(city: Path, name: str) -> Path:
    return Path(shutil.copytree(city, city.with_name(name)))


def _named(name: str) -> zipfile.ZipInfo:
    named = zipfile.ZipInfo(name)
    named.compress_type = zipfile.ZIP_DEFLATED
    return named


def _archive(path: Path, city: Path, evil: zipfile.ZipInfo, content: bytes = ROUTES.encode()) -> None:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(city.iterdir()):
            archive.write(file, file.name)
        archive.writestr(evil, content)
    path.write_bytes(written.getvalue())
