"""The report of a study: its facts, what is missing, names that are hostile, and what a browser makes of it."""

import base64
import re
from dataclasses import replace
from pathlib import Path

import pytest
from made_up_study import made_up
from test_report import HOSTILE, Reader

from browser import browsing
from milepost.report.study.colours import colours_of, drawn_variants
from milepost.report.study.model import EdgeMeans, StudyReport
from milepost.report.study.page import page
from milepost.report.study.seeds import flipped
from milepost.study.v1.study_pb2 import Ranking, Study, StudyState


def words_of(report: StudyReport) -> str:
    return " ".join(" ".join(Reader(page(report)).texts).split())


def test_a_page_tells_the_answer_the_ranking_and_what_was_run() -> None:
    told = words_of(made_up())
    for fact in (
        "Cycle lengths",
        "cycle 50 is the best of 6",
        "6 variants on 8 seeds",
        "Minimise mean_time_loss_s subject to collisions <= 0 , where less than 0.5 does not matter.",
        "Differences with 95 % intervals",
        "On 1 of 8 seeds the order of the first two is the other way round",
        "is better than cycle 50 on seed 3 (shaded)",
        "Vehicles in the network",
        "Change of speed km/h",
        "2 of 8 2, 5",
        "47 runs with a value 5 of them stored results (11%) 1 failed (2%) 0 not run, of 48",
        "40.0 h simulated 10 min from creation to end 240 × simulated time over real time",
        "cycle 70 2 SUMO died",
        "90 dropped",
        "template junction, version 3",
        "until 28800 s",
        "07:05:00 close edge A0B0",
        "routes.xml replaced by cdcdcdcdcdcd",
        "milepost study run study.yaml",
        "completed: all cells are over",
    ):
        assert fact in told
    # Nobody teleported: nothing to see.
    assert "Teleports" not in told


def test_no_name_becomes_a_tag_or_an_attribute_and_nothing_is_run() -> None:
    plain = Reader(page(made_up(text="plain")))
    assert not plain.scripts
    for text in HOSTILE:
        read = Reader(page(made_up(text=text), title=text))
        assert read.tags <= plain.tags
        assert read.attributes <= plain.attributes
        assert any(text.replace("\u0000", "\ufffd") in found for found in read.texts)


def test_nothing_in_a_page_leads_outside() -> None:
    text = page(made_up())
    assert not re.search(r"https?:|//[a-z]|@import|url\(|<link|<script|\bsrc=|\bhref=", text)
    assert "default-src &#x27;none&#x27;" in text


def test_what_is_missing_is_said_or_left_out() -> None:
    full = made_up()
    bare = StudyReport(study=Study(study_id="s"), ranking=Ranking(), made=full.made)
    told = words_of(bare)
    for fact in ("There is no map", "No run has a value", "No run failed", "Nothing was decided", "no constraints"):
        assert fact in told
    assert "Over simulated time" not in told
    told = words_of(replace(full, map=None, why_no_map="the base is a session", curves=None, decisions=()))
    assert "There is no map: the base is a session." in told
    running = made_up()
    running.study.state = StudyState.STUDY_STATE_RUNNING
    assert "The study still runs" in words_of(running)
    assert "cycle 30" in words_of(made_up(variants=1))


def test_of_many_variants_the_first_fifty_are_shown() -> None:
    told = words_of(made_up(variants=1000, seeds=2, racing=True))
    assert "950 more variants are not shown" in told
    assert "and 950 more variants" in told
    assert "racing, first 4 seeds" in told
    assert len(page(made_up(variants=1000, seeds=2))) < 500_000


def test_lines_are_drawn_of_the_first_and_of_the_baseline() -> None:
    report = made_up(variants=20)
    drawn = drawn_variants(report)
    assert len(drawn) == 6
    assert drawn[0] == report.ranking.variants[0].name
    assert report.ranking.baseline in drawn
    assert flipped(report) == ([3], 8)
    colours = colours_of(report)
    assert list(colours) == drawn  # The curves are of two of them.
    assert len(set(colours.values())) == 6


def test_edges_have_the_colour_of_their_change() -> None:
    report = made_up()
    assert report.map is not None
    shapes = {name: [(0.0, 0.0), (100.0, 0.0)] for name in ("faster", "slower", "same", "empty")}
    before = {name: EdgeMeans(10, 100, 5) for name in shapes}
    after = before | {"faster": EdgeMeans(15, 20, 5), "slower": EdgeMeans(5, 180, 5)}
    after["empty"] = EdgeMeans(float("nan"), float("nan"), 0)
    text = page(replace(report, map=replace(report.map, shapes=shapes, of_baseline=before, of_variant=after)))
    colours = [re.findall(rf'stroke="(#[0-9a-f]+)" [^>]*><title>{name}: ', text) for name in shapes]
    assert colours == [["#08519c"] * 2, ["#a63603"] * 2, ["#c3cad1"] * 2, ["#e6eaee"] * 2]
    assert "Most changed: faster +18.0, slower −18.0." in text
    assert "<title>faster: +18.0 km/h</title>" in text


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_browser_shows_the_page_whole_without_asking_anybody_for_anything(tmp_path: Path) -> None:
    report = tmp_path / "study.html"
    report.write_text(page(made_up(text=HOSTILE[1]), title=HOSTILE[0]), encoding="utf-8")
    async with browsing(tmp_path) as tab:
        await tab.open(report)
        assert await tab.look("document.querySelector('h1').textContent") == HOSTILE[0]
        assert await tab.look("document.querySelectorAll('.map polyline').length") == 2 * (2 * 8 * 7 + 1)
        # Every section has something to show, and nothing sticks out of the page.
        heights = await tab.look("[...document.querySelectorAll('section')].map(one => one.offsetHeight)")
        assert len(heights) == 11
        assert min(heights) > 40
        assert await tab.look("document.documentElement.scrollWidth <= window.innerWidth")
        assert (tab.complaints, tab.requests) == ([], [report.as_uri()])


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_browser_prints_the_page_on_paper_with_nothing_cut_off(tmp_path: Path) -> None:
    report = tmp_path / "study.html"
    report.write_text(page(made_up(variants=30)), encoding="utf-8")
    # As wide as paper between its margins: 186 mm.
    async with browsing(tmp_path, width=703) as tab:
        await tab.open(report)
        await tab.say("Emulation.setEmulatedMedia", media="print")
        assert await tab.look("document.documentElement.scrollWidth <= window.innerWidth")
        assert await tab.look("[...document.querySelectorAll('table')].every(one => one.offsetWidth <= 703)")
        printed = await tab.say("Page.printToPDF", preferCSSPageSize=True, printBackground=True)
    paper = base64.b64decode(printed["data"])
    assert 5 <= len(re.findall(rb"/Type /Page\b", paper)) <= 12
    assert set(re.findall(rb"/MediaBox \[0 0 (\d+)[.\d]* (\d+)", paper)) == {(b"594", b"841")}
