"""The files of a run: one combined CA bundle and the settings of tools that know no variable for it."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from authsome.broker.roots import MOST_BYTES, certificates, system_roots
from authsome.errors import UsageError


def write_run_files(directory: Path, authority: str, roots: Sequence[str]) -> None:
    """`ca.pem` (the system's roots, the person's own, ours), `wgetrc`, `php/authsome.ini`, all 0600 in 0700.

    Raises UsageError, with nothing written, for files of the person's that are refused.
    """
    unique = dict.fromkeys(part for part in (system_roots(), *_own(roots), authority.encode()) if part)
    directory.mkdir(mode=0o700)
    (directory / "php").mkdir(mode=0o700)
    bundle = directory / "ca.pem"
    _write(bundle, b"\n".join(unique))
    _write(directory / "wgetrc", f"ca_certificate = {bundle}\n".encode())
    _write(directory / "php" / "authsome.ini", f"curl.cainfo={bundle}\nopenssl.cafile={bundle}\n".encode())


def _own(paths: Sequence[str]) -> Iterator[bytes]:
    """The certificates of each file. Raises UsageError."""
    size = 0
    for path in dict.fromkeys(paths):
        content = certificates(path)
        size += len(content)
        if size > MOST_BYTES:
            raise UsageError(f"{path}: the files of CA certificates have more than {MOST_BYTES >> 20} MiB together")
        yield content


def _write(path: Path, content: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
