"""An empty Debian by debootstrap: what the proofs of the Dockerfile begin with.

Of this machine only its way to the packages comes in: apt's mirrors and settings, pip's settings,
the resolver and the certificates. `take_settings_away` takes them out again.
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
NEEDED = ("debootstrap", "apt-get", "apt-config")
APT, PIP = "etc/apt/apt.conf.d/99proof", "etc/pip.conf"
RESOLVER = ("etc/resolv.conf", "etc/hosts", "etc/hostname")
CERTIFICATES = "etc/certificates-of-this-machine.crt"
SETTINGS = (APT, PIP, *RESOLVER, CERTIFICATES)
"""What comes in from this machine."""
_URLS = ("index-url", "extra-index-url", "find-links", "proxy")
_PLAIN = ("trusted-host", "timeout", "default-timeout", "retries")


def check_debootstrap() -> None:
    """Raises UserError where an empty Debian cannot be made here."""
    missing = [program for program in NEEDED if not shutil.which(program)]
    if missing:
        raise UserError(f"needs {', '.join(missing)}: expected Debian or Ubuntu with debootstrap")
    if os.geteuid():
        raise UserError("needs root, for debootstrap")


def empty_debian(root: Path) -> None:
    """debootstrap from apt's own mirror, and the way to the packages.

    Raises:
        UserError: apt knows no mirror of this Debian, or debootstrap failed.
    """
    root.parent.mkdir(parents=True, exist_ok=True)
    lines = _sources()
    mirror = next((x.split()[0] for x in lines if x.split()[1] == SUITE), None)
    if mirror is None:
        raise UserError(f"apt knows no mirror of Debian {SUITE}")
    log = root.parent / "debootstrap.log"
    command = ["debootstrap", "--variant=minbase", SUITE, str(root), mirror]
    with log.open("w") as file:
        if subprocess.run(command, check=False, stdout=file, stderr=file).returncode:
            raise UserError(f"debootstrap from {mirror} failed: {log} says why")
    for archive in (root / "var/cache/apt/archives").glob("*.deb"):
        archive.unlink()
    (root / "etc/apt/sources.list").write_text("".join(f"deb {line}\n" for line in lines))
    settings = _said(["apt-config", "dump", "Acquire"])
    # Debian's own file of certificates is made anew on the way, and minbase has none.
    (root / APT).write_text(f'{settings}Acquire::https::CAInfo "/{CERTIFICATES}";\n')
    listing = _said([sys.executable, "-m", "pip", "config", "list"])
    (root / PIP).write_text(pip_settings(listing))
    bundle = os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")
    shutil.copy(bundle, root / CERTIFICATES)
    for name in RESOLVER[:2]:
        if Path("/", name).is_file():
            shutil.copy(Path("/", name), root / name)


def pip_settings(listing: str) -> str:
    """pip's file of settings from what `pip config list` says: the way to an index, no more.

    What names a folder of this machine stays behind: it is not there.
    """
    kept: dict[str, str] = {}
    # The environment wins over every file.
    for line in sorted(listing.splitlines(), key=lambda line: line.startswith(":env:")):
        name, _, quoted = line.partition("=")
        option, words = name.rpartition(".")[2], str(ast.literal_eval(quoted)).split()
        if option in _URLS:
            words = [word for word in words if word.startswith(("http://", "https://"))]
        elif option not in _PLAIN:
            continue
        if words:
            kept[option] = " ".join(words)
    kept["cert"] = f"/{CERTIFICATES}"
    return "[global]\n" + "".join(f"{option} = {value}\n" for option, value in kept.items())


def proxies() -> dict[str, str]:
    """The proxies of this machine, as the environment names them."""
    names = ("http_proxy", "https_proxy", "no_proxy")
    return {name: value for name, value in os.environ.items() if name.lower() in names}


def take_settings_away(root: Path, names: tuple[str, ...] = SETTINGS) -> None:
    """So that nothing of this machine helps what runs next."""
    for name in names:
        (root / name).unlink(missing_ok=True)


def _sources() -> list[str]:
    """apt's sources of this Debian, each as sources.list has them without its `deb`."""
    form = "$(REPO_URI) $(CODENAME) $(COMPONENT)"
    found = _said(["apt-get", "indextargets", "--format", form, "Created-By: Packages"])
    return sorted({line for line in found.splitlines() if line.split()[1].startswith(SUITE)})


def _said(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
