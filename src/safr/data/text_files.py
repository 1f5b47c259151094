"""Reads the texts of a file one after the other: a column of CSV, TSV, JSONL or Parquet, or the lines of a .txt."""

from __future__ import annotations

import io
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import IO, Any, cast

from safr.data.encoding import check_text
from safr.data.files import EXTENSIONS, find_format, open_regular_file, open_table
from safr.data.messages import shorten_path
from safr.data.splits import Text, split_pair
from safr.errors import InputError, shorten_text


def iter_texts(path: Path, columns: Sequence[str] = ("text",)) -> Iterator[Text]:
    """The texts of a file in its order, read as they are asked for.

    Args:
        path: A file ending in .csv, .tsv, .jsonl or .parquet, compressed or not as `open_table` has it, or in .txt, in
            UTF-8 with one text a line.
        columns: The column that holds the texts, or the two of pairs; of no account for .txt.

    Raises:
        InputError: The file can't be read or has no such column, or a text is none or empty; the message names the
            place.
    """
    is_lines = path.suffix.lower() == ".txt"
    if not is_lines and find_format(path) is None:
        endings = ", ".join((*EXTENSIONS, ".txt"))
        ending = shorten_text(path.suffix, 20) or "no ending"
        raise InputError(f"{shorten_path(path)}: expected a file ending in {endings}, got {ending!r}")
    rows = _iter_lines(path) if is_lines else _iter_columns(path, columns)
    with closing(rows):
        for place, value in rows:
            text = check_text(value, f"{place}: ")
            if not all(part.strip() for part in split_pair(text)):
                raise InputError(f"{place}: expected a text with at least one word, got an empty one; leave it out")
            yield text


def _iter_columns(path: Path, columns: Sequence[str]) -> Generator[tuple[str, Any], None, None]:
    """The values of a column, or of two as pairs, with their places."""
    for row in open_table(path, columns).rows:
        yield row.place, row.values[0] if len(columns) == 1 else row.values


def _iter_lines(path: Path) -> Generator[tuple[str, str], None, None]:
    """The lines of a text file with their places."""
    shown, number = shorten_path(path), 0
    with io.TextIOWrapper(cast("IO[bytes]", open_regular_file(path)), "utf-8-sig", newline="\n") as file:
        try:
            for line in file:
                number += 1
                yield f"{shown}, line {number}", line.rstrip("\r\n")
        except UnicodeDecodeError:
            raise InputError(f"{shown}, after line {number}: not UTF-8; save the file as UTF-8") from None
