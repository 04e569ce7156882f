"""Builds sdist and wheel and runs the demo from the wheel, in a clean venv out of any checkout.

Usage: scripts/prove_wheel.py [FOLDER]      FOLDER keeps the two files (default: build/dist)

Packages come from the index that pip is configured for. The venv sees the system's packages,
because GStreamer's Python bindings are one of them (scripts/setup.sh does the same).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def call(*words: object, cwd: Path) -> str:
    """Run a program without this project's Python path; return its output, or end with it."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        sys.exit(f"prove_wheel: {' '.join(map(str, words))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def make_venv(folder: Path, *options: str) -> Path:
    """Make a virtual environment on the system's Python and return the path of its Python."""
    call("/usr/bin/python3", "-m", "venv", *options, folder, cwd=folder.parent)
    return folder / "bin" / "python"


def main() -> None:
    """Build, install and run."""
    dist = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build" / "dist").absolute()
    dist.mkdir(parents=True, exist_ok=True)
    for old in (*dist.glob("xpnet-*.whl"), *dist.glob("xpnet-*.tar.gz")):
        old.unlink()
    with tempfile.TemporaryDirectory(prefix="xpnet-wheel-") as name:
        work = Path(name)
        builder = make_venv(work / "builder")
        call(builder, "-m", "pip", "install", "--quiet", "build", cwd=work)
        # Without further options, `build` makes the wheel from the sdist: both are proved.
        call(builder, "-m", "build", "--outdir", dist, ROOT, cwd=work)
        (wheel,) = dist.glob("xpnet-*.whl")
        (sdist,) = dist.glob("xpnet-*.tar.gz")
        for path in (sdist, wheel):
            print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB")
        python = make_venv(work / "clean", "--system-site-packages")
        call(python, "-m", "pip", "install", "--quiet", wheel, cwd=work)
        xpnet = python.with_name("xpnet")
        print(call(xpnet, "--version", cwd=work).strip())
        print(call(xpnet, "doctor", cwd=work).rstrip())
        print(call(xpnet, "run", "demo", "--backend", "onnxruntime", "--output", "masks.mp4",
                   "--json", "summary.json", cwd=work).rstrip())  # fmt: skip
        summary = json.loads((work / "summary.json").read_text(encoding="utf-8"))
        if summary["frames"] != 338 or summary["frames_without_mask"]:
            sys.exit(f"prove_wheel: expected 338 frames, all with a result, found {summary}")
    print("prove_wheel: done")


if __name__ == "__main__":
    main()
