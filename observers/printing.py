"""How commands print: tables on a terminal, plain columns in a pipe, JSON where it is asked for."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

COLOURS = {
    "running": "cyan",
    "waiting": "blue",
    "paused": "yellow",
    "compensating": "magenta",
    "incident": "bold red",
    "done": "green",
    "failed": "red",
    "cancelled": "dim",
    "continued": "dim",
}


def console() -> Console:
    """The console of stdout as it is now."""
    return Console(file=sys.stdout, markup=False, highlight=False, emoji=False)


def on_terminal() -> bool:
    """Whether somebody looks at stdout."""
    return sys.stdout.isatty()


def clean(text: str) -> str:
    """The text without anything that a terminal would take for a command."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each == "\n" else repr(each)[1:-1] for each in text
    )


def say(text: str) -> None:
    """Some lines, wrapped on a terminal."""
    if on_terminal():
        console().print(Text(clean(text)))
    else:
        sys.stdout.write(f"{clean(text)}\n")


def complain(text: str) -> None:
    """One line on stderr."""
    sys.stderr.write(f"understudy: {clean(' '.join(text.split()))}\n")


def print_json(value: Any) -> None:
    """A value as indented JSON."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], status: int | None = None) -> None:
    """Rows under their heads; ``status`` is the column of statuses, which have colours. In a pipe
    the columns are padded with spaces and nothing is cut off."""
    cleaned = [[clean(cell).replace("\n", " ") for cell in row] for row in rows]
    if not on_terminal():
        _columns(heads, cleaned)
        return
    made = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
    for index, head in enumerate(heads):
        last = index == len(heads) - 1
        made.add_column(head, overflow="fold", no_wrap=not last and index != 0, ratio=None)
    for row in cleaned:
        cells = [Text(cell) for cell in row]
        if status is not None:
            cells[status].stylize(COLOURS.get(row[status], ""))
        made.add_row(*cells)
    console().print(made)


def fields(pairs: Sequence[tuple[str, str]], status: str = "") -> None:
    """Names and values, one pair a line; what has no value is left out."""
    pairs = [(name, clean(value)) for name, value in pairs if value]
    width = max((len(name) for name, _ in pairs), default=0)
    if not on_terminal():
        for name, value in pairs:
            inner = value.replace("\n", "\n" + " " * (width + 2))
            sys.stdout.write(f"{name:<{width}}  {inner}\n")
        return
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in pairs:
        grid.add_row(name, Text(value, style=COLOURS.get(status, "") if value == status else ""))
    console().print(grid)


def _columns(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for row in (heads, *rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        sys.stdout.write("  ".join(cells).rstrip() + "\n")
