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
    note: str = ""
    """What is said below the table."""

    def to_csv(self) -> str:
        """The table as comma-separated values, without its title and note."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([self.columns, *self.rows])
        return text.getvalue()

    def to_markdown(self) -> str:
        """The table as Markdown, with its title and note."""
        rows = [
            [f"**{cell}**" if (number, column) in self.best else cell for column, cell in enumerate(row)]
            for number, row in enumerate(self.rows)
        ]
        lines = [self.columns, ["---"] * len(self.columns), *rows]
        note = ["", self.note] if self.note else []
        return "\n".join([f"### {self.title}", "", *(f"| {' | '.join(line)} |" for line in lines), *note]) + "\n"
