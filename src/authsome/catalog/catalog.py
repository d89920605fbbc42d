"""`Catalog`: the providers in force: the bundled ones, and over them the owner's files, without a restart."""

import difflib
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from authsome.catalog.bundled import FOLDER, Bundled
from authsome.catalog.folder import SUFFIX, Folder, Stamp
from authsome.catalog.reader import BadFile, Flaw, parse_provider, read_provider
from authsome.errors import NotAllowed, ProviderExists, ProviderNotFound
from authsome.model.names import PROVIDER
from authsome.model.provider import Provider

__all__ = ["BadFile", "Catalog", "Entry", "Source"]

# A file that changed this recently may change again without its stamp showing it: clocks of file systems are coarse.
_SETTLED = 2_000_000_000
_ALIKE = 0.75  # how much of a name has to be right for a guess: opnai is openai, nope is not


class Source(StrEnum):
    """Where a provider's file lies."""

    BUNDLED = "bundled"
    CUSTOM = "custom"


@dataclass(frozen=True, slots=True)
class Entry:
    """A provider in force."""

    provider: Provider
    source: Source


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a custom file was at one time."""

    stamp: Stamp
    settled: bool
    result: Provider | BadFile


class Catalog:
    """All providers by name. Every call looks for changes first, and may come from any thread."""

    def __init__(self, custom: Path, bundled: Path = FOLDER) -> None:
        self._folder = Folder(custom)
        self._bundled = Bundled(bundled)
        self._lock = threading.RLock()
        self._seen: dict[str, _Seen] = {}
        self._unusable: BadFile | None = None
        self._entries: dict[str, Entry] | None = None

    def entries(self) -> dict[str, Entry]:
        """Every provider in force, sorted by name."""
        with self._lock:
            self._look()
            if self._entries is None:
                names = {*self._bundled.names(), *(name.removesuffix(SUFFIX) for name in self._seen)}
                found = ((name, self._find(name)) for name in sorted(names))
                self._entries = {name: entry for name, entry in found if entry is not None}
            return dict(self._entries)

    def named(self, names: Iterable[str]) -> dict[str, Entry]:
        """Those of these providers that are in force; no other bundled file is read for it."""
        with self._lock:
            self._look()
            found = ((name, self._find(name)) for name in set(names))
            return {name: entry for name, entry in found if entry is not None}

    def get(self, name: str) -> Entry:
        """The provider of that name. Raises ProviderNotFound."""
        with self._lock:
            self._look()
            entry = self._find(name)
            if entry is None:
                raise self._not_found(name)
            return entry

    def sound(self, name: str) -> Entry:
        """As `get`, for what is decided anew: where the owner's own file of that name cannot be used, no other is.

        Raises InvalidProviderFile too, as `install` would.
        """
        with self._lock:
            self._look()
            seen = self._seen.get(f"{name}{SUFFIX}")
            if seen is not None and isinstance(seen.result, BadFile):
                raise seen.result.error()
            return self.get(name)

    def problems(self) -> tuple[BadFile, ...]:
        """Every file that is not used, with what is wrong with it."""
        with self._lock:
            self.entries()
            results = [seen.result for seen in self._seen.values()]
            results += [result for name in self._bundled.names() if (result := self._bundled.get(name)) is not None]
            bad = [result for result in results if isinstance(result, BadFile)]
            if self._unusable is not None:
                bad.append(self._unusable)
            return tuple(sorted(bad, key=lambda file: file.path))

    def install(self, text: str | bytes, *, force: bool = False) -> Entry:
        """Validate a provider file and put it into the owner's folder.

        Raises InvalidProviderFile; ProviderExists where the name is taken and not `force`; NotAllowed
        where the folder cannot be written.
        """
        provider = read_provider(text, "provider file")
        name = provider.name
        with self._lock:
            self._look()
            if not force and f"{name}{SUFFIX}" in self._seen:
                raise ProviderExists(f"{name} is registered already", "pass --force to replace it")
            if not force and self._bundled.get(name) is not None:
                raise ProviderExists(f"{name} is a bundled provider", "pass --force to use your file in its place")
            self._folder.write(f"{name}{SUFFIX}", text.encode() if isinstance(text, str) else text)
            return self.get(name)

    def remove(self, name: str) -> Entry | None:
        """Delete a custom file; the bundled entry that is in force then, if there is one.

        Raises ProviderNotFound; NotAllowed for a provider that is bundled only.
        """
        with self._lock:
            self._look()
            if PROVIDER.match(name) and f"{name}{SUFFIX}" in self._seen:
                self._folder.delete(f"{name}{SUFFIX}")
                self._look()
                return self._find(name)
            if self._bundled.get(name) is not None:
                raise NotAllowed(
                    f"{name} is a bundled provider and stays", "only files that you registered are removed"
                )
            raise self._not_found(name)

    # ── looking ────────────────────────────────────────────────────────────────────────────

    def _look(self) -> None:
        """Read what is new or changed in the owner's folder, forget what is gone."""
        try:
            stamps, self._unusable = self._folder.stamps(), None
        except Flaw as flaw:
            self._unusable = BadFile(self._folder.path.name, str(flaw))
            return  # what was read before stays in force: running out of descriptors must not swap definitions
        now = time.time_ns()
        seen: dict[str, _Seen] = {}
        for filename, stamp in stamps.items():
            known = self._seen.get(filename)
            if known is None or known.stamp != stamp or not known.settled:
                settled = 0 <= stamp.ctime <= now - _SETTLED
                known = _Seen(stamp, settled, self._read(filename))
            seen[filename] = known
        if seen != self._seen:
            self._seen, self._entries = seen, None

    def _read(self, filename: str) -> Provider | BadFile:
        name, path = filename.removesuffix(SUFFIX), self._path(filename)
        if not PROVIDER.match(name):
            return BadFile(path, "the file's name is not a provider's: lower-case letters, digits, '_', '-' and '.'")
        try:
            provider = parse_provider(self._folder.read(filename))
        except Flaw as flaw:
            return BadFile.of(path, flaw)
        if provider.name != name:
            return BadFile(path, f"$.name: is {provider.name!r}, so the file has to be called {provider.name}{SUFFIX}")
        return provider

    def _find(self, name: str) -> Entry | None:
        seen = self._seen.get(f"{name}{SUFFIX}")
        if seen is not None and isinstance(seen.result, Provider):
            return Entry(seen.result, Source.CUSTOM)
        provider = self._bundled.get(name)
        return Entry(provider, Source.BUNDLED) if isinstance(provider, Provider) else None

    def _not_found(self, name: str) -> ProviderNotFound:
        shown = name if PROVIDER.match(name) else ascii(name[:64])
        known = self._seen.get(f"{name}{SUFFIX}")
        if known is not None and isinstance(known.result, BadFile):
            return ProviderNotFound(f"the file of {shown} is not used", f"{known.result.path}: {known.result.message}")
        near = difflib.get_close_matches(name[:64].lower(), self.entries(), 1, _ALIKE)
        hint = f"did you mean {near[0]!r}?" if near else "authsome list shows every provider"
        return ProviderNotFound(f"no provider is called {shown}", hint)

    def _path(self, filename: str) -> str:
        """`providers/x.json`, fit to be shown."""
        shown = "".join(c if c.isprintable() else "?" for c in filename)
        return f"{self._folder.path.name}/{shown}"
