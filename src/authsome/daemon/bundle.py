"""The files of a run: one combined CA bundle and the settings of tools that know no variable for it."""

import os
from collections.abc import Sequence
from pathlib import Path

from authsome.broker.roots import certificates, system_roots


def write_run_files(directory: Path, authority: str, roots: Sequence[str]) -> None:
    """`ca.pem` (the system's roots, the person's own, ours), `wgetrc`, `php/authsome.ini`, all 0600 in 0700."""
    directory.mkdir(mode=0o700)
    (directory / "php").mkdir(mode=0o700)
    bundle = directory / "ca.pem"
    parts = [system_roots(), *(certificates(path) for path in dict.fromkeys(roots)), authority.encode()]
    unique = dict.fromkeys(part for part in parts if part)
    _write(bundle, b"\n".join(unique))
    _write(directory / "wgetrc", f"ca_certificate = {bundle}\n".encode())
    _write(directory / "php" / "authsome.ini", f"curl.cainfo={bundle}\nopenssl.cafile={bundle}\n".encode())


def _write(path: Path, content: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
