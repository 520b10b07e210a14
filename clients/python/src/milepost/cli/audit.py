"""`milepost audit [SESSION…]`: who did what, as the logs say it."""

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.table import Table

from milepost.audit import Deed, deeds, uploads
from milepost.cli.command import Target, console

SESSIONS = typer.Argument(metavar="[SESSION]...", help="Only these; by default all of your tenant.")


async def audit(
    target: Target,
    session_ids: Annotated[list[str] | None, SESSIONS] = None,
    *,
    hours: Annotated[float | None, typer.Option(min=0, help="Only what was asked in the last hours.")] = None,
    by: Annotated[str | None, typer.Option(help="Only what this subject asked for.")] = None,
    all_tenants: Annotated[bool, typer.Option("--all-tenants", help="For administrators.")] = False,
) -> None:
    """Tell who asked for what, when, and what became of it. JSON: a line each."""
    since = None if hours is None else datetime.now(UTC) - timedelta(hours=hours)
    async with target.client() as client:
        found = await deeds(client.events, session_ids=session_ids or (), since=since, all_tenants=all_tenants)
        if not session_ids:
            found += [deed async for deed in uploads(client.scenarios, since=since)]
    found = sorted((deed for deed in found if by is None or deed.who == by), key=lambda deed: deed.time)
    if target.json:
        for deed in found:
            print(json.dumps({**asdict(deed), "time": deed.time.isoformat()}))
    else:
        console().print(_table(found, tenants=all_tenants))


def _table(found: list[Deed], *, tenants: bool) -> Table:
    table = Table("time (UTC)", *(["tenant"] if tenants else []), "who", "what", "of", "outcome", "comment", box=None)
    for deed in found:
        tenant = [deed.tenant] if tenants else []
        # Digests are known by their first characters.
        of = deed.subject if deed.seq else deed.subject[:12]
        who = deed.who or "–"
        table.add_row(f"{deed.time:%Y-%m-%d %H:%M:%S}", *tenant, who, deed.what, of, deed.outcome, deed.comment)
    return table
