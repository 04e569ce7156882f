"""Puts NVIDIA's perf_analyzer into .triton/perf_analyzer, out of a wheel that carries it.

No package is the program alone: tritonclient 2.40 to 2.51 have it among their scripts. It loads two
libraries that lie beside the server of .triton, under longer names. Run by setup.sh --bench.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

WHEEL = "tritonclient==2.51.0"  # the last one that runs on Debian 12 and Ubuntu 22.04, too
TRITON = Path(__file__).resolve().parents[1] / ".triton"
LIBRARIES = {"libb64.so.0d": "libb64-*.so.0d", "libcudart.so.12": "libcudart-*.so.12*"}


def main() -> None:
    """Installs it, or finds that this version is there."""
    target, partial = TRITON / "perf_analyzer", TRITON / "perf_analyzer.partial"
    stamp = target / "installed"
    if stamp.is_file() and stamp.read_text() == WHEEL:
        return
    print(f"setup: perf_analyzer into .triton (of {WHEEL})")
    for folder in (target, partial):
        shutil.rmtree(folder, ignore_errors=True)
    (partial / "lib").mkdir(parents=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet"]
    subprocess.run(
        [*pip, "--no-deps", "--only-binary", ":all:", "--dest", str(partial), WHEEL], check=True
    )
    (wheel,) = partial.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        (name,) = (n for n in file.namelist() if n.endswith("/bin/perf_analyzer"))
        (partial / "perf_analyzer").write_bytes(file.read(name))
    (partial / "perf_analyzer").chmod(0o755)
    wheel.unlink()
    for short, pattern in LIBRARIES.items():
        (library,) = (TRITON / "nvidia_pytriton.libs").glob(pattern)
        (partial / "lib" / short).symlink_to(f"../../{library.relative_to(TRITON)}")
    (partial / "installed").write_text(WHEEL)
    partial.rename(target)


if __name__ == "__main__":
    main()
