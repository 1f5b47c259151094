"""Files: JSON, text and Parquet, read with one clear error, and written atomically, whole or not at all.

What is written gets its name only when it is complete, so that a reader or a crash never sees half of it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safr.errors import InputError

if TYPE_CHECKING:
    import pyarrow


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
    with replace_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with replace_file(path) as temporary:
        temporary.write_bytes(content)


def write_parquet(path: Path, table: pyarrow.Table) -> None:
    """Write a Parquet file whole or not at all."""
    from pyarrow import parquet  # only here: data are read without it

    with replace_file(path) as temporary:
        parquet.write_table(table, temporary)


def hash_file(path: Path) -> bytes:
    """SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """A temporary path to write to; it takes the file's place at the end of the block, unless that fails.

    Raises:
        InputError: There is a folder of that name.
    """
    if path.is_dir():
        raise InputError(f"{path}: expected a file's name, found a folder there; name a file in it")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def create_folder(path: Path, *, prefix: str = ".") -> Iterator[Path]:
    """A temporary folder to fill; it gets its name at the end of the block, unless that fails.

    Args:
        path: The folder, which is not there yet.
        prefix: How the temporary folder's name begins.

    Raises:
        OSError: The folder is there by then, or can't be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=prefix, dir=path.parent))
    try:
        yield temporary
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def update_folder(folder: Path, *, last: str, stale: Callable[[Path], list[Path]]) -> Iterator[Path]:
    """A temporary folder to fill; at the end of the block its files replace those of the same names in the folder.

    Args:
        folder: Made if it isn't there; its other files stay.
        last: Name of the file without which nobody reads the folder: taken away first and written last, so that a crash
            leaves what was there, or nothing, never a mixture.
        stale: Gives the files of the folder that must go before the new ones come.

    Raises:
        InputError: There is a file of that name.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: expected a folder to save the model in, found a file")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".saving-", dir=folder) as name:
        unfinished = Path(name)
        yield unfinished
        for path in (folder / last, *stale(folder)):
            path.unlink(missing_ok=True)
        written = [path for path in unfinished.rglob("*") if path.is_file()]
        for path in sorted(written, key=lambda path: path == unfinished / last):
            target = folder / path.relative_to(unfinished)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
