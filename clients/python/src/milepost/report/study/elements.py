"""XML element by element, as it comes."""

from collections.abc import Callable, Iterable
from xml.parsers import expat


def read_elements(
    chunks: Iterable[bytes], start: Callable[[str, dict[str, str]], None], end: Callable[[str], None]
) -> None:
    """Call `start` and `end` for each element. Raises ValueError: no XML, a document type, an attribute missing."""
    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    # A document type may define entities; SUMO writes none.
    parser.StartDoctypeDeclHandler = _refuse
    try:
        for chunk in chunks:
            parser.Parse(chunk, False)  # noqa: FBT003 - expat knows no other way
        parser.Parse(b"", True)  # noqa: FBT003
    except expat.ExpatError as error:
        raise ValueError(f"no XML: {error}") from error
    except KeyError as error:
        raise ValueError(f"line {parser.CurrentLineNumber}: {error} is missing") from error


def _refuse(*_: object) -> None:
    raise ValueError("a document type is not read")
