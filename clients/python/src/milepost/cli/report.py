"""`milepost report SESSION…`: a page to show to others, and a picture."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from milepost.cli.command import Target
from milepost.report.gather import MAX_SESSIONS, gather
from milepost.report.page import page


async def report(
    target: Target,
    *,
    session_ids: Annotated[
        list[str], typer.Argument(metavar="SESSION...", help="Sessions, the first is compared with.")
    ],
    to: Annotated[Path, typer.Option("--to", "-o", help="The page.")] = Path("report.html"),
    picture: Annotated[Path | None, typer.Option(help="The plots as a PNG, too.")] = None,
    bucket: Annotated[float | None, typer.Option(min=0.001, help="Steps of the lines, simulated s.")] = None,
    title: Annotated[str, typer.Option(help="Title; by default the names of the sessions.")] = "",
) -> None:
    """Write a page with plots and tables of one or several sessions; it needs nothing beside itself."""
    if len(session_ids) > MAX_SESSIONS:
        raise typer.BadParameter(f"at most {MAX_SESSIONS} sessions")
    async with target.client() as client:
        found = await gather(client, session_ids, now=datetime.now(UTC), bucket_s=bucket)
    to.write_text(page(found, title=title), encoding="utf-8")
    print(f"report: {to}")
    if picture is not None:
        # Only here: matplotlib takes half a second to import.
        from milepost.report.picture import draw  # noqa: PLC0415

        draw(found, picture, title=title)
        print(f"picture: {picture}")
