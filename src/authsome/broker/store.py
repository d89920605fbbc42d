"""The vault from the event loop: every call goes to one worker thread, in order."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from authsome.vault.vault import Vault

T = TypeVar("T")


class Store:
    """`await store(lambda vault: vault.connections())`. Nothing blocks the loop, nothing overlaps."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="vault")

    @property
    def vault(self) -> Vault:
        """The vault itself, for facts that need no query."""
        return self._vault

    async def __call__(self, work: Callable[[Vault], T]) -> T:
        """Run `work` with the vault. Cancelling the caller does not stop a write that has begun."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, self._vault)

    def close(self) -> None:
        """Let what was asked for finish, then close."""
        self._thread.shutdown(wait=True)
        self._vault.close()
