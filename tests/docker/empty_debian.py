"""An empty Debian made with debootstrap: the base of the proofs of the Dockerfile.

From this machine it gets only what the package managers need: apt's mirrors and settings, pip's
settings, the resolver and the certificates. `remove_settings` removes them again.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

from xpnet.errors import UserError

SUITE = "bookworm"
PROGRAMS = ("debootstrap", "apt-get", "apt-config")
APT_SETTINGS, PIP_SETTINGS = "etc/apt/apt.conf.d/99proof", "etc/pip.conf"
RESOLVER = ("etc/resolv.conf", "etc/hosts", "etc/hostname")
CERTIFICATES = "etc/certificates-of-this-machine.crt"
SETTINGS = (APT_SETTINGS, PIP_SETTINGS, *RESOLVER, CERTIFICATES)
"""Files that are copied from this machine or made from its settings."""
_URL_OPTIONS = ("index-url", "extra-index-url", "find-links", "proxy")
_OTHER_OPTIONS = ("trusted-host", "timeout", "default-timeout", "retries")


def check_debootstrap() -> None:
    """Check that debootstrap can run. Raises UserError if a program or root is missing."""
    missing = [program for program in PROGRAMS if not shutil.which(program)]
    if missing:
        raise UserError(f"needs {', '.join(missing)}: expected Debian or Ubuntu with debootstrap")
    if os.geteuid():
        raise UserError("needs root, for debootstrap")


def make_empty_debian(root: Path) -> None:
    """Make an empty Debian with debootstrap, and copy the package settings of this machine.

    Args:
        root: Folder of the new root file system.

    Raises:
        UserError: apt has no mirror of this Debian, or debootstrap failed.
    """
    root.parent.mkdir(parents=True, exist_ok=True)
    sources = _apt_sources()
    mirror = next((line.split()[0] for line in sources if line.split()[1] == SUITE), None)
    if mirror is None:
        raise UserError(f"apt has no mirror of Debian {SUITE}")
    log = root.parent / "debootstrap.log"
    command = ["debootstrap", "--variant=minbase", SUITE, str(root), mirror]
    with log.open("w") as file:
        if subprocess.run(command, check=False, stdout=file, stderr=file).returncode:
            raise UserError(f"debootstrap from {mirror} failed: see {log}")
    for archive in (root / "var/cache/apt/archives").glob("*.deb"):
        archive.unlink()
    (root / "etc/apt/sources.list").write_text("".join(f"deb {line}\n" for line in sources))
    apt_settings = _output(["apt-config", "dump", "Acquire"])
    # minbase has no certificate bundle, and packages that are installed later rewrite it.
    (root / APT_SETTINGS).write_text(f'{apt_settings}Acquire::https::CAInfo "/{CERTIFICATES}";\n')
    pip_config = _output([sys.executable, "-m", "pip", "config", "list"])
    (root / PIP_SETTINGS).write_text(select_pip_settings(pip_config))
    bundle = os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")
    shutil.copy(bundle, root / CERTIFICATES)
    for name in RESOLVER[:2]:
        if Path("/", name).is_file():
            shutil.copy(Path("/", name), root / name)


def select_pip_settings(pip_config: str) -> str:
    """Return a pip.conf with only the settings that lead to a package index.

    Folders of this machine are left out, because they do not exist in the new Debian.

    Args:
        pip_config: The output of `pip config list`.
    """
    kept: dict[str, str] = {}
    # Environment variables override every file, so they are read last.
    for line in sorted(pip_config.splitlines(), key=lambda line: line.startswith(":env:")):
        name, _, quoted = line.partition("=")
        option, values = name.rpartition(".")[2], str(ast.literal_eval(quoted)).split()
        if option in _URL_OPTIONS:
            values = [value for value in values if value.startswith(("http://", "https://"))]
        elif option not in _OTHER_OPTIONS:
            continue
        if values:
            kept[option] = " ".join(values)
    kept["cert"] = f"/{CERTIFICATES}"
    return "[global]\n" + "".join(f"{option} = {value}\n" for option, value in kept.items())


def proxy_variables() -> dict[str, str]:
    """Return the environment variables of this machine that set proxies."""
    names = ("http_proxy", "https_proxy", "no_proxy")
    return {name: value for name, value in os.environ.items() if name.lower() in names}


def remove_settings(root: Path, names: tuple[str, ...] = SETTINGS) -> None:
    """Remove the settings of this machine, so that later commands run without them.

    Args:
        root: Folder of the root file system.
        names: The files, relative to `root`.
    """
    for name in names:
        (root / name).unlink(missing_ok=True)


def _apt_sources() -> list[str]:
    """Return apt's sources of this Debian, each as in sources.list without `deb`."""
    form = "$(REPO_URI) $(CODENAME) $(COMPONENT)"
    targets = _output(["apt-get", "indextargets", "--format", form, "Created-By: Packages"])
    return sorted({line for line in targets.splitlines() if line.split()[1].startswith(SUITE)})


def _output(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
