"""The terminal or pipe that a command writes to: its width, its colours, and what fits into it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from safr.experiments.text_table import TextTable

_UNLIMITED = 10_000
"""Columns of a pipe or a file, whose lines are never cut."""

_PLAIN_TEXT = {"soft_wrap": True, "markup": False, "highlight": False, "emoji": False}
"""Options of rich by which texts, paths and labels are shown as they are, whatever they hold."""


class CommandConsole(Console):
    """A console that shows texts as they are, and cuts no line of a pipe."""

    def __init__(self, **options: object) -> None:
        super().__init__(**(_PLAIN_TEXT | options))  # type: ignore[arg-type]
        if not self.is_terminal and "width" not in options:
            self.width = _UNLIMITED

    def on_broken_pipe(self) -> None:
        """Leave the error to the command line, which ends without a word; rich would end it with status 1."""
        raise BrokenPipeError

    @property
    def has_colours(self) -> bool:
        """Whether colours are seen: not in a pipe, on a terminal without any, and where `NO_COLOR` is set."""
        return self.is_terminal and self.color_system is not None and not self.no_color

    def print_wrapped(self, content: RenderableType) -> None:
        """Print something with its lines broken between words; in a pipe without spaces at their ends."""
        if self.is_terminal:
            self.print(content, soft_wrap=False)
            return
        with self.capture() as captured:
            self.print(content, soft_wrap=False)
        self.print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def print_table(
    console: CommandConsole,
    table: TextTable,
    *,
    stacked: bool = True,
    folded: bool = True,
    left_out_first: Sequence[str] = (),
) -> list[str]:
    """Print a table, without its title and note, in the widest layout that fits the console.

    Args:
        console: Where to.
        table: Its first column are labels. An estimate with an interval is written `value [low, high]`.
        stacked: Whether an interval may stand below its value.
        folded: Whether a label may be broken into lines as wide as a third of the console.
        left_out_first: Columns that are left out before others, which go from the last one on.

    Returns:
        What did not fit: `the intervals`, and the names of columns.
    """
    for layout, left_out in _iter_layouts(table, stacked=stacked, left_out_first=left_out_first):
        for label_width in (None, console.width // 3) if folded else (None,):
            drawn = _draw(layout, label_width)
            wide = console.options.update(width=_UNLIMITED)
            if Measurement.get(console, wide, drawn).maximum <= console.width:
                console.print_wrapped(drawn)
                return left_out
    console.print_wrapped(drawn)
    return left_out


def _iter_layouts(
    table: TextTable, *, stacked: bool, left_out_first: Sequence[str]
) -> Iterator[tuple[TextTable, list[str]]]:
    """The table and narrower ones, each with what it leaves out."""
    yield table, []
    if stacked:
        yield _change_cells(table, "\n["), []
    values = _change_cells(table, None)
    intervals = ["the intervals"] if values.rows != table.rows else []
    others = [name for name in reversed(table.columns[1:]) if name not in left_out_first]
    order = [*left_out_first, *others]
    for count in range(len(order)):
        yield (
            _drop_columns(values, order[:count]),
            [*intervals, *(name for name in table.columns if name in order[:count])],
        )


def _drop_columns(table: TextTable, names: Sequence[str]) -> TextTable:
    kept = [number for number, name in enumerate(table.columns) if name not in names]
    rows = tuple(tuple(row[number] for number in kept) for row in table.rows)
    best = frozenset((row, kept.index(column)) for row, column in table.best if column in kept)
    return TextTable(table.name, table.title, tuple(table.columns[number] for number in kept), rows, best)


def _change_cells(table: TextTable, separator: str | None) -> TextTable:
    """The table with another separator between value and interval, or without intervals."""

    def change(cell: str) -> str:
        value, bracket, interval = cell.partition(" [")
        return value if not bracket or separator is None else f"{value}{separator}{interval}"

    rows = tuple((row[0], *map(change, row[1:])) for row in table.rows)
    return TextTable(table.name, table.title, table.columns, rows, table.best)


def _draw(table: TextTable, label_width: int | None) -> Table:
    """The table for a terminal; cells that stand out are bold and starred, since a pipe has no bold letters."""
    drawn = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for number, name in enumerate(table.columns):
        cells = [row[number] for row in table.rows]
        if number == 0:
            drawn.add_column(name, overflow="fold", max_width=label_width)
        else:
            drawn.add_column(name, justify="right" if _are_numbers(cells) else "left", overflow="fold")
    starred = {column for _, column in table.best}
    for number, row in enumerate(table.rows):
        texts = [Text(cell + " " * (column in starred)) for column, cell in enumerate(row)]
        for column in range(len(row)):
            if (number, column) in table.best:
                texts[column] = Text(f"{row[column]}*", style="bold")
        drawn.add_row(*texts)
    return drawn


def _are_numbers(cells: Iterable[str]) -> bool:
    return all(not cell or cell.lstrip("-–")[:1].isdigit() or cell == "–" for cell in cells)
