"""Files: JSON, text and Parquet, read with one clear error and written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow
import pyarrow.parquet

from safr.errors import InputError

if TYPE_CHECKING:
    pass


def read_json(path: Path) -> Any:
    """What a JSON file holds; an InputError names a damaged one."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: expected JSON, but it is damaged ({error})") from error


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all; lone surrogates, which UTF-8 can't hold, as JSON's own escapes."""
    with _replaced(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_parquet(path: Path, table: pyarrow.Table) -> None:
    """Write a Parquet file whole or not at all."""
    with _replaced(path) as temporary:
        pyarrow.parquet.write_table(table, temporary)


@contextmanager
def _replaced(path: Path) -> Iterator[Path]:
    """Where to write what takes the file's place once it is written."""
    if path.is_dir():
        raise InputError(f"{path}: expected a file's name, found a folder there; name a file in it")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
