"""The messages between runner and drivers as Python classes, made of the contract beside this file.

The product's own classes come with the client; only `milepost.conformance.v1` is made here, in build/, whenever the
contract is newer.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from grpc_tools import _proto, protoc

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = HERE / "build"
DESCRIPTORS = BUILD / "conformance.binpb"
_CONTRACT = "milepost/conformance/v1/conformance.proto"


def load() -> ModuleType:
    """`conformance_pb2`."""
    made = BUILD / Path(_CONTRACT).with_name("conformance_pb2.py")
    contract = HERE / "proto" / _CONTRACT
    if not made.exists() or made.stat().st_mtime < contract.stat().st_mtime:
        _make()
    spec = importlib.util.spec_from_file_location("milepost_conformance_pb2", made)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _make() -> None:
    BUILD.mkdir(exist_ok=True)
    folders = (HERE / "proto", ROOT / "protos", next(iter(_proto.__path__)))
    done = protoc.main(["protoc", *(f"-I{folder}" for folder in folders), f"--python_out={BUILD}", _CONTRACT])
    if done != 0:
        raise SystemExit("protoc refused the contract of the conformance cases")


pb = load()
