"""`milepost admin gc | retention | rebuild`."""

from typing import Annotated

import typer

from milepost.cli.command import Target
from milepost.cli.json_form import json_line

DRY_RUN = typer.Option("--dry-run", help="Only say what would go.")


async def gc(target: Target, *, dry_run: Annotated[bool, DRY_RUN] = False) -> None:
    """Drop sessions deleted for good, cut earlier runs as set, and erase files that nothing keeps."""
    async with target.client() as client:
        cleaned = await client.upkeep.clean_up(dry_run=dry_run)
    if target.json:
        print(json_line(cleaned))
        return
    would = "would be " if dry_run else ""
    if not dry_run:
        print(f"{cleaned.dropped_sessions} deleted sessions dropped")
    print(f"{cleaned.cut_events} events of earlier runs of {cleaned.cut_sessions} sessions {would}cut")
    print(f"{cleaned.erased_blobs} files with {cleaned.erased_bytes / 1e6:.1f} MB of content {would}erased")


async def retention(target: Target, *, dry_run: Annotated[bool, DRY_RUN] = False) -> None:
    """Delete ended sessions whose time is over; they can be undeleted for a while."""
    async with target.client() as client:
        applied = await client.upkeep.apply_retention(dry_run=dry_run)
    if target.json:
        print(json_line(applied))
        return
    for session in applied.sessions:
        print(f"{session.session_id}  ended {session.end_time.ToDatetime():%Y-%m-%d %H:%M} UTC")
    print(f"{len(applied.sessions)} sessions {'would be ' if dry_run else ''}deleted")


async def rebuild(target: Target) -> None:
    """Make what the server knows of sessions anew, from their logs, while it serves."""
    async with target.client() as client:
        rebuilt = await client.upkeep.rebuild()
    if target.json:
        print(json_line(rebuilt))
        return
    print(
        f"{rebuilt.sessions} sessions: {len(rebuilt.changed)} put right, {len(rebuilt.removed)} without a log removed"
    )
    for session_id in (*rebuilt.changed, *rebuilt.removed):
        print(f"  {session_id}")
