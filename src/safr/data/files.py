"""Reads chosen columns of CSV, TSV, JSONL and Parquet files and the lines of .txt, and finds a folder's splits."""

from __future__ import annotations

import csv
import json
import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from safr.data.conll import iter_conll
from safr.data.lines import (
    COMPRESSED,
    LONGEST_LINE,
    is_compressed,
    iter_lines,
    limit_size,
    make_empty_error,
    make_size_error,
    open_regular_file,
)
from safr.data.messages import complain_of_key, list_names, refuse_unreadable, shorten_path
from safr.data.squad import ANSWERS, CONTEXT, QUESTION, iter_squad
from safr.errors import InputError, shorten_text
from safr.storage import build_object

EXTENSIONS = (".csv", ".tsv", ".jsonl", ".parquet", ".txt", ".conll", ".json")
LINES = ".txt"
"""The format without columns: one text a line, and no label."""
SQUAD = ".json"
"""The format of texts with questions and answers; one JSON object a line is .jsonl."""
CONLL = ".conll"
"""The format of words and tags: a word a line with its tag in the last column, and a blank line between texts."""

SPLIT_STEMS = {"train": ("train",), "dev": ("dev", "validation", "valid", "val"), "test": ("test",)}

_ROWS_AT_ONCE = 1_000

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_COLUMN_NAMES = {
    "text": ("text", "sentence", "review", "content", "comment", "tweet", "message", "body", "document", "headline"),
    "label": ("label", "labels", "sentiment", "class", "category", "target", "emotion", "intent", "topic", "stars"),
}
"""Usual names of the two columns, by the option's default."""

_PAIR_NAMES = (("premise", "hypothesis"), ("sentence1", "sentence2"), ("question1", "question2"), ("text1", "text2"))
"""Usual names of the two columns of pairs."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of the columns that are read."""

    texts: tuple[str, ...] = ("text",)
    """One column, or the two of a pair."""

    labels: tuple[str, ...] = ("label",)
    """One column, or several that hold 0 or 1, one a class."""

    @property
    def text_is_target(self) -> bool:
        """Whether the text itself is what a model is to write, since one column is named for both."""
        return self.labels == self.texts

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, the texts first."""
        return self.texts + self.labels


SQUAD_COLUMNS = Columns((QUESTION, CONTEXT), (ANSWERS,))
"""The columns of SQuAD on the hub, for which a .json file's questions, texts and answers stand."""


@dataclass(frozen=True, slots=True)
class RawRow:
    """One row: the values of the chosen columns, and their place, such as "reviews.csv, line 7"."""

    place: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class RawTable:
    """The rows of one file, which are read as they are asked for."""

    rows: Iterator[RawRow]
    label_names: tuple[str, ...] = ()
    """Names of the labels 0, 1, ... in a Parquet file that `datasets` has written; the labels are then numbers."""

    delimiter: str | None = None
    """What separates the fields, in words, if it is not what the file's ending says."""


def open_table(path: Path, columns: Sequence[str]) -> RawTable:
    """The rows of one file, in its order; a file that cannot be read raises an `InputError` that says why.

    A CSV file whose header has the columns only when it is cut at semicolons, tabs or vertical bars is cut there.

    Args:
        path: A file ending in one of `EXTENSIONS`; all but Parquet may be compressed (.csv.gz).
        columns: Names of the columns; the last one holds the labels. The line of a .txt file stands for the first
            column, and the others are empty. Of a .conll file the lists of words and of tags stand for the two columns,
            of a .json file question, text and answers for the first three.
    """
    match find_format(path):
        case ".csv":
            return _open_delimited(path, columns, ",")
        case ".tsv":
            return _open_delimited(path, columns, "\t")
        case ".jsonl":
            return RawTable(_iter_jsonl(path, columns))
        case ".parquet":
            return _open_parquet(path, columns)
        case ".txt":
            return RawTable(_iter_text_lines(path, columns))
        case ".conll":
            return RawTable(RawRow(place, values) for place, values in iter_conll(path))
        case ".json":
            questions = iter_squad(path, with_answers=len(columns) > len(SQUAD_COLUMNS.texts))
            return RawTable(RawRow(place, values[: len(columns)]) for place, values in questions)
    ending = shorten_text(path.suffix, 20) or "no ending"
    advice = "; unpack it first" if path.suffix.lower() in (".zip", ".gz", ".bz2", ".xz", ".zst", ".7z") else ""
    raise InputError(f"{shorten_path(path)}: expected a file ending in {', '.join(EXTENSIONS)}, got {ending!r}{advice}")


def read_rows(path: Path, columns: Sequence[str]) -> list[RawRow]:
    """The rows of one file, in its order, all at once; see `open_table`."""
    rows = list(open_table(path, columns).rows)
    if not rows:
        raise InputError(f"{shorten_path(path)}: no rows; expected one labelled text a row")
    return rows


def find_format(path: Path) -> str | None:
    """The one of `EXTENSIONS` that a file's name ends in, before .gz or without it, or None."""
    suffix = path.suffix.lower()
    if suffix == COMPRESSED and Path(path.stem).suffix.lower() != ".parquet":
        suffix = Path(path.stem).suffix.lower()
    return suffix if suffix in EXTENSIONS else None


def split_files(folder: Path) -> dict[str, Path]:
    """The files of a folder by split: always "train", and "dev" and "test" if the folder has them."""
    place = shorten_path(folder)
    try:
        files = sorted(path for path in folder.iterdir() if find_format(path) and path.is_file())
    except OSError as error:
        raise InputError(f"{place}: cannot be read ({error.strerror}); check its permissions") from None
    file_of_split: dict[str, Path] = {}
    for split, stems in SPLIT_STEMS.items():
        candidates = [path for path in files if path.name.lower().split(".")[0] in stems]
        candidates = [path for path in candidates if path.name.count(".") == (2 if is_compressed(path) else 1)]
        if len(candidates) > 1:
            names = ", ".join(path.name for path in candidates[:4])
            raise InputError(f"{place}: expected one file for {split}, found {names}; keep one of them")
        if candidates:
            file_of_split[split] = candidates[0]
    if "train" not in file_of_split:
        names = list_names([path.name for path in files], 60).replace("'", "") or "no data file"
        *expected, last = (f"train{ending}" for ending in EXTENSIONS)
        raise InputError(
            f"{place}: expected a file {', '.join(expected)} or {last} (and dev.*, test.*), found {names}; "
            "name one file, or rename the one to train on"
        )
    return file_of_split


def column_positions(columns: Sequence[str], names: Sequence[str], place: str) -> list[int]:
    """Positions of the columns among the column names; an error unless each occurs exactly once.

    The error names the columns that are probably meant, as options of the command line.
    """
    for column in columns:
        if (count := names.count(column)) > 1:
            column = shorten_text(column)
            raise InputError(f"{place}: the column {column!r} occurs {count} times; rename all but one")
        if not count:
            advice = _suggest_columns(columns, names) or "say which columns hold the text and the label"
            found = list_names(names) or "none"
            raise InputError(f"{place}: expected a column {shorten_text(column)!r}, found {found}; {advice}")
    return [names.index(column) for column in columns]


def iter_json_objects(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a JSONL file with their places; blank lines are skipped."""
    shown = shorten_path(path)
    for number, line in enumerate(iter_lines(path, newline="\n"), start=1):
        if line.strip():
            place = f"{shown}, line {number}"
            yield place, _parse_json_object(line, place)


def _open_delimited(path: Path, columns: Sequence[str], delimiter: str) -> RawTable:
    """The rows of a CSV or TSV file, read strictly: broken quotes and uneven rows are errors."""
    found = _find_delimiter(path, columns, delimiter)
    return RawTable(_iter_delimited(path, columns, found), delimiter=None if found == delimiter else _DELIMITERS[found])


def _find_delimiter(path: Path, columns: Sequence[str], usual: str) -> str:
    """The delimiter with which the header has all columns; the usual one if it has, or if none has."""
    for delimiter in (usual, *(other for other in _DELIMITERS if other != usual)):
        try:
            header = next(_iter_csv_records(path, delimiter), (0, []))[1]
        except InputError:  # told where the usual delimiter is used
            continue
        if all(header.count(column) == 1 for column in columns):
            return delimiter
    return usual


def _iter_delimited(path: Path, columns: Sequence[str], delimiter: str) -> Iterator[RawRow]:
    lines = _iter_csv_records(path, delimiter)
    header = next(lines, (0, []))[1]
    if not header:
        raise make_empty_error(path)
    shown = shorten_path(path)
    positions = column_positions(columns, header, shown)
    for line, fields in lines:
        place = f"{shown}, line {line}"
        if len(fields) != len(header):
            raise InputError(
                f"{place}: expected {len(header)} fields as in the header, found {len(fields)}; "
                f"put quotes around a text that holds {_DELIMITERS[delimiter]}"
            )
        if delimiter == "\t" and any("\t" in field and "\n" in field for field in fields):
            raise InputError(
                f'{place}: a quote at the start of a field runs on to another line; write the field as "..." and a '
                'quote in it as ""'
            )
        yield RawRow(place, tuple(fields[position] for position in positions))


def _iter_csv_records(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The records of a file that are not blank, with the number of the line where they start."""
    reader = csv.reader(iter_lines(path, newline=""), delimiter=delimiter, strict=True)
    while True:
        start = reader.line_num + 1
        try:
            with _allow_long_fields():  # for each record, for files may be read in turns
                fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise InputError(
                f"{shorten_path(path)}, line {start}: broken quoting ({error}); "
                'write a quoted text as "..." and a quote in it as ""'
            ) from None
        if fields:
            yield start, fields


@contextmanager
def _allow_long_fields() -> Iterator[None]:
    # The limit belongs to the whole process, so it is restored.
    previous_limit = csv.field_size_limit(LONGEST_LINE)
    try:
        yield
    finally:
        csv.field_size_limit(previous_limit)


def _iter_jsonl(path: Path, columns: Sequence[str]) -> Iterator[RawRow]:
    for place, fields in iter_json_objects(path):
        if any(column not in fields for column in columns):
            column_positions(columns, list(fields), place)
        yield RawRow(place, tuple(fields[column] for column in columns))


def _iter_text_lines(path: Path, columns: Sequence[str]) -> Iterator[RawRow]:
    shown, others = shorten_path(path), [""] * (len(columns) - 1)
    for number, line in enumerate(iter_lines(path, newline="\n"), start=1):
        yield RawRow(f"{shown}, line {number}", (line.rstrip("\r\n"), *others))


def _parse_json_object(line: str, place: str) -> dict[str, Any]:
    try:
        fields = json.loads(line, object_pairs_hook=partial(build_object, complaint=complain_of_key))
    except (ValueError, RecursionError) as error:
        advice = "write one object a line"
        if line.lstrip().startswith("["):
            advice = "an array must be rewritten as one object a line"
        raise InputError(f"{place}: invalid JSON ({shorten_text(error, 100)}); {advice}") from None
    if isinstance(fields, list) and any(isinstance(value, dict) for value in fields):
        raise InputError(f"{place}: expected one JSON object a line, got an array of them; write each on its own line")
    if not isinstance(fields, dict):
        shown = shorten_text(line.strip(), 40)
        raise InputError(f'{place}: expected a JSON object such as {{"text": "...", "label": 1}}, got {shown!r}')
    return fields


def _open_parquet(path: Path, columns: Sequence[str]) -> RawTable:
    place = shorten_path(path)
    with _open_parquet_file(path) as file:
        schema = file.schema_arrow
        column_positions(columns, schema.names, place)
        names = _read_class_names(schema.metadata or {}, columns[-1])
    return RawTable(_iter_parquet(path, columns), names)


def _iter_parquet(path: Path, columns: Sequence[str]) -> Iterator[RawRow]:
    place, row, size = shorten_path(path), 0, 0
    largest = limit_size(os.path.getsize(path))
    with _open_parquet_file(path) as file:
        _check_declared_size(file.metadata, columns, path, largest)
        for batch in file.iter_batches(_ROWS_AT_ONCE, columns=list(dict.fromkeys(columns)), use_threads=False):
            size += batch.nbytes
            if size > largest:
                raise make_size_error(path, largest)
            values = [batch.column(column).to_pylist() for column in columns]
            for cells in zip(*values, strict=True):
                row += 1
                yield RawRow(f"{place}, row {row}", cells)


@contextmanager
def _open_parquet_file(path: Path) -> Iterator[Any]:
    """The opened file; whatever goes wrong while it is read becomes an `InputError`."""
    import pyarrow
    from pyarrow import parquet

    place = shorten_path(path)
    open_regular_file(path).close()
    # A file, because from a path pyarrow would read folder names such as "label=1" as columns. One of pyarrow's own,
    # because its threads may still hold one of Python's when Python ends, which would abort the process.
    with (
        refuse_unreadable(place, "not a Parquet file, or a broken one", "write it again"),
        pyarrow.OSFile(str(path)) as file,
    ):
        try:
            yield parquet.ParquetFile(file, pre_buffer=False)
        except UnicodeDecodeError:
            raise InputError(f"{place}: a text in it is not UTF-8; write the file again from text that is") from None


def _check_declared_size(metadata: Any, columns: Sequence[str], path: Path, largest: int) -> None:
    """Refuse a file that says itself that its columns are absurdly large, before any of them is read."""
    size = 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for position in range(group.num_columns):
            column = group.column(position)
            if column.path_in_schema.split(".")[0] in columns:
                size += column.total_uncompressed_size
    if size > largest:
        raise make_size_error(path, largest)


def _read_class_names(metadata: dict[bytes, bytes], column: str) -> tuple[str, ...]:
    """The names of a ClassLabel column, which `datasets` writes into the schema's metadata; none if there are none."""
    try:
        feature = json.loads(metadata[b"huggingface"])["info"]["features"][column]
        if feature["_type"] in ("Sequence", "List"):  # of any number of classes a text
            feature = feature["feature"]
        names = feature["names"] if feature["_type"] == "ClassLabel" else []
    except (KeyError, TypeError, ValueError, RecursionError):
        return ()
    return tuple(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else ()


def _suggest_columns(columns: Sequence[str], names: Sequence[str]) -> str:
    """Options that name the columns which are probably meant; empty where that is not clear for all of them."""
    options = []
    for pair in _PAIR_NAMES:
        if columns[:1] == ("text",) and names.count(pair[0]) == names.count(pair[1]) == 1 and "text" not in names:
            return f"pass --text-column {' '.join(pair)} for pairs"
    for column, (option, usual) in zip(columns, _COLUMN_NAMES.items(), strict=False):
        candidates = [column] if column in names else _find_candidates(column, usual, names)
        if len(candidates) != 1 or names.count(candidates[0]) > 1:
            return ""
        if candidates[0] != column or column != option:
            options.append(f"--{option}-column {shlex.quote(candidates[0])}")
    return f"pass {' '.join(options)}" if options and len(columns) == 2 else ""


def _find_candidates(column: str, usual: Sequence[str], names: Sequence[str]) -> list[str]:
    """Columns with the same name in another spelling, else those with a usual name."""
    spelled = [name for name in names if name.strip().casefold() == column.casefold()]
    candidates = spelled or [name for name in names if name.strip().casefold() in usual]
    return [name for name in candidates if name.isprintable() and len(name) <= 40]
