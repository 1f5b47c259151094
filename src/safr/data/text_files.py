"""Reads the texts of a file one after the other: a column of CSV, TSV, JSONL or Parquet, or the lines of a .txt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from safr.data.encoding import check_text
from safr.data.files import CONLL, LINES, SQUAD, SQUAD_COLUMNS, find_format, open_table
from safr.data.splits import Text, split_pair
from safr.errors import InputError


def iter_texts(path: Path, columns: Sequence[str] = ("text",)) -> Iterator[Text]:
    """The texts of a file in its order, read as they are asked for.

    Args:
        path: A file that `open_table` reads, such as a .csv, or a .txt with one text a line.
        columns: The column that holds the texts, or the two of pairs; of no account for .txt and .json.

    Raises:
        InputError: The file can't be read or has no such column, or a text is none or empty; the message names the
            place.
    """
    if find_format(path) == CONLL:
        raise InputError(
            f"{path}: holds words with tags; write texts with double brackets around the word that is asked about, one "
            "a line, into a .txt file"
        )
    if find_format(path) == LINES and len(columns) > 1:
        raise InputError(f"{path}: holds one text a line, not pairs; write pairs into a .csv with two columns")
    if find_format(path) == SQUAD:
        columns = SQUAD_COLUMNS.texts
    for row in open_table(path, columns).rows:
        text = check_text(row.values[0] if len(columns) == 1 else row.values, f"{row.place}: ")
        if not all(part.strip() for part in split_pair(text)):
            raise InputError(f"{row.place}: expected a text with at least one word, got an empty one; leave it out")
        yield text
