"""Signatures of files by SSH keys, checked with OpenSSH's ssh-keygen."""

from __future__ import annotations

import subprocess
from pathlib import Path

from xpnet.errors import UserError, not_installed

NAMESPACE = "xpnet-models"
"""What the signature is for; scripts/sign_checksums.sh signs with it."""


def verify_signature(path: Path, allowed_signers: Path) -> str:
    """Check the signature FILE.sig of a file.

    Args:
        path: The signed file.
        allowed_signers: The accepted keys with their owners, see ALLOWED SIGNERS in ssh-keygen(1).

    Returns:
        The owner of the key.

    Raises:
        UserError: A file or ssh-keygen is missing, the key is not accepted, or the file is not the
            one that was signed.
    """
    signature = path.with_name(f"{path.name}.sig")
    if not signature.is_file():
        raise UserError(
            f"{signature}: no signature of {path.name}; scripts/sign_checksums.sh signs"
        )
    if not allowed_signers.is_file():
        raise UserError(f"{allowed_signers}: no such file of allowed signers")
    found = _keygen("find-principals", "-s", signature, "-f", allowed_signers)
    owners = found.stdout.splitlines()
    if found.returncode != 0 or not owners:
        raise UserError(f"{signature}: is not by a key of {allowed_signers}")
    checked = _keygen(
        "verify", "-f", allowed_signers, "-I", owners[0], "-n", NAMESPACE, "-s", signature,
        stdin=path.read_bytes(),
    )  # fmt: skip
    if checked.returncode != 0:
        raise UserError(f"{signature}: is not valid for {path.name}: expected the list as signed")
    return owners[0]


def _keygen(
    action: str, *words: str | Path, stdin: bytes = b""
) -> subprocess.CompletedProcess[str]:
    command = ["ssh-keygen", "-Y", action, *map(str, words)]
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, check=False)
    except OSError as error:
        hint = "apt-get install openssh-client"
        raise not_installed("ssh-keygen", "the check of a signature", hint) from error
    text = done.stdout.decode(errors="replace")
    return subprocess.CompletedProcess(command, done.returncode, text)
