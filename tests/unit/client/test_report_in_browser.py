"""The report as a browser shows it: nothing is asked for, nothing goes wrong, values stand under the pointer."""

from pathlib import Path

import pytest
from test_report import HOSTILE, hostile_session, report_of

from browser import browsing
from milepost.report.page import page


@pytest.mark.timeout(180)
async def test_a_page_is_shown_whole_without_asking_anybody_for_anything(tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    names = (HOSTILE[1], HOSTILE[3])
    report.write_text(page(report_of(*(hostile_session(name) for name in names)), title=HOSTILE[0]), encoding="utf-8")
    async with browsing(tmp_path) as tab:
        await tab.open(report)
        assert await tab.look("document.querySelector('h1').textContent") == HOSTILE[0]
        left, top, width, height = await tab.look(
            "(() => { const box = document.querySelector('svg[data-panel]').getBoundingClientRect();"
            " return [box.left, box.top, box.width, box.height]; })()"
        )
        await tab.point(left + width / 2, top + height / 2)
        tip = await tab.look("document.getElementById('tip').textContent")
        assert [line.partition("  ")[2] for line in tip.split("\n")[1:]] == list(names)
        # Nothing sticks out of the page.
        assert await tab.look("document.documentElement.scrollWidth <= window.innerWidth")
        assert (tab.complaints, tab.requests) == ([], [report.as_uri()])
