"""Generate the stubs in `shared/stubs` from the protos, and lint the protos.

usage: python protos/generate.py [--output FOLDER] [--lint] [--descriptors FILE [--without-rules]]

`buf/validate/validate.proto` is taken from the descriptor that the `protovalidate` wheel carries, `google/rpc` from
`googleapis-common-protos`: nothing foreign is kept in the repository, and no registry of protos is needed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import site
import subprocess
import sys
import tempfile
from pathlib import Path

from google.protobuf import descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2
from protovalidate._gen.buf.validate import validate_pb

PROTOS = Path(__file__).parent
STUBS = PROTOS.parent / "shared" / "stubs"
VALIDATE = "buf/validate/validate.proto"


def main() -> int:
    """Read the arguments and do one of the three."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=STUBS, help="where the stubs go (default: shared/stubs)")
    parser.add_argument("--lint", action="store_true", help="lint with buf instead of generating")
    parser.add_argument("--descriptors", type=Path, help="write the whole contract, all imports included, to one file")
    parser.add_argument(
        "--without-rules", action="store_true", help="leave buf.validate out of it, of which stubs need a module (Go)"
    )
    arguments = parser.parse_args()
    if arguments.descriptors:
        return write_descriptors(arguments.descriptors, with_rules=not arguments.without_rules)
    return lint() if arguments.lint else generate(arguments.output)


def generate(output: Path) -> int:
    """Write the stubs (messages, services and their types) of all protos; on an error the old ones stay."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder)
        outputs = [f"--{kind}_out={made}" for kind in ("python", "mypy")]
        services = [f"--{kind}_out={made}" for kind in ("grpc_python", "mypy_grpc")]
        messages = [name for name in _own_protos() if not name.endswith("_service.proto")]
        code = (
            _protoc([*outputs, *services], [name for name in _own_protos() if name.endswith("_service.proto")])
            or _protoc(outputs, messages)
            or _protoc(outputs, [VALIDATE])
        )
        if code:
            return code
        for package in ("winnow", "winnow/v1", "buf", "buf/validate"):
            (made / package / "__init__.py").touch()
        for package in ("winnow", "buf"):
            shutil.rmtree(output / package, ignore_errors=True)
            shutil.copytree(made / package, output / package)
    return 0


def write_descriptors(file: Path, *, with_rules: bool) -> int:
    """Write the whole contract to one file; its rules are what the services check, callers can do without."""
    code = _protoc([f"--descriptor_set_out={file.absolute()}", "--include_imports"], _own_protos())
    if code or with_rules:
        return code
    contract = descriptor_pb2.FileDescriptorSet.FromString(file.read_bytes())
    contract.DiscardUnknownFields()  # rules are options that are not registered here
    kept = [each for each in contract.file if each.name != VALIDATE]
    for each in kept:
        needed = [name for name in each.dependency if name != VALIDATE]
        del each.dependency[:]
        each.dependency.extend(needed)
    file.write_bytes(descriptor_pb2.FileDescriptorSet(file=kept).SerializeToString())
    return 0


def lint() -> int:
    """Check style and comments. buf reads a descriptor set, so that imports need no registry."""
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "winnow.binpb"
        code = _protoc([f"--descriptor_set_out={image}", "--include_imports", "--include_source_info"], _own_protos())
        buf = shutil.which("buf", path=str(Path(sys.executable).parent)) or "buf"
        command = [buf, "lint", str(image), "--config", "buf.yaml"]
        return code or subprocess.run(command, cwd=PROTOS, check=False).returncode


def _protoc(options: list[str], files: list[str]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        descriptors = Path(folder) / "validate.binpb"
        descriptors.write_bytes(_validate_descriptors())
        roots = [f"-I{PROTOS}", *(f"-I{path}" for path in site.getsitepackages())]
        protoc = [sys.executable, "-m", "grpc_tools.protoc", f"--descriptor_set_in={descriptors}"]
        # The plugins lie beside this Python, also where its environment is not activated.
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        command = [*protoc, *roots, *options, *files]
        return subprocess.run(command, check=False, env={**os.environ, "PATH": path}).returncode


def _validate_descriptors() -> bytes:
    files = descriptor_pb2.FileDescriptorSet()
    for module in (descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2):
        files.file.append(descriptor_pb2.FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb))
    files.file.append(descriptor_pb2.FileDescriptorProto.FromString(validate_pb.desc().proto.to_binary()))
    return files.SerializeToString()


def _own_protos() -> list[str]:
    return sorted(str(path.relative_to(PROTOS)) for path in (PROTOS / "winnow").rglob("*.proto"))


if __name__ == "__main__":
    sys.exit(main())
