"""The server this user works with and the token for it, kept in a file that nobody else can read.

`$XDG_CONFIG_HOME/milepost/login.json`, by default below `~/.config`. The token goes to the server it was kept for and
to no other.
"""

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from milepost.credentials import Credentials


@dataclass(frozen=True, slots=True)
class Login:
    """What `milepost login` keeps. Paths are absolute; empty: none."""

    server: str
    event_store: str = ""
    token: str = ""
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""

    @property
    def credentials(self) -> Credentials:
        """The proof for this server."""

        def path(name: str) -> Path | None:
            return Path(name) if name else None

        return Credentials(self.token, path(self.tls_ca), path(self.tls_cert), path(self.tls_key))


def login_file() -> Path:
    """Where it is kept."""
    folder = os.environ.get("XDG_CONFIG_HOME")
    return (Path(folder) if folder else Path.home() / ".config") / "milepost" / "login.json"


def keep(login: Login) -> Path:
    """Keep a login in place of the one before; returns where."""
    file = login_file()
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    # Never, not even for a moment, readable for others.
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        json.dump(asdict(login), out, indent=2)
    temporary.replace(file)
    return file


def kept() -> Login | None:
    """The login, if there is one. Raises ValueError for a file that holds none."""
    try:
        text = login_file().read_text()
    except FileNotFoundError:
        return None
    try:
        return Login(**json.loads(text))
    except TypeError as error:
        raise ValueError(f"{login_file()} holds no login") from error


def forget() -> bool:
    """Remove it; whether there was one."""
    with suppress(FileNotFoundError):
        login_file().unlink()
        return True
    return False
