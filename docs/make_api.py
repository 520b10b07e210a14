"""Makes docs/api/ from the comments of the protos, which are the specification; `--check` only tells what is stale.

A page per package: its services with their calls, its messages with their fields and rules, its enums. What only
services say to each other is left out.
"""

import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from google.protobuf import text_format
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)
from google.rpc.code_pb2 import Code
from grpc_tools import _proto, protoc

from buf.validate import validate_pb2
from milepost.options.v1 import options_pb2

ROOT = Path(__file__).resolve().parents[1]
PROTOS = ROOT / "protos"
OUT = ROOT / "docs" / "api"
INTERNAL = ("milepost/child/", "milepost/dispatch/", "milepost/event/v1/record.proto", "milepost/options/")
# Field numbers within FileDescriptorProto, DescriptorProto and so on: how a place in a file is written.
_PACKAGE, _MESSAGE, _ENUM, _SERVICE, _METHOD, _FIELD, _NESTED, _NESTED_ENUM, _VALUE = 2, 4, 5, 6, 2, 2, 3, 4, 2
Place = tuple[int, ...]


class Page:
    """One package: the pieces of its files in the order in which they are written."""

    def __init__(self, package: str) -> None:
        self.package = package
        self.about: list[str] = []
        self.services: list[str] = []
        self.messages: list[str] = []
        self.enums: list[str] = []

    @property
    def text(self) -> str:
        """The page as Markdown."""
        title = [f"# {self.package}", "", "Made from the comments of the protos by `make protos`.", ""]
        return "\n".join([*title, *self.about, *self.services, *self.messages, *self.enums]).rstrip() + "\n"

    def add(self, file: FileDescriptorProto) -> None:
        """Add what a file of the package says."""
        said = _Comments(file)
        self.about += said.paragraphs((_PACKAGE,))
        for number, service in enumerate(file.service):
            self.services += self._service(service, (_SERVICE, number), said)
        for number, message in enumerate(file.message_type):
            self.messages += self._message(message, (_MESSAGE, number), said, message.name)
        for number, enum in enumerate(file.enum_type):
            self.enums += self._enum(enum, (_ENUM, number), said, enum.name)

    def _service(self, service: ServiceDescriptorProto, place: Place, said: "_Comments") -> Iterator[str]:
        yield from (f"## {service.name}", "", *said.paragraphs(place))
        for number, method in enumerate(service.method):
            takes = ("stream of " if method.client_streaming else "") + self._link(method.input_type)
            gives = ("stream of " if method.server_streaming else "") + self._link(method.output_type)
            yield from (f"### {method.name}", "", f"{takes} → {gives}", "")
            yield from said.paragraphs((*place, _METHOD, number))

    def _message(self, message: DescriptorProto, place: Place, said: "_Comments", name: str) -> Iterator[str]:
        yield from (f"## {name}", "", *said.paragraphs(place))
        rules = [it for it in (_rules(message.options, validate_pb2.message),) if it]
        yield from (line for rule in rules for line in (f"Rules: {rule}", ""))
        maps = {it.name: it for it in message.nested_type if it.options.map_entry}
        if message.field:
            yield from ("| field | type | what |", "|---|---|---|")
        for number, field in enumerate(message.field):
            what = said.sentence((*place, _FIELD, number))
            rule = _rules(field.options, validate_pb2.field)
            choice = message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else ""
            notes = [f"One of `{choice}`."] if choice and not field.proto3_optional else []
            notes += [f"Rules: {rule}."] if rule else []
            yield f"| `{field.name}` = {field.number} | {self._type(field, maps)} | {' '.join([what, *notes])} |"
        yield ""
        for number, nested in enumerate(message.nested_type):
            if not nested.options.map_entry:
                yield from self._message(nested, (*place, _NESTED, number), said, f"{name}.{nested.name}")
        for number, enum in enumerate(message.enum_type):
            yield from self._enum(enum, (*place, _NESTED_ENUM, number), said, f"{name}.{enum.name}")

    def _enum(self, enum: EnumDescriptorProto, place: Place, said: "_Comments", name: str) -> Iterator[str]:
        yield from (f"## {name}", "", *said.paragraphs(place), "| value | what |", "|---|---|")
        for number, value in enumerate(enum.value):
            status = value.options.Extensions[options_pb2.status]
            what = said.sentence((*place, _VALUE, number))
            yield f"| `{value.name}` = {value.number} | {f'`{Code.Name(status)}`. ' if status else ''}{what} |"
        yield ""

    def _type(self, field: FieldDescriptorProto, maps: dict[str, DescriptorProto]) -> str:
        entry = maps.get(field.type_name.rpartition(".")[2])
        if entry is not None:
            return f"map of {self._type(entry.field[0], {})} to {self._type(entry.field[1], {})}"
        name = FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
        shown = self._link(field.type_name) if field.type_name else name
        if field.label == FieldDescriptorProto.LABEL_REPEATED:
            return f"repeated {shown}"
        return f"optional {shown}" if field.proto3_optional else shown

    def _link(self, type_name: str) -> str:
        full = type_name.lstrip(".")
        found = re.fullmatch(r"(milepost\.(\w+)\.v1)\.([\w.]+)", full)
        if found is None or found[1] == "milepost.options.v1":
            return f"`{full}`"
        page = "" if found[1] == self.package else f"{found[2]}.md"
        return f"[{found[3]}]({page}#{found[3].lower().replace('.', '')})"


class _Comments:
    """The comments of a file by place."""

    def __init__(self, file: FileDescriptorProto) -> None:
        self._said = {tuple(it.path): it.leading_comments for it in file.source_code_info.location}

    def paragraphs(self, place: Place) -> list[str]:
        """As lines of Markdown; what is indented stays as it is drawn."""
        said = [line.removeprefix(" ") for line in self._said.get(place, "").rstrip().splitlines()]
        return [*said, ""] if said else []

    def sentence(self, place: Place) -> str:
        """As one line, for a cell of a table."""
        return " ".join(self._said.get(place, "").split()).replace("|", "\\|")


def _rules(options: object, extension: object) -> str:
    """The rules of buf.validate on something, in one line."""
    if not options.HasExtension(extension):  # type: ignore[attr-defined]
        return ""
    said = text_format.MessageToString(options.Extensions[extension], as_one_line=True)  # type: ignore[attr-defined]
    return f"`{said}`".replace("|", "\\|")


def pages() -> dict[str, str]:
    """The text of every page by its name."""
    files = [it for it in _descriptors() if it.name.startswith("milepost/") and not it.name.startswith(INTERNAL)]
    made: dict[str, Page] = {}
    for file in sorted(files, key=lambda it: it.name):
        made.setdefault(f"{file.package.split('.')[1]}.md", Page(file.package)).add(file)
    return {"README.md": _index(made), **{name: page.text for name, page in made.items()}}


def _index(made: dict[str, Page]) -> str:
    about = "Made from the comments of [the protos](../../protos/milepost) by `make protos`."
    lines = ["# The contracts", "", about, ""]
    for name, page in made.items():
        services = [line.removeprefix("## ") for line in page.services if line.startswith("## ")]
        lines.append(f"* [{page.package}]({name}){': ' if services else ''}{', '.join(services)}")
    return "\n".join(lines) + "\n"


def _descriptors() -> Sequence[FileDescriptorProto]:
    sources = [str(path.relative_to(PROTOS)) for path in sorted((PROTOS / "milepost").rglob("*.proto"))]
    with tempfile.NamedTemporaryFile() as out:
        folders = (f"-I{PROTOS}", f"-I{next(iter(_proto.__path__))}")
        if protoc.main(["protoc", *folders, "--include_source_info", f"--descriptor_set_out={out.name}", *sources]):
            sys.exit("protoc refused the contracts")
        return FileDescriptorSet.FromString(Path(out.name).read_bytes()).file


def main() -> int:
    """Write the pages, or with `--check` name those that are stale; 1 when there are any."""
    made = pages()
    if "--check" in sys.argv:
        there = {path.name: path.read_text() for path in OUT.glob("*.md")}
        stale = sorted(name for name in made.keys() | there.keys() if made.get(name) != there.get(name))
        if stale:
            print(f"docs/api is stale, run `make protos`: {', '.join(stale)}")
        return 1 if stale else 0
    OUT.mkdir(exist_ok=True)
    for page in OUT.glob("*.md"):
        page.unlink()
    for name, text in made.items():
        (OUT / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
