"""Keyrings as a child process meets them: one that keeps, and some that do not. Chosen by PYTHON_KEYRING_BACKEND."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import keyring.backend
import keyring.errors

FILE = Path(os.environ.get("FAKE_KEYRING_FILE", "/nonexistent"))


class Keeping(keyring.backend.KeyringBackend):
    """Works; its entries are a JSON file, so that the tests can look."""

    priority = 9

    def _entries(self) -> dict[str, str]:
        return json.loads(FILE.read_text()) if FILE.exists() else {}

    def get_password(self, service: str, username: str) -> str | None:
        return self._entries().get(f"{service} {username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        FILE.write_text(json.dumps({**self._entries(), f"{service} {username}": password}))

    def delete_password(self, service: str, username: str) -> None:
        entries = self._entries()
        del entries[f"{service} {username}"]
        FILE.write_text(json.dumps(entries))


class Prompting(Keeping):
    """Waits for an answer that nobody gives, deaf to SIGTERM, with a child that holds its pipes open."""

    def get_password(self, service: str, username: str) -> str | None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        subprocess.Popen(["sleep", "600"])
        time.sleep(600)
        return None

    def set_password(self, service: str, username: str, password: str) -> None:
        self.get_password(service, username)


class Forgetting(Keeping):
    """Says yes and keeps nothing."""

    def set_password(self, service: str, username: str, password: str) -> None:
        pass


class Locked(Keeping):
    """Refuses, as a locked one does."""

    def get_password(self, service: str, username: str) -> str | None:
        raise keyring.errors.KeyringLocked("locked")

    def set_password(self, service: str, username: str, password: str) -> None:
        raise keyring.errors.KeyringLocked("locked")


class Crashing(Keeping):
    """Fails in a way of its own."""

    def get_password(self, service: str, username: str) -> str | None:
        os.abort()

    set_password = get_password  # type: ignore[assignment]


class Unsafe(Keeping):
    """Works, but says of itself that it is not to be recommended."""

    priority = 0.5


class FullAtTheEnd(Keeping):
    """Keeps the probe, but not the key."""

    def set_password(self, service: str, username: str, password: str) -> None:
        if "(probe)" not in username:
            raise keyring.errors.PasswordSetError("no space")
        super().set_password(service, username, password)
