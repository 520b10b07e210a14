"""HTML by construction: what is no `Markup` is text, and is escaped. Nothing else in a report writes a tag."""

from collections.abc import Iterable
from html import escape
from typing import TypeAlias


class Markup(str):
    """HTML already."""

    __slots__ = ()


# Elements that have no content and no end.
_VOID = frozenset({"meta", "br"})
# What HTML cannot hold, however it is escaped.
_UNPRINTABLE = dict.fromkeys((*range(9), 11, 12, *range(14, 32), 127), "�")


Child: TypeAlias = "str | Iterable[Child]"
"""Text, markup, or a list of such."""


def tag(name: str, /, *children: Child, **attributes: object) -> Markup:
    """An element. Attributes are named as in Python: `class_`, `data_name`; None leaves one out."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_escaped(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Markup(f"<{name}{given}>")
    return Markup(f"<{name}{given}>{join(children)}</{name}>")


def join(children: Iterable[Child]) -> Markup:
    """Children one after the other; a list of them is flattened."""
    return Markup("".join(_content(child) for child in children))


def _content(child: Child) -> str:
    if isinstance(child, Markup):
        return child
    if isinstance(child, str):
        return _escaped(child)
    return join(child)


def _escaped(text: str) -> str:
    return escape(text.translate(_UNPRINTABLE))
