"""`make release-files`: a valid SBOM, the licences of all parts, and checksums."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from xpnet import __version__
from xpnet.checksums import read_checksums
from xpnet.errors import UserError
from xpnet.paths import ROOT

SETUP = (ROOT / "scripts" / "setup.sh").read_text(encoding="utf-8")
WHEEL = f"xpnet-{__version__}-py3-none-any.whl"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = ROOT / "scripts" / "make_release_files.py"
    spec = importlib.util.spec_from_file_location("make_release_files", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made(script: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the script writes, with a wheel in build/dist."""
    build = tmp_path_factory.mktemp("build")
    (build / "dist").mkdir()
    (build / "dist" / WHEEL).write_bytes(b"a wheel")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(script, "BUILD", build)
        script.main()
    return build / "release"


@pytest.fixture(scope="module")
def bill(made: Path) -> dict[str, Any]:
    return dict(json.loads((made / "sbom.cdx.json").read_text(encoding="utf-8")))


def test_bill_is_valid_and_a_wrong_field_is_refused(
    script: ModuleType, bill: dict[str, Any]
) -> None:
    validator = JsonStrictValidator(script.SPEC)
    assert validator.validate_str(json.dumps(bill)) is None
    assert validator.validate_str(json.dumps({**bill, "nonsense": 1})) is not None


def test_bill_has_every_pinned_package_with_its_version(bill: dict[str, Any]) -> None:
    found = {(p["name"], p.get("version")): p for p in bill["components"]}
    names = {canonicalize_name(name): version for name, version in found}
    for file, scope in (
        ("requirements.txt", "required"),
        ("requirements-train.txt", None),
        ("requirements-archive.txt", None),
    ):
        for line in (ROOT / file).read_text(encoding="utf-8").splitlines():
            if line.startswith("#"):
                continue
            pin = Requirement(line)
            version = names[canonicalize_name(pin.name)]
            assert str(pin.specifier) == f"=={version}"
            if scope:
                assert found[pin.name, version]["scope"] == scope
    triton = re.search(r"nvidia-pytriton==(\S+)", SETUP)
    assert triton is not None
    assert names["nvidia-pytriton"] == triton[1]


def test_every_part_of_the_bill_has_a_licence(bill: dict[str, Any]) -> None:
    assert [p["name"] for p in bill["components"] if not p["licenses"]] == []
    x264 = next(p for p in bill["components"] if p["name"] == "libx264")
    assert "GPL-2.0-or-later" in x264["licenses"][0]["license"]["name"]


def test_bill_has_the_models_with_their_checksums(bill: dict[str, Any]) -> None:
    listed = {n: d for n, d in read_checksums().items() if not n.endswith(".json")}
    found = {p["name"]: p["hashes"][0]["content"] for p in bill["components"] if "hashes" in p}
    assert found == listed


def test_licences_have_texts_and_the_page_of_the_other_parts(made: Path) -> None:
    text = (made / "THIRD-PARTY-LICENSES.txt").read_text(encoding="utf-8")
    assert (ROOT / "docs" / "third-party.md").read_text(encoding="utf-8") in text
    assert "PolypGen single frames, centres C1-C5: CC BY 4.0" in text
    assert re.search(r"^numpy \S+: .*BSD.*\n(?s:.*)Redistributions of source code", text, re.M)
    packages = re.split(r"={80}\n(?=\S+ \S+: )", text)[1:]
    assert len(packages) >= 45
    for package in packages:
        assert len(package) > 400 or "contains no licence text" in package, package


def test_checksums_are_those_of_all_files(made: Path) -> None:
    command = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    assert subprocess.run(command, cwd=made, check=False).returncode == 0
    listed = set(read_checksums(made / "SHA256SUMS"))
    assert listed == {WHEEL, "sbom.cdx.json", "THIRD-PARTY-LICENSES.txt"}
    assert listed == {path.name for path in made.iterdir()} - {"SHA256SUMS"}


def test_page_has_every_system_package_that_setup_installs() -> None:
    page = (ROOT / "docs" / "third-party.md").read_text(encoding="utf-8")
    block = re.search(r"packages=\(\n(.*?)\n  \)", SETUP, re.DOTALL)
    assert block is not None
    packages = block[1].split()
    assert "gstreamer1.0-plugins-ugly" in packages
    assert [name for name in packages if f"`{name}`" not in page] == []


def test_another_version_than_the_pinned_one_is_refused(script: ModuleType) -> None:
    with pytest.raises(UserError, match=r"numpy \S+ is installed, expected numpy==1\.0"):
        script.installed(Requirement("numpy==1.0"))
    with pytest.raises(UserError, match=r"no-such-package==1 is not installed"):
        script.installed(Requirement("no-such-package==1"))


@pytest.mark.parametrize("name", ["xpnet-0.0.1-py3-none-any.whl", "xpnet-0.0.1.tar.gz"])
def test_wheel_of_another_version_is_refused(script: ModuleType, tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(UserError, match=rf"{name}: version 0\.0\.1, expected \S+, as xpnet is"):
        script.built_files(tmp_path)
