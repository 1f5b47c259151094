"""A table of text that can be written as CSV or Markdown."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass


@dataclass(frozen=True)
class TextTable:
    """Text in rows and columns."""

    name: str
    """Name of its file."""
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    best: frozenset[tuple[int, int]] = frozenset()
    """Row and column of the cells that stand out, counted from 0."""

    def to_csv(self) -> str:
        """The table as comma-separated values, without its title."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([self.columns, *self.rows])
        return text.getvalue()

    def to_markdown(self) -> str:
        """The table as Markdown, with its title."""
        rows = [
            [f"**{cell}**" if (number, column) in self.best else cell for column, cell in enumerate(row)]
            for number, row in enumerate(self.rows)
        ]
        lines = [self.columns, ["---"] * len(self.columns), *rows]
        return "\n".join([f"### {self.title}", "", *(f"| {' | '.join(line)} |" for line in lines)]) + "\n"
