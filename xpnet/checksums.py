"""The list of SHA-256 checksums of the included weights, ONNX models and cards.

The list has the format of `sha256sum`, with paths relative to the project's folder. A listed file
is checked whenever it is loaded. A file that is not listed is a user's own and is not checked. A
command that replaces a listed file, such as `xpnet export`, updates its line
(xpnet.files.replacing), so that a retrained model can be loaded. A signature of the list is then no
longer valid.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from xpnet.errors import UserError
from xpnet.paths import IN_CHECKOUT, ROOT

CHECKSUMS = ROOT / "model-files.sha256"
"""The list."""
LISTED = (
    "training/weights/*.safetensors",
    "training/weights/*.json",
    "triton_models/*/card.json",
    "triton_models/*/1/model.onnx",
    "triton_models/*/onnx/*.onnx",
)
"""Which files the list has. TensorRT plans are not among them: they are built on the target."""
LINE = re.compile(r"([0-9a-f]{64}) [ *](\S.*)")
BLOCK = 1 << 20
WRITE_COMMAND = "xpnet doctor checksums --write"
RESTORE = "restore it (git checkout)" if IN_CHECKOUT else "install the wheel again"


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def read_checksums(path: Path = CHECKSUMS) -> dict[str, str]:
    """Return the SHA-256 of each listed file by its path, relative to the project's folder.

    Args:
        path: The list.

    Raises:
        UserError: It is missing, or a line is not of the format.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: list of checksums cannot be read: {RESTORE}, or make it from the files that "
            f"are there: {WRITE_COMMAND}"
        ) from error
    found = {}
    for number, line in enumerate(lines, 1):
        match = LINE.fullmatch(line)
        if match is None:
            raise UserError(f"{path}, line {number}: expected 64 hexadecimal digits and a path")
        found[match[2]] = match[1]
    return found


def as_text(checksums: Mapping[str, str]) -> str:
    """Return the list in the format of `sha256sum`, in the order of the paths."""
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(checksums.items()))


def current_checksums() -> dict[str, str]:
    """Return the SHA-256 of every file that LISTED names, as it is now."""
    paths = [path for pattern in LISTED for path in ROOT.glob(pattern) if path.is_file()]
    return {path.relative_to(ROOT).as_posix(): sha256(path) for path in paths}


def differences(found: Mapping[str, str]) -> list[str]:
    """Return one line for each difference between the list and the files; empty for none.

    Args:
        found: The files as `current_checksums` returns them.

    Raises:
        UserError: The list cannot be read.
    """
    listed = read_checksums()
    lines = [_difference(ROOT / n, found[n], listed[n]) for n in listed.keys() & found.keys()
             if found[n] != listed[n]]  # fmt: skip
    lines += [f"{ROOT / name}: is listed but missing" for name in listed.keys() - found.keys()]
    lines += [f"{ROOT / name}: is not listed" for name in found.keys() - listed.keys()]
    return sorted(lines)


def check_file(path: Path) -> None:
    """Check a file before it is loaded, if it is listed.

    Args:
        path: A file, or a symbolic link to it. Nothing is done if it is missing.

    Raises:
        UserError: It differs from the list, or it is in the project's folder and the list cannot be
            read.
    """
    name = _name(path)
    if name is None or (expected := read_checksums().get(name)) is None:
        return
    try:
        found = sha256(path)
    except OSError:  # whoever loads it gives the reason
        return
    if found != expected:
        raise UserError(
            f"{_difference(path, found, expected)}: the file is damaged or was changed; "
            f"{RESTORE}, or, if the change is yours: {WRITE_COMMAND}"
        )


def updated_list(path: Path) -> str | None:
    """Return the list with the new checksum of a file, or None if the list stays the same.

    Args:
        path: A file that was written.

    Raises:
        UserError: The list cannot be read.
    """
    name = _name(path)
    if name is None or not CHECKSUMS.is_file():
        return None
    listed = read_checksums()
    if name not in listed or listed[name] == (digest := sha256(path)):
        return None
    return as_text({**listed, name: digest})


def _name(path: Path) -> str | None:
    """Return the path as the list has it, or None for a file that it cannot have."""
    resolved = path.resolve()
    if not resolved.is_relative_to(ROOT):
        return None
    name = resolved.relative_to(ROOT)
    return name.as_posix() if any(name.match(pattern) for pattern in LISTED) else None


def _difference(path: Path, found: str, expected: str) -> str:
    return f"{path}: SHA-256 is {found[:12]}..., {CHECKSUMS.name} has {expected[:12]}..."
