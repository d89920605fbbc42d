"""The bundled provider files: part of the package, so each is read once, when it is first asked for."""

from dataclasses import dataclass, field
from pathlib import Path

from authsome.catalog.reader import BadFile, Flaw, parse_provider
from authsome.model.provider import Provider

FOLDER = Path(__file__).parent / "providers"


@dataclass(frozen=True, slots=True)
class Bundled:
    """Providers by name; what a file turned out to be is remembered."""

    folder: Path = FOLDER
    _read: dict[str, Provider | BadFile] = field(default_factory=dict)
    _listed: dict[str, None] = field(default_factory=dict)

    def names(self) -> tuple[str, ...]:
        """The names of all bundled files, sorted."""
        if not self._listed:
            self._listed.update(dict.fromkeys(sorted(file.stem for file in self.folder.glob("*.json"))))
        return tuple(self._listed)

    def get(self, name: str) -> Provider | BadFile | None:
        """The provider, what is wrong with its file, or None where there is no such file."""
        if name not in self._read:
            if name not in self.names():
                return None
            self._read[name] = self._parse(name)
        return self._read[name]

    def _parse(self, name: str) -> Provider | BadFile:
        path = f"bundled/{name}.json"
        try:
            provider = parse_provider((self.folder / f"{name}.json").read_bytes())
        except Flaw as flaw:
            return BadFile.of(path, flaw)
        except OSError as error:
            return BadFile(path, (error.strerror or type(error).__name__).lower())
        return provider if provider.name == name else BadFile(path, f"$.name: is {provider.name!r}, unlike the file's")
