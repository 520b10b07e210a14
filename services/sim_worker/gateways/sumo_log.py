"""SUMO's messages, which a child writes to `sumo.log`: followed while it runs, understood when it failed."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# Read at once; a session that prints more waits for the next look.
_READ_BYTES: Final = 256 * 1024
# A longer line is cut.
MAX_LINE_CHARS: Final = 2_000
# Looked at for the last words, and kept of them.
_TAIL_BYTES: Final = 64 * 1024
_LAST_WORDS_LINES: Final = 20
# Where scenarios' files are in a session's directory.
_SCENE_PREFIX: Final = "scene/"

_ERROR: Final = re.compile(r"^(?:Fatal )?Error: *(.*)")
# "In file 'scene/x.rou.xml'", "File 'scene/x.net.xml' is not accessible"; "At line/column 4/3."
_FILE: Final = re.compile(r"\b[Ff]ile '([^']+)'")
_LINE: Final = re.compile(r"\bAt line/column (\d+)")


@dataclass(frozen=True, slots=True)
class LogLines:
    """Complete lines, oldest first, and how many there were before them that are left out."""

    lines: tuple[str, ...]
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class LastWords:
    """Why SUMO gave up: its last lines; its message, file (inside the scenario) and line where it named them."""

    lines: tuple[str, ...] = ()
    file: str = ""
    line: int = 0
    message: str = ""


class SumoLog:
    """Follows the file from its begin; a file that is not there yet is an empty one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def read(self, *, max_lines: int) -> LogLines:
        """The complete lines since the last call, at most `max_lines`, the newest ones."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                read = file.read(_READ_BYTES)
        except FileNotFoundError:
            return LogLines(())
        end = read.rfind(b"\n") + 1
        if not end and len(read) == _READ_BYTES:
            # One line that fills all that is read at once: no sense in waiting for its end.
            end = len(read)
        self._offset += end
        lines = [line for line in _lines(read[:end]) if line]
        kept = lines[max(0, len(lines) - max_lines) :]
        return LogLines(tuple(kept), len(lines) - len(kept))


def is_noteworthy(line: str) -> bool:
    """Whether a line warns, or says what went wrong."""
    return line.startswith(("Warning", "Error"))


def says_anything(path: Path) -> bool:
    """Whether any line of it is noteworthy; a file that is not there is an empty one."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return any(is_noteworthy(line) for line in file)
    except FileNotFoundError:
        return False


def last_words(path: Path) -> LastWords:
    """What SUMO said before it gave up. Empty when it said nothing."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            lines = [line for line in _lines(file.read()) if line]
    except FileNotFoundError:
        return LastWords()
    block = _first_error(lines)
    text = " ".join(line.strip() for line in block)
    file_match, line_match = _FILE.search(text), _LINE.search(text)
    return LastWords(
        lines=tuple(lines[-_LAST_WORDS_LINES:]),
        file=file_match[1].removeprefix(_SCENE_PREFIX) if file_match else "",
        # SUMO adds one to what its parser says, which counts from one already.
        line=max(1, int(line_match[1]) - 1) if line_match else 0,
        message=text[:MAX_LINE_CHARS],
    )


def _first_error(lines: list[str]) -> list[str]:
    """The first error with the indented lines that belong to it; later ones follow from it."""
    for index, line in enumerate(lines):
        if match := _ERROR.match(line):
            block = [match[1]]
            for following in lines[index + 1 :]:
                if not following.startswith(" "):
                    break
                block.append(following)
            return block
    return []


def _lines(read: bytes) -> list[str]:
    return [line[:MAX_LINE_CHARS].rstrip() for line in read.decode(errors="replace").splitlines()]
