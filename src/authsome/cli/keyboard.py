"""Lines that the person types or pastes while something else is waited for."""

import os


class Keyboard:
    """Complete lines from a descriptor; `is_open` until its end was read."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._typed = b""
        self.is_open = True

    def fileno(self) -> int:
        """For `select`."""
        return self._descriptor

    def lines(self) -> list[str]:
        """What became complete with one read; call it when there is something to read."""
        part = os.read(self._descriptor, 65536)
        self._typed += part
        if not part:
            self.is_open = False
            self._typed += b"\n" if self._typed else b""
        *complete, self._typed = self._typed.split(b"\n")
        return [line.decode("utf-8", "replace").strip() for line in complete]
