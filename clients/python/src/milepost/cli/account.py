"""`milepost login | logout` and `milepost admin token`: who one is."""

import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import jwt
import typer

from milepost.cli.command import Target, fail_line
from milepost.credentials import Credentials
from milepost.exceptions import Denied
from milepost.login import Login, forget, keep, login_file

SHARED_KEY_VARIABLE = "MILEPOST_AUTH_SHARED_KEY"


def _file(what: str) -> Any:
    return typer.Option(exists=True, dir_okay=False, resolve_path=True, help=what)


async def login(
    target: Target,
    *,
    tls_ca: Annotated[Path | None, _file("Authorities of the server's certificate (PEM).")] = None,
    tls_cert: Annotated[Path | None, _file("Your own certificate (PEM).")] = None,
    tls_key: Annotated[Path | None, _file("Its private key (PEM).")] = None,
) -> None:
    """Keep the address of a server and your token for it, once the server has taken them.

    The token is read from MILEPOST_TOKEN, from standard input, or asked for.
    """
    environment = Credentials.from_environment()
    token = environment.token or _ask_for_token(optional=tls_cert is not None)
    own = Credentials(
        token, tls_ca or environment.tls_ca, tls_cert or environment.tls_cert, tls_key or environment.tls_key
    )
    try:
        async with target.client(own) as client:
            async for _ in client.sessions.list():
                break
    except Denied as denied:
        fail_line(f"{target.address} does not let you in: {denied.message}")
        raise typer.Exit(1) from None
    files = {name: str(path.absolute()) for name in ("tls_ca", "tls_cert", "tls_key") if (path := getattr(own, name))}
    file = keep(Login(server=target.address, event_store=target.event_store or "", token=token, **files))
    print(f"Logged in to {target.address}{_name_in(token)}; kept in {file}.")


def logout() -> None:
    """Forget the address and the token."""
    print(f"{login_file()} is gone." if forget() else "Nobody was logged in.")


def mint(
    subject: Annotated[str, typer.Argument(help="Whose token it is.")],
    *,
    tenant: Annotated[str, typer.Option(help="Their tenant.")],
    admin: Annotated[bool, typer.Option("--admin", help="Whether they look after the installation.")] = False,
    hours: Annotated[float, typer.Option(min=0.01, help="How long it is good for.")] = 8.0,
    issuer: Annotated[str, typer.Option(envvar="MILEPOST_AUTH_ISSUER", help="As the servers want it.")] = "",
    audience: Annotated[str, typer.Option(envvar="MILEPOST_AUTH_AUDIENCE", help="As the servers want it.")] = "",
) -> None:
    """Make a token, signed with the key in MILEPOST_AUTH_SHARED_KEY: for development, and for scripts."""
    key = os.environ.get(SHARED_KEY_VARIABLE)
    if not key:
        fail_line(f"set {SHARED_KEY_VARIABLE} to the key the servers have")
        raise typer.Exit(2)
    now = int(time.time())
    claims: dict[str, object] = {"sub": subject, "tenant": tenant, "iat": now, "exp": now + int(hours * 3600)}
    if admin:
        claims["roles"] = ["admin"]
    claims |= {name: value for name, value in (("iss", issuer), ("aud", audience)) if value}
    print(jwt.encode(claims, key, algorithm="HS256"))


def _ask_for_token(*, optional: bool) -> str:
    if not sys.stdin.isatty():
        token = sys.stdin.readline().strip()
    else:
        token = typer.prompt("Token", hide_input=True, default="" if optional else None, show_default=False).strip()
    if not token and not optional:
        raise typer.BadParameter("no token: set MILEPOST_TOKEN, or give it on standard input")
    return token


def _name_in(token: str) -> str:
    """Whose token it says to be; the server has looked closer."""
    try:
        subject = jwt.decode(token, options={"verify_signature": False}).get("sub", "")
    except jwt.PyJWTError:
        return ""
    return f" as {subject}" if subject else ""
