"""A secret that no other run has, and the search for it in everything that the run left behind."""

import base64
import secrets
from collections.abc import Iterator
from pathlib import Path


class Canary:
    """`secret` is what tests hand to the product; letters and digits only, so that it fits any key's form."""

    def __init__(self) -> None:
        self.secret = f"canary{secrets.token_hex(16)}"
        self._watched: list[Path] = []
        self._heard: list[str] = []

    def watch(self, path: Path) -> None:
        """Search this file or directory, as it is at the end, too."""
        self._watched.append(path)

    def listen(self, where: str, text: str) -> None:
        """Search a text, such as what a test printed, at once."""
        if any(mark in text.encode() for _, mark in self._marks()):
            self._heard.append(where)

    def leaks(self) -> list[str]:
        """The texts, files and file names that hold the secret, plainly or in a common encoding."""
        marks = list(self._marks())
        found = [*self._heard]
        for top in self._watched:
            for path in sorted([top, *top.rglob("*")] if top.is_dir() else [top]):
                content = path.read_bytes() if path.is_file() else b""
                found += [f"{path}: {how}" for how, mark in marks if mark in content or mark in bytes(path)]
        return found

    def _marks(self) -> Iterator[tuple[str, bytes]]:
        plain = self.secret.encode()
        yield "plain", plain
        yield "hexadecimal", plain.hex().encode()
        yield "UTF-16", self.secret.encode("utf-16-le")
        for before in range(3):  # base64 of a text that contains it has one of three forms
            whole = base64.b64encode(b"\0" * before + plain)
            yield "base64", whole[4 if before else 0 : len(whole) - 4]
