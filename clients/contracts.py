"""Makes `clients/build/contracts.binpb`: what a client in any language is generated from.

A FileDescriptorSet with comments, for `protoc --descriptor_set_in`. Against protos/ it leaves out what only services
say to each other, and the rules of buf.validate: servers judge requests, and a client that knows the rules' own
contract would clash with whoever brings it along, too. Further folders of protos may be named; the drivers of the
conformance cases name theirs:

    python clients/contracts.py [--with tests/conformance/proto] [--out FILE]
"""

import argparse
from pathlib import Path

from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet
from grpc_tools import _proto, protoc

# Registers the extensions that are taken out.
from buf.validate import validate_pb2

HERE = Path(__file__).resolve().parent
PROTOS = HERE.parent / "protos"
OUT = HERE / "build" / "contracts.binpb"
# Between services, or between a worker and its child.
INTERNAL = ("milepost/child/", "milepost/dispatch/", "milepost/event/v1/record.proto")
_RULES = "buf/validate/validate.proto"


def make(out: Path, further: list[Path]) -> None:
    """Write the set to `out`. Raises SystemExit when a contract does not compile."""
    sources = [
        str(path.relative_to(root))
        for root in (PROTOS, *further)
        for path in sorted((root / "milepost").rglob("*.proto"))
    ]
    wanted = [name for name in sources if not name.startswith(INTERNAL)]
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.with_suffix(".draft")
    command = [
        "protoc",
        *(f"-I{root}" for root in (PROTOS, *further, next(iter(_proto.__path__)))),
        "--include_imports",
        "--include_source_info",
        f"--descriptor_set_out={draft}",
        *wanted,
    ]
    if protoc.main(command) != 0:
        raise SystemExit("protoc refused the contracts")
    files = FileDescriptorSet.FromString(draft.read_bytes())
    draft.unlink()
    kept = FileDescriptorSet(file=[without_rules(file) for file in files.file if file.name != _RULES])
    made = kept.SerializeToString(deterministic=True)
    # What is as it was keeps its time: a build that asks for it has nothing to do.
    if not out.exists() or out.read_bytes() != made:
        out.write_bytes(made)


def without_rules(file: FileDescriptorProto) -> FileDescriptorProto:
    """The same file, with no rules of buf.validate in it, and a Java class per message."""
    file.options.java_multiple_files = True
    if _RULES in file.dependency:
        file.dependency.remove(_RULES)
    for message in file.message_type:
        _strip(message)
    return file


def _strip(message: DescriptorProto) -> None:
    message.options.ClearExtension(validate_pb2.message)
    for field in message.field:
        field.options.ClearExtension(validate_pb2.field)
    for oneof in message.oneof_decl:
        oneof.options.ClearExtension(validate_pb2.oneof)
    for nested in message.nested_type:
        _strip(nested)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Make the descriptor set that clients are generated from.")
    parser.add_argument("--with", dest="further", type=Path, action="append", default=[], metavar="FOLDER")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    make(given.out, given.further)


if __name__ == "__main__":
    main()
