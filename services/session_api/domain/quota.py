"""What a tenant may use, and what is said when it wants more."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quota:
    """Limits of a tenant; None: no limit."""

    sessions: int | None = None
    slots: int | None = None
    stored_bytes: int | None = None
    uploads_per_hour: int | None = None
    upload_bytes_per_hour: int | None = None


UNLIMITED = Quota()


@dataclass(frozen=True, slots=True)
class Usage:
    """What is used of a quota."""

    sessions: int = 0
    slots: int = 0
    stored_bytes: int = 0
    uploads_per_hour: int = 0
    upload_bytes_per_hour: int = 0


@dataclass(frozen=True, slots=True)
class OverQuota:
    """A limit that would be passed."""

    quota: str
    """Its name, as a field of Quota."""
    limit: int
    used: int
    retry_after_s: float
    """When it may be worth another try."""
