"""The files that a wheel contains beside the packages; everything else is in pyproject.toml.

In a checkout these files are at its root, where Triton, the scripts and the pages use them. A wheel
has them in `xpnet/files`, and `xpnet.paths` knows both places.
"""

from __future__ import annotations

import shutil
from fnmatch import fnmatch
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
FOLDERS = ("triton_models", "training/weights", "training/configs", "docs/demo")
FILES = ("LICENSE", "docs/data/bench-ratios.json", "model-files.sha256", "model-files.sha256.sig")
"""The last one only where the list was signed."""
MADE_ON_A_TARGET = ("*.plan", "triton_models/*/1/card.json", "*.cache", "*.pyc", "*.part")
"""TensorRT plans and what belongs to them fit one GPU model only."""


class BuildWithFiles(build_py):
    """Also copies FOLDERS and FILES into the wheel; a checkout has its own."""

    def run(self) -> None:
        """Build the packages, then copy the files."""
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / "xpnet" / "files"
        shutil.rmtree(target, ignore_errors=True)  # of an earlier build
        for folder in FOLDERS:
            for path in sorted((ROOT / folder).rglob("*")):
                name = path.relative_to(ROOT).as_posix()
                if path.is_file() and not any(fnmatch(name, p) for p in MADE_ON_A_TARGET):
                    (target / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(path, target / name)
        for name in FILES:
            if name.endswith(".sig") and not (ROOT / name).is_file():
                continue
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


setup(cmdclass={"build_py": BuildWithFiles})
