"""`xpnet doctor` on made-up targets below a folder, and the page about compatibility."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT
from xpnet.host import nvidia_software as targets
from xpnet.host.compatibility import (
    RELEASES,
    matches_version_prefix,
    release_of,
)
from xpnet.host.installation import target_checks
from xpnet.host.nvidia_software import (
    Mismatch,
    Module,
    NvidiaSoftware,
    detect_nvidia_software,
    find_mismatches,
)

NVIDIA_PYDS = "/usr/lib/python3/dist-packages/pyds.so"
INDEX_PYDS = "/usr/lib/python3/dist-packages/pyds.py"
DPKG = """Package: nvidia-jetpack
Status: install ok installed
Version: 6.1+b123

Package: libnvinfer10
Status: install ok installed
Version: 10.3.0.30-1+cuda12.5

Package: libnvinfer8
Status: deinstall ok config-files
Version: 8.6.1.6-1+cuda12.0
"""


def put(root: Path, name: str, text: str = "") -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def seen(
    root: Path, driver: str = "", pyds: Module | None = None, numpy: str = "1.26.4"
) -> NvidiaSoftware:
    modules = {"pyds": pyds, "numpy": Module("numpy/__init__.py", numpy)}
    return detect_nvidia_software(
        root, lambda command: driver if "nvidia-smi" in command else "", modules.get
    )


def rtx(root: Path, deepstream: str = "9.1.0") -> None:
    """Make an RTX PC in DeepStream's Triton container."""
    put(root, "opt/nvidia/deepstream/deepstream/version", f"Version: {deepstream}\nGCID: 1\n")
    put(root, "opt/nvidia/deepstream/deepstream/lib/gst-plugins/libnvdsgst_inferserver.so")
    put(root, "opt/tritonserver/lib/libtritonserver.so")
    put(root, "usr/lib/x86_64-linux-gnu/libnvinfer.so.10.16.0")
    put(root, "etc/os-release", 'NAME="Ubuntu"\nVERSION_ID="24.04"\nID=ubuntu\n')


@pytest.fixture(autouse=True)
def _python_of_ubuntu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets.platform, "python_version", lambda: "3.12.3")


def test_pc_with_matching_versions(tmp_path: Path) -> None:
    rtx(tmp_path)
    target = seen(tmp_path, "595.71.05\n595.71.05\n", Module(NVIDIA_PYDS, "1.2.2"))
    assert (target.deepstream, target.tensorrt, target.driver) == ("9.1.0", "10.16.0", "595.71.05")
    assert (target.ubuntu, target.jetson, target.triton) == ("24.04", False, True)
    assert find_mismatches(target) == []
    assert all(check.ok for check in target_checks(target))


def test_jetson_with_matching_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(targets.platform, "python_version", lambda: "3.10.12")
    put(tmp_path, "opt/nvidia/deepstream/deepstream/version", "Version: 7.1\n")
    put(tmp_path, "etc/nv_tegra_release", "# R36 (release), REVISION: 4.0, GCID: 1, BOARD: x\n")
    put(tmp_path, "etc/os-release", 'VERSION_ID="22.04"\nID=ubuntu\n')
    put(tmp_path, "var/lib/dpkg/status", DPKG)
    target = seen(tmp_path, pyds=Module(NVIDIA_PYDS, "1.2.0"))
    assert (target.l4t, target.jetpack, target.tensorrt) == ("36.4.0", "6.1+b123", "10.3.0.30")
    assert find_mismatches(target) == []
    assert "Jetson's Linux 36.4.0" in target_checks(target)[0].found


def test_jetson_in_a_container_is_detected_by_its_device_tree(tmp_path: Path) -> None:
    """NVIDIA's containers may lack /etc/nv_tegra_release."""
    put(tmp_path, "opt/nvidia/deepstream/deepstream/version", "Version: 9.1\n")
    assert not seen(tmp_path).jetson
    put(tmp_path, "proc/device-tree/compatible", "nvidia,p3768-0000+p3767-0000\0nvidia,tegra234\0")
    target = seen(tmp_path)
    assert (target.jetson, target.l4t) == (True, None)
    assert targets.DRIVER not in [m.name for m in find_mismatches(target)]
    assert target_checks(target)[0].found == "Jetson's Linux of an unknown version"


def only(mismatches: list[Mismatch]) -> Mismatch:
    assert len(mismatches) == 1, mismatches
    return mismatches[0]


@pytest.mark.parametrize(
    ("name", "text", "part", "found", "fix"),
    [
        ("etc/os-release", 'VERSION_ID="22.04"\nID=ubuntu\n', "Ubuntu", "22.04, DeepStream 9.1 "
         "needs 24.04", "a container"),
        ("var/lib/dpkg/status", DPKG, "TensorRT", "10.3.0.30, DeepStream 9.1 needs 10.16",
         "TensorRT that comes with it"),
        ("etc/nv_tegra_release", "# R36 (release), REVISION: 4.3, GCID: 1\n", "JetPack",
         "36.4.3, DeepStream 9.1 needs 39.2", "flash JetPack 7.2"),
    ],
)  # fmt: skip
def test_part_of_another_release_is_a_mismatch(
    name: str, text: str, part: str, found: str, fix: str, tmp_path: Path
) -> None:
    rtx(tmp_path)
    put(tmp_path, name, text)
    mismatch = only(find_mismatches(seen(tmp_path, "595.71.05", Module(NVIDIA_PYDS, "1.2.2"))))
    assert (mismatch.name, mismatch.found) == (part, found)
    assert fix in mismatch.fix


@pytest.mark.parametrize(
    ("driver", "expected"),
    [("590.48.01", "needs 595.58 or newer"), ("", "no output of nvidia-smi")],
)
def test_driver_version_is_compared(driver: str, expected: str, tmp_path: Path) -> None:
    rtx(tmp_path)
    mismatch = only(find_mismatches(seen(tmp_path, driver, Module(NVIDIA_PYDS, "1.2.2"))))
    assert mismatch.name == "NVIDIA driver"
    assert expected in mismatch.found


def test_nvinferserver_without_triton(tmp_path: Path) -> None:
    rtx(tmp_path)
    (tmp_path / "opt/tritonserver/lib/libtritonserver.so").unlink()
    mismatch = only(find_mismatches(seen(tmp_path, "595.71.05", Module(NVIDIA_PYDS, "1.2.2"))))
    assert mismatch.found == "the plugin is installed, libtritonserver.so is not"
    assert "9.1-triton-multiarch" in mismatch.fix
    assert "--triton none" in mismatch.fix


def test_container_of_9_2_is_in_another_registry(tmp_path: Path) -> None:
    rtx(tmp_path, "9.2.0")
    (tmp_path / "opt/tritonserver/lib/libtritonserver.so").unlink()
    mismatches = find_mismatches(seen(tmp_path, "595.71.05", Module(NVIDIA_PYDS, "1.2.2")))
    mismatch = only([m for m in mismatches if m.name == "nvinferserver"])
    assert "with Triton of ghcr.io/nvidia/deepstream" in mismatch.fix
    assert "nvcr.io" not in mismatch.fix


@pytest.mark.parametrize(
    ("deepstream", "pyds", "numpy", "found", "fix"),
    [
        (
            "9.1.0",
            None,
            "1.26.4",
            "not installed",
            "scripts/install_pyds.sh, then scripts/setup.sh --deepstream",
        ),
        ("8.0.0", None, "1.26.4", "not installed", "scripts/install_pyds.sh"),
        ("9.1.0", Module(INDEX_PYDS, "0.2.0"), "1.26.4", "0.2.0 from the package index", "pip un"),
        ("9.1.0", Module(NVIDIA_PYDS, "1.2.2"), "2.2.6", "1.2.2 with numpy 2.2.6", "'numpy<2'"),
        (
            "8.0.0",
            Module(NVIDIA_PYDS, "1.2.0"),
            "1.26.4",
            "DeepStream 8.0 needs 1.2.2",
            "pip uninstall pyds, then scripts/",
        ),
    ],
)
def test_pyds(
    deepstream: str, pyds: Module | None, numpy: str, found: str, fix: str, tmp_path: Path
) -> None:
    rtx(tmp_path, deepstream)
    mismatches = find_mismatches(seen(tmp_path, "595.71.05", pyds, numpy))
    mismatch = only([m for m in mismatches if m.name == "pyds"])
    assert found in mismatch.found
    assert fix in mismatch.fix


def test_a_release_that_is_not_in_the_table(tmp_path: Path) -> None:
    rtx(tmp_path, "6.4.0")
    mismatch = find_mismatches(seen(tmp_path, "595.71.05", Module(NVIDIA_PYDS, "1.2.2")))[0]
    assert mismatch.found.startswith("6.4.0, expected one of 7.1, 8.0")


def test_machine_without_nvidia_software_has_no_mismatch(tmp_path: Path) -> None:
    target = seen(tmp_path)
    assert find_mismatches(target) == []
    checks = target_checks(target)
    assert [c.name for c in checks] == ["NVIDIA driver", "DeepStream", "TensorRT", "pyds"]
    assert not any(c.ok or c.required or c.wrong for c in checks)


def test_unrelated_pyds_without_deepstream_is_only_a_warning(tmp_path: Path) -> None:
    checks = target_checks(seen(tmp_path, pyds=Module(INDEX_PYDS, "0.2.0")))
    (wrong,) = [c for c in checks if c.wrong]
    assert not wrong.required
    assert "WRONG    pyds" in wrong.line()
    assert "fix: pip uninstall pyds" in wrong.line()


def test_mismatch_on_a_target_fails_the_doctor(tmp_path: Path) -> None:
    rtx(tmp_path)
    checks = target_checks(seen(tmp_path, "580.1", Module(NVIDIA_PYDS, "1.2.2")))
    assert [c.name for c in checks if not c.ok and c.required] == ["NVIDIA driver"]
    assert len({c.name for c in checks}) == len(checks), "a part has two lines"


@pytest.mark.parametrize(
    ("deepstream", "name", "text", "fix"),
    [
        ("8.0.0", "etc/nv_tegra_release", "# R36 (release), REVISION: 4.3, GCID: 1\n",
         "flash Jetson Linux 38.2"),
        ("9.2.0", "etc/os-release", "", "Python 3.12"),
    ],
)  # fmt: skip
def test_fix_is_complete_where_no_source_states_jetpack_or_ubuntu(
    deepstream: str,
    name: str,
    text: str,
    fix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rtx(tmp_path, deepstream)
    put(tmp_path, name, text)
    if fix.startswith("Python"):
        monkeypatch.setattr(targets.platform, "python_version", lambda: "3.10.12")
    found = find_mismatches(seen(tmp_path, "595.71.05", Module(NVIDIA_PYDS, "1.2.2")))
    assert fix in [m.fix for m in found]


def test_versions_are_compared_by_whole_numbers() -> None:
    assert matches_version_prefix("10.3.0.26", "10.3")
    assert not matches_version_prefix("10.30.1", "10.3")
    assert release_of("9.10.0") is None
    assert len({r.deepstream for r in RELEASES}) == len(RELEASES)


PAGE = ROOT / "docs" / "compatibility.md"


def test_doctor_output_in_the_docs_is_up_to_date(tmp_path: Path) -> None:
    rtx(tmp_path)
    put(tmp_path, "usr/lib/x86_64-linux-gnu/libnvinfer.so.10.16.0")
    put(tmp_path, "var/lib/dpkg/status", DPKG.replace("10.3.0.30", "10.3.0.26"))
    said = [
        c.line() for c in target_checks(seen(tmp_path, "595.71.05", Module(INDEX_PYDS, "0.2.0")))
    ]
    shown = re.search(r"```text\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert shown is not None
    for line in shown[1].splitlines():
        assert line in "\n".join(said).splitlines()
