"""Words in rows and columns in; CSV or Markdown out."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass


@dataclass(frozen=True)
class TextTable:
    """Words in rows and columns."""

    name: str
    """Of its file."""
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    best: frozenset[tuple[int, int]] = frozenset()
    """Row and column of the cells that stand out."""

    def to_csv(self) -> str:
        """As comma-separated values."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([self.columns, *self.rows])
        return text.getvalue()

    def to_markdown(self) -> str:
        """As Markdown, with its title."""
        rows = [
            [f"**{cell}**" if (number, place) in self.best else cell for place, cell in enumerate(row)]
            for number, row in enumerate(self.rows)
        ]
        lines = [self.columns, ["---"] * len(self.columns), *rows]
        return "\n".join([f"### {self.title}", "", *(f"| {' | '.join(line)} |" for line in lines)]) + "\n"
