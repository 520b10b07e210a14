"""Refusals of templates and of what is to be filled into them."""

from collections.abc import Iterable

from milepost.errors.v1 import errors_pb2
from runtime.errors import CallRefused, FieldViolation
from session_api.application.refusals import fields_invalid
from session_api.domain.template import Wrong

# More violations than this are not listed: an error must fit into gRPC's trailers (8 KiB by default).
MAX_LISTED = 20
# Of one, characters: a file's name or an expression may be long.
MAX_WORDS_CHARS = 300


def no_template(name: str, version: int) -> CallRefused:
    """TEMPLATE_NOT_FOUND."""
    what = f"{name!r} version {version}" if version else repr(name)
    return CallRefused(
        errors_pb2.ERROR_REASON_TEMPLATE_NOT_FOUND,
        f"no template {what}",
        metadata={"name": name, "version": str(version)},
    )


def wrong_fields(wrong: Iterable[Wrong], *, under: str = "") -> CallRefused:
    """FIELD_INVALID; `under`: the path that the fields are below of, with its dot."""
    return fields_invalid(violations(wrong, under=under))


def violations(wrong: Iterable[Wrong], *, under: str = "") -> list[FieldViolation]:
    """As many as are listed."""
    return [FieldViolation(f"{under}{one.field}", one.description[:MAX_WORDS_CHARS]) for one in wrong][:MAX_LISTED]
