"""What a command line says, after parsing: the command and its values by name."""

from authsome.cli.table import Command


class Given:
    """The values have the kinds that the table declares, so the getters convert nothing."""

    __slots__ = ("command", "values")

    def __init__(self, command: Command, values: dict[str, object]) -> None:
        self.command = command
        self.values = values

    def flag(self, name: str) -> bool:
        """Whether a flag was given."""
        return bool(self.values[name])

    def text(self, name: str) -> str | None:
        """The text of an option or argument, None where it was left out."""
        value = self.values[name]
        return None if value is None else str(value)

    def word(self, name: str) -> str:
        """The text of an argument that cannot be left out."""
        return str(self.values[name])

    def number(self, name: str) -> int:
        """The value of a numeric option."""
        value = self.values[name]
        assert isinstance(value, int)
        return value

    def number_or_none(self, name: str) -> int | None:
        """The value of a numeric option that has none where it was left out."""
        return None if self.values[name] is None else self.number(name)

    def many(self, name: str) -> tuple[str, ...]:
        """The values of an option or argument that may be repeated, in their order."""
        value = self.values[name]
        assert isinstance(value, tuple)
        return value
