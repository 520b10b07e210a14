"""`milepost admin quota`: what tenants may use, set and shown."""

from typing import Annotated

import typer
from rich.table import Table

from milepost.admin.v1.admin_service_pb2 import Quota, TenantQuota
from milepost.cli.command import Target, console
from milepost.cli.json_form import json_line

_SIZES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_NONE = "none"
_NAMES = ("sessions", "slots", "stored_bytes", "uploads_per_hour", "upload_bytes_per_hour")


def limit_of(text: str | None, option: str) -> int | None:
    """A limit from a number, also with k, M, G or T behind it, or `none`. Raises typer.BadParameter."""
    if text is None or text == _NONE:
        return None
    number = text.rstrip("".join(_SIZES))
    factor = _SIZES.get(text[len(number) :])
    if factor is None or not number.isdecimal():
        raise typer.BadParameter(f"{text!r} is no number (k, M, G, T may follow) and not {_NONE}", param_hint=option)
    return int(number) * factor


async def quota(
    target: Target,
    *,
    tenant: Annotated[str | None, typer.Argument(help="The tenant; by default all quotas that were set.")] = None,
    default: Annotated[bool, typer.Option("--default", help="Of every tenant without a quota of its own.")] = False,
    sessions: Annotated[str | None, typer.Option(metavar="N", help="Sessions that have not ended.")] = None,
    slots: Annotated[str | None, typer.Option(metavar="N", help="Sessions that run at once; more wait.")] = None,
    stored: Annotated[str | None, typer.Option(metavar="BYTES", help="Scenarios and files of sessions.")] = None,
    uploads: Annotated[str | None, typer.Option(metavar="N", help="Uploads per hour.")] = None,
    upload_bytes: Annotated[str | None, typer.Option(metavar="BYTES", help="New scenarios per hour.")] = None,
) -> None:
    """Show what a tenant may use and uses, or set it; `none` lifts a limit."""
    if default and tenant is not None:
        raise typer.BadParameter("is for every tenant without a quota of its own: name none", param_hint="--default")
    given = dict(zip(_NAMES, (sessions, slots, stored, uploads, upload_bytes), strict=True))
    limits = {name: limit_of(text, name) for name, text in given.items() if text is not None}
    if limits and tenant is None and not default:
        raise typer.BadParameter("say whose limits: TENANT or --default")
    name = "" if default else tenant
    async with target.client() as client:
        if limits:
            await client.upkeep.set_quota(name or "", limits)
        if name is None:
            _print_all(target, await client.upkeep.quotas())
            return
        told = await client.upkeep.quota(name)
    if target.json:
        print(json_line(told))
        return
    whose = "the default" if default else "its own" if told.own else "the default's"
    table = Table(title=f"quota of {tenant}, {whose}" if tenant else "the default quota")
    for column in ("", "used", "limit"):
        table.add_column(column, justify="left" if not column else "right")
    for limit in _NAMES:
        used = "" if default else f"{getattr(told.usage, limit)}"
        table.add_row(limit.replace("_", " "), used, _shown(told.quota, limit))
    console().print(table)


def _print_all(target: Target, quotas: dict[str, Quota]) -> None:
    if target.json:
        for tenant, quota in quotas.items():
            print(json_line(TenantQuota(tenant=tenant, quota=quota)))
        return
    table = Table()
    for column in ("tenant", *_NAMES):
        table.add_column(column.replace("_", " "), justify="left" if column == "tenant" else "right")
    for tenant, quota in quotas.items():
        table.add_row(tenant or "(default)", *(_shown(quota, name) for name in _NAMES))
    console().print(table)


def _shown(quota: Quota, name: str) -> str:
    return str(getattr(quota, name)) if quota.HasField(name) else _NONE  # type: ignore[arg-type]
