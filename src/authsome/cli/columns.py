"""Rows as aligned columns: plain for files and pipes, drawn with rich on a terminal."""

from collections.abc import Sequence

from authsome.cli.output import Output, clean

Rows = Sequence[Sequence[str]]

_DRAWN_AT_MOST = 500  # rich takes seconds for thousands of rows
_STYLES = {"connected": "green", "expired": "yellow", "needs_login": "red"}


def show(out: Output, header: Sequence[str], rows: Rows) -> None:
    """Print a table to stdout."""
    if out.draws and len(rows) <= _DRAWN_AT_MOST:
        _draw(out, header, rows)
    else:
        out.raw(aligned([header, *rows]))


def aligned(rows: Rows) -> str:
    """Columns as wide as their widest cell, two blanks between them."""
    cells = [[clean(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells)
    return "\n".join(lines) + "\n"


def _draw(out: Output, header: Sequence[str], rows: Rows) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in header:
        table.add_column(name, overflow="fold")  # a name that is cut cannot be typed
    for row in rows:
        table.add_row(*(Text(clean(cell), style=_STYLES.get(cell, "")) for cell in row))
    Console(no_color=not out.colored, highlight=False).print(table)
