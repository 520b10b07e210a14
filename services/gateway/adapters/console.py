"""The console's files: read once, served as they are."""

from dataclasses import dataclass
from pathlib import Path

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".map": "application/json",
}
_NOT_BUILT = b"The console is not built here. `make console` does it, and needs Node.js.\n"
# Nothing but the gateway's own is loaded, run or called, and no other page frames it.
_POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
_POLICY += "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


@dataclass(frozen=True, slots=True)
class Page:
    """One file of the console, as a response."""

    status: int
    content_type: str
    content: bytes

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Of the response."""
        return [
            (b"content-type", self.content_type.encode()),
            (b"content-length", str(len(self.content)).encode()),
            (b"content-security-policy", _POLICY.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            # Files keep their names from one release to the next.
            (b"cache-control", b"no-cache"),
        ]


def read_console(folder: Path) -> dict[str, Page]:
    """The pages by path; `/` is index.html. Only what lies in the folder itself, and has a type a page is made of."""
    pages = {"/": Page(404, "text/plain; charset=utf-8", _NOT_BUILT)}
    for file in folder.iterdir() if folder.is_dir() else ():
        if file.suffix in _TYPES and file.is_file():
            page = Page(200, _TYPES[file.suffix], file.read_bytes())
            pages["/" if file.name == "index.html" else f"/{file.name}"] = page
    return pages
