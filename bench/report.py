"""How results are shown: a table of rows, readable in a terminal and in Markdown."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One result. `target` is empty and `holds` None where nothing was promised."""

    what: str
    measured: str
    ratio: str
    target: str = ""
    holds: bool | None = None


def table(title: str, rows: list[Row], *, measured: str = "median", target: str = "target") -> str:
    """A Markdown table, its columns aligned. A column in which nothing stands is left out."""
    cells = [("what", measured, "ratio", target, "holds")]
    cells += [(r.what, r.measured, r.ratio, r.target, _word(r.holds)) for r in rows]
    used = [i for i in range(5) if any(line[i] for line in cells[1:])]
    widths = [max(len(line[i]) for line in cells) for i in used]

    def line(values: tuple[str, ...]) -> str:
        first, *rest = (values[i] for i in used)
        others = (value.rjust(width) for value, width in zip(rest, widths[1:], strict=True))
        return "| " + " | ".join([first.ljust(widths[0]), *others]) + " |"

    rule = "|" + "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])]) + "|"
    return "\n".join([f"{title}\n", line(cells[0]), rule, *map(line, cells[1:]), ""])


def _word(holds: bool | None) -> str:
    return "" if holds is None else "yes" if holds else "NO"
