"""Makes the Python modules of the contracts in protos/, in place, under src/.

Runs as the build hook of the `milepost` distribution (so on every install) and as a script
(`python generate_contracts.py`, which is `make protos`). The path of a proto is its package is its Python
import path, so nothing that protoc writes is edited.
"""

import os
import sys
from pathlib import Path
from typing import Any

from grpc_tools import _proto, protoc
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HERE = Path(__file__).resolve().parent
PROTOS = HERE.parents[1] / "protos"
OUT = HERE / "src"
# google.* comes with protobuf and googleapis-common-protos.
GENERATED = ("milepost", "buf", "externalscaler")


class GenerateContracts(BuildHookInterface[Any]):
    """Hatchling's hook: generates before the files of the distribution are collected."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Generate; called once per build, editable or not."""
        generate()


def generate() -> None:
    """Run protoc once over all contracts; raises SystemExit when it refuses one."""
    sources = sorted(str(path.relative_to(PROTOS)) for name in GENERATED for path in (PROTOS / name).rglob("*.proto"))
    command = [
        "protoc",
        f"-I{PROTOS}",
        f"-I{Path(_proto.__file__).parent if _proto.__file__ else next(iter(_proto.__path__))}",
        f"--python_out={OUT}",
        f"--mypy_out=quiet:{OUT}",
        f"--grpc_python_out={OUT}",
        f"--mypy_grpc_out=quiet,only_async:{OUT}",
        *sources,
    ]
    # The plugins stand beside the interpreter, whether its environment is activated or not.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    if protoc.main(command) != 0:
        sys.exit("protoc refused the contracts")
    for stale in (path for name in GENERATED for path in (OUT / name).rglob("*_pb2*.py*")):
        source = stale.relative_to(OUT).with_name(stale.name.split("_pb2")[0] + ".proto")
        if "__pycache__" not in stale.parts and not (PROTOS / source).exists():
            stale.unlink()
    for services in OUT.rglob("*_pb2_grpc.py"):
        if "class " not in services.read_text():
            services.unlink()
            services.with_suffix(".pyi").unlink(missing_ok=True)


if __name__ == "__main__":
    generate()
