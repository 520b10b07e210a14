"""`milepost study report`: the answer as a page to show."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from milepost.cli.command import Target
from milepost.report.study.gather import gather


async def report(
    target: Target,
    study_id: Annotated[str, typer.Argument(metavar="STUDY", help="The study's id.")],
    to: Annotated[Path, typer.Option("--to", "-o", help="The page.")] = Path("study.html"),
    title: Annotated[str, typer.Option(help="Title; by default the study's name.")] = "",
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The study's file; the page's command runs it, digests aside.")
    ] = None,
) -> None:
    """Write a page with the answer, the ranking, curves and the map of differences; it needs nothing beside itself."""
    # Only here: numpy, which it draws bands with, takes a while to import.
    from milepost.report.study.page import page  # noqa: PLC0415

    async with target.client() as client:
        found = await gather(client, study_id, now=datetime.now(UTC), file=file)
    to.write_text(page(found, title=title), encoding="utf-8")
    print(f"report: {to}")
