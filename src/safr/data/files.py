"""Reads chosen columns of CSV, TSV, JSONL and Parquet files, and finds the files of a folder's splits."""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safr.errors import InputError

EXTENSIONS = (".csv", ".tsv", ".jsonl", ".parquet")
SPLIT_STEMS = {"train": ("train",), "dev": ("dev", "validation", "valid", "val"), "test": ("test",)}
_LONGEST_FIELD = 2**31 - 1  # the largest that csv accepts on every platform; its own default is 131,072


@dataclass(frozen=True)
class RawRow:
    """One row: the values of the chosen columns, and their place, such as "reviews.csv, line 7"."""

    place: str
    values: tuple[Any, ...]


def read_rows(path: Path, columns: Sequence[str]) -> list[RawRow]:
    """The rows of one file, in its order; a file that cannot be read raises an `InputError` that says why."""
    match path.suffix.lower():
        case ".csv":
            rows = _read_delimited(path, columns, ",")
        case ".tsv":
            rows = _read_delimited(path, columns, "\t")
        case ".jsonl":
            rows = _read_jsonl(path, columns)
        case ".parquet":
            rows = _read_parquet(path, columns)
        case suffix:
            raise InputError(
                f"{path}: expected a file ending in {', '.join(EXTENSIONS)}, got {suffix or 'no ending'!r}"
            )
    if not rows:
        raise InputError(f"{path}: no rows; expected one labelled text a row")
    return rows


def split_files(folder: Path) -> dict[str, Path]:
    """The files of a folder by split: always "train", and "dev" and "test" if the folder has them."""
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in EXTENSIONS and path.is_file())
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror}); check its permissions") from None
    file_of_split: dict[str, Path] = {}
    for split, stems in SPLIT_STEMS.items():
        candidates = [path for path in files if path.stem.lower() in stems]
        if len(candidates) > 1:
            names = ", ".join(path.name for path in candidates)
            raise InputError(f"{folder}: expected one file for {split}, found {names}; keep one of them")
        if candidates:
            file_of_split[split] = candidates[0]
    if "train" not in file_of_split:
        names = ", ".join(path.name for path in files[:10]) or "no data file"
        raise InputError(
            f"{folder}: expected a file train.csv, train.tsv, train.jsonl or train.parquet (and dev.*, test.*), "
            f"found {names}; name one file, or rename the one to train on"
        )
    return file_of_split


def column_position(column: str, names: Sequence[str], place: object) -> int:
    """Position of a column among the column names; an error unless it occurs exactly once."""
    if names.count(column) == 1:
        return names.index(column)
    if column in names:
        raise InputError(f"{place}: the column {column!r} occurs {names.count(column)} times; rename all but one")
    listed = ", ".join(repr(name) for name in names[:20]) + (", ..." if len(names) > 20 else "")
    raise InputError(
        f"{place}: expected a column {column!r}, found {listed or 'none'}; "
        "say which columns hold the text and the label"
    )


def _read_delimited(path: Path, columns: Sequence[str], delimiter: str) -> list[RawRow]:
    """The rows of a CSV or TSV file, read strictly: broken quotes and uneven rows are errors."""
    with _allow_long_fields():
        lines = _iter_csv_records(path, delimiter)
        header = next(lines, (0, []))[1]
        positions = [column_position(column, header, path) for column in columns]
        rows = []
        for line, fields in lines:
            place = f"{path}, line {line}"
            if len(fields) != len(header):
                raise InputError(
                    f"{place}: expected {len(header)} fields as in the header, found {len(fields)}; "
                    f"put quotes around a text that holds {'a tab' if delimiter == chr(9) else 'a comma'}"
                )
            if delimiter == "\t" and any("\t" in field and "\n" in field for field in fields):
                raise InputError(
                    f'{place}: a quote at the start of a field runs on to another line; write the field as "..." and a '
                    'quote in it as ""'
                )
            rows.append(RawRow(place, tuple(fields[position] for position in positions)))
    return rows


def _iter_csv_records(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The records of a file that are not blank, with the number of the line where they start."""
    reader = csv.reader(io.StringIO(_read_text(path), newline=""), delimiter=delimiter, strict=True)
    while True:
        start = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise InputError(
                f'{path}, line {start}: broken quoting ({error}); write a quoted text as "..." and a quote in it as ""'
            ) from None
        if fields:
            yield start, fields


@contextmanager
def _allow_long_fields() -> Iterator[None]:
    # The limit belongs to the whole process, so it is restored.
    previous_limit = csv.field_size_limit(_LONGEST_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(previous_limit)


def _read_jsonl(path: Path, columns: Sequence[str]) -> list[RawRow]:
    rows = []
    # Not splitlines(): a JSON string may hold other line separators, such as U+2028, as they are.
    for number, line in enumerate(_read_text(path).split("\n"), start=1):
        if line.strip():
            place = f"{path}, line {number}"
            fields = _parse_json_object(line, place)
            for column in columns:
                column_position(column, list(fields), place)
            rows.append(RawRow(place, tuple(fields[column] for column in columns)))
    return rows


def _parse_json_object(line: str, place: str) -> dict[str, Any]:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place}: invalid JSON ({error}); write one object a line") from None
    if not isinstance(fields, dict):
        raise InputError(f'{place}: expected a JSON object such as {{"text": "...", "label": 1}}, got {line[:40]!r}')
    return fields


def _read_parquet(path: Path, columns: Sequence[str]) -> list[RawRow]:
    import pyarrow
    from pyarrow import parquet

    try:
        # A file object, because from a path pyarrow would read folder names such as "label=1" as columns.
        file = parquet.ParquetFile(io.BytesIO(_read_bytes(path)))
        for column in columns:
            column_position(column, file.schema_arrow.names, path)
        table = file.read(columns=list(columns))
        values = [table.column(column).to_pylist() for column in columns]
    except InputError:
        raise
    except UnicodeDecodeError:
        raise InputError(f"{path}: a text in it is not UTF-8; write the file again from text that is") from None
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError):
        raise InputError(f"{path}: not a Parquet file, or a broken one; write it again") from None
    return [RawRow(f"{path}, row {row}", cells) for row, cells in enumerate(zip(*values, strict=True), start=1)]


def _read_text(path: Path) -> str:
    """Content of a text file in UTF-8, with or without a byte order mark, or in UTF-16 with one.

    Encoded lone surrogates are kept here; they are replaced and counted later.
    """
    content = _read_bytes(path)
    utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    encoding = "utf-16" if utf_16 else "utf-8"
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        text = content.decode(encoding, "surrogatepass")
    except UnicodeDecodeError as error:
        line = content[: error.start].decode(encoding, "ignore").count("\n") + 1
        raise InputError(f"{path}, line {line}: not {encoding.upper()}; save the file as UTF-8") from None
    if not text.strip():
        raise InputError(f"{path}: the file is empty; expected one labelled text a row")
    return text


def _read_bytes(path: Path) -> bytes:
    if not os.path.exists(path):
        raise InputError(f"{path}: no such file; check the path")
    if not path.is_file():
        raise InputError(f"{path}: expected a file, and it is none; name a file or a folder of splits")
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
