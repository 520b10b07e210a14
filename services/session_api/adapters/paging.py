"""Page tokens: the (create time, name) or the name of a page's last row, opaque to clients (AIP-158)."""

import base64
import binascii
from datetime import datetime

from milepost.errors.v1 import errors_pb2
from runtime.errors import CallRefused

DEFAULT_PAGE_SIZE = 50
_NAME = "name|"


def encode_token(created: datetime, name: str) -> str:
    """The token of the page after this row."""
    return base64.urlsafe_b64encode(f"{created.isoformat()}|{name}".encode()).decode()


def decode_token(token: str) -> tuple[datetime, str] | None:
    """The row a page begins after; None for the first. Raises CallRefused(PAGE_TOKEN_INVALID)."""
    if not token:
        return None
    try:
        created, _, name = base64.urlsafe_b64decode(token.encode()).decode().partition("|")
        return datetime.fromisoformat(created), name
    except (binascii.Error, UnicodeError, ValueError) as error:
        raise _invalid() from error


def encode_name(name: str) -> str:
    """The token of the page after this name."""
    return base64.urlsafe_b64encode(f"{_NAME}{name}".encode()).decode()


def decode_name(token: str) -> str:
    """The name a page begins after; empty for the first. Raises CallRefused(PAGE_TOKEN_INVALID)."""
    try:
        decoded = base64.urlsafe_b64decode(token.encode()).decode()
    except (binascii.Error, UnicodeError, ValueError) as error:
        raise _invalid() from error
    # PostgreSQL takes no NUL in a text.
    if token and (not decoded.startswith(_NAME) or "\0" in decoded):
        raise _invalid()
    return decoded.removeprefix(_NAME)


def _invalid() -> CallRefused:
    return CallRefused(errors_pb2.ERROR_REASON_PAGE_TOKEN_INVALID, "page_token is none this server made")
