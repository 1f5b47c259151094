"""Files: JSON, text and Parquet, read with one clear error, and written atomically, whole or not at all.

What is written gets its name only when it is complete and on the disk: the file is synchronized with the disk before it
is renamed, and its folder after that. So a reader, a crash or a loss of power never leaves half of it, and what a
function here has returned from is still there after a loss of power, as far as the disk keeps its promises.

In a folder that keeps checksums (`keep_checksums`), the SHA-256 of every JSON, JSONL and Parquet file that is written
by this module is written down too, and checked when the file is read.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from safr.errors import InputError, first_line, shorten_text

if TYPE_CHECKING:
    import jsonschema
    import pyarrow

CHECKSUMS_FILE = "safr-checksums.json"
"""Name of the file with the checksums of a folder: the SHA-256 of each file's content."""

_CHECKED_ENDINGS = (".json", ".jsonl", ".parquet")
_FOLDERS_ABOVE = 2  # how far above a file's folder its checksum may be kept: a run has `benchmark/scores`
_MOST_BYTES = 2**30  # of a text that is read into memory
_MOST_ROWS = 50_000_000  # of a table
_MOST_TEXT = 2**31  # bytes of all texts in a column; a small Parquet file can hold one long text a billion times
_LARGEST_NUMBER = 3.5e38
_PATH_ECHO = 400  # characters of a path; longer ones are no mistake of a letter
_ADVICE = "copy it again or write it again"

_DISK_ERRORS = {
    number: os.strerror(number)
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM)
}


def read_json(path: Path, schema: Mapping[str, Any] | None = None, *, advice: str = _ADVICE) -> Any:
    """What a JSON file holds.

    Args:
        path: The file.
        schema: JSON Schema that it must fit. `number` means a finite one; `float` may also be NaN or infinite.
        advice: What to do about a damaged file, for the error.

    Raises:
        InputError: It can't be read, is damaged, or does not fit the schema.
    """
    return _parse_json(_read_text(path, advice), schema, str(path), advice)


def build_object(pairs: Sequence[tuple[str, Any]], complaint: Callable[[str], str]) -> dict[str, Any]:
    """A JSON object for `object_pairs_hook`; json on its own would silently take the last of two equal keys.

    Args:
        pairs: Keys and values, in order.
        complaint: What to say of a key that occurs again.

    Raises:
        ValueError: A key occurs again.
    """
    values = dict(pairs)
    if len(values) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        raise ValueError(complaint(next(name for name, count in counts.items() if count > 1)))
    return values


def read_json_lines(path: Path, schema: Mapping[str, Any] | None = None, *, advice: str = _ADVICE) -> list[Any]:
    """The values of a file with one JSON value a line; arguments and errors as for `read_json`."""
    # Not splitlines(): a JSON string may hold other line separators, such as U+2028, as they are.
    lines = _read_text(path, advice).removesuffix("\n").split("\n")
    return [_parse_json(line, schema, f"{path}, line {number}", advice) for number, line in enumerate(lines, start=1)]


def read_parquet(
    path: Path,
    columns: Mapping[str, str] | None = None,
    *,
    optional: Mapping[str, str] | None = None,
    advice: str = _ADVICE,
) -> pyarrow.Table:
    """The table in a Parquet file, of which no more is read than fits into memory.

    Args:
        path: The file.
        columns: Columns to read, with what each holds: `integer`, `number` or `text`, and no missing values. Default:
            all, unchecked.
        optional: Further columns, which the file may lack.
        advice: What to do about a damaged file, for the error.

    Raises:
        InputError: It can't be read, is damaged, too large, or lacks one of the columns.
    """
    import pyarrow  # only here: data are read without it
    from pyarrow import parquet

    check_file(path, advice=advice)
    try:
        # A file object, because from a path pyarrow would read folder names such as "seed=1" as columns.
        with path.open("rb") as file:
            texts = [name for name, kind in _column_kinds(parquet.ParquetFile(file)).items() if kind == "text"]
            opened = parquet.ParquetFile(file, read_dictionary=texts)
            found = _column_kinds(opened)
            if columns is not None:
                columns = {**columns, **{name: kind for name, kind in (optional or {}).items() if name in found}}
            if opened.metadata.num_rows > _MOST_ROWS:
                raise ValueError(f"it says that it has {opened.metadata.num_rows:,} rows")
            for name, kind in (columns or {}).items():
                if found.get(name) not in ((kind, "integer") if kind == "number" else (kind,)):
                    raise ValueError(
                        f"expected {kind}s in a column {name!r}, found {found.get(name, 'no such column')}"
                    )
            table = opened.read(columns=None if columns is None else list(columns))
        table.validate(full=True)
        for name in columns or {}:
            if table[name].null_count:
                raise ValueError(f"values are missing in its column {name!r}")
        return _decode_texts(table)
    except (pyarrow.ArrowException, OSError, ValueError, TypeError, OverflowError, MemoryError) as error:
        raise InputError(
            f"{path}: expected Parquet, but it is damaged ({_describe_reason(error)}); {advice}"
        ) from error


def check_file(path: Path, *, advice: str = _ADVICE) -> None:
    """Raise an InputError where a path leads to no file, or to one whose checksum shows that it was changed."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise InputError(
                f"{shorten_text(path, _PATH_ECHO)}: expected a file, found a {_describe_kind(status.st_mode)}"
            )
        checksums = _find_checksums(path)
        if checksums is None:
            return
        known = _read_checksums(checksums).get(path.absolute().relative_to(checksums.parent.absolute()).as_posix())
        if known is not None and hash_file(path).hex() not in known:
            raise InputError(
                f"{path}: was changed since it was written, or is damaged (its SHA-256 differs); {advice}, or, if "
                f"you changed it on purpose, take it out of {CHECKSUMS_FILE}"
            )
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{path}: expected a file, found none; {advice}") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{shorten_text(path, _PATH_ECHO)}: can't be read ({_describe_reason(error)})") from error


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

    The new file has the old one's permissions. A link stays, and the file that it leads to is replaced. A device or a
    pipe stays too, and gets what was written.

    Raises:
        InputError: What is there can't be replaced by a file, or its folder can't be made.
        OSError: The disk is full, the folder is read-only, ...; it names the file.
    """
    with name_disk_errors(path):
        mode = _find_mode(path)
        if mode is not None and not stat.S_ISREG(mode):
            with tempfile.TemporaryDirectory() as folder:
                yield Path(folder) / "content"
                _copy_to_stream(Path(folder) / "content", path)
            return
        target = Path(os.path.realpath(path))
        _make_parents(target)
        temporary = target.with_name(f".{uuid.uuid4().hex}.part")
        try:
            yield temporary
            if mode is not None:
                temporary.chmod(stat.S_IMODE(mode))
            _sync(temporary)
            with record_checksums({target: temporary}):
                temporary.replace(target)
            _sync(target.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Wait until no other process is in such a block of a folder, and remove what dead ones were writing there.

    Args:
        folder: Its own files are meant, not those of the folders in it.
    """
    with _lock_file(folder / ".writing.lock"):
        for path in folder.glob(".*.part"):
            path.unlink(missing_ok=True)
        yield


@contextmanager
def create_folder(path: Path, *, prefix: str = ".") -> Iterator[Path]:
    """A temporary folder to fill; it gets its name at the end of the block, unless that fails.

    Only its owner can read it. It is not synchronized with the disk, so it is for what can be made again.

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
            or a loss of power leaves what was there, or nothing, never a mixture.
        stale: Gives the files of the folder that must go before the new ones come.

    Raises:
        InputError: There is a file of that name.
        OSError: The disk is full, the folder is read-only, ...; it names the folder.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: expected a folder to save the model in, found a file")
    with name_disk_errors(folder):
        _make_parents(folder / last)
        with tempfile.TemporaryDirectory(prefix=".saving-", dir=folder) as name:
            unfinished = Path(name)
            yield unfinished
            written = [path for path in unfinished.rglob("*") if path.is_file()]
            for path in written:
                _sync(path)
            with record_checksums({folder / path.relative_to(unfinished): path for path in written}):
                for path in (folder / last, *stale(folder)):
                    path.unlink(missing_ok=True)
                _sync(folder)  # from here on, until the last file is there, nobody reads the folder
                for path in sorted(written, key=lambda path: path == unfinished / last):
                    target = folder / path.relative_to(unfinished)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    if path == unfinished / last:
                        _sync(folder)
                    path.replace(target)
                _sync(folder)


@contextmanager
def name_disk_errors(path: Path) -> Iterator[None]:
    """Turn whatever a writer raises because of the disk into an OSError that names the file.

    torch, safetensors and Arrow have errors of their own for a disk that is full, and some OSErrors name no file.
    """
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        number = error.errno if error.errno is not None else find_disk_error(error)
        if number is None or error.filename not in (None, *_temporary_names(error.filename)):
            raise
        raise OSError(number, os.strerror(number), shorten_text(path, _PATH_ECHO)) from error
    except Exception as error:
        if (number := find_disk_error(error)) is None:
            raise
        raise OSError(number, os.strerror(number), shorten_text(path, _PATH_ECHO)) from error


def find_disk_error(error: BaseException | None) -> int | None:
    """Number of the system's error that a library's own error, or what it came from, tells of, if the disk is it."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
            return error.errno
        text = str(error)
        for number, words in _DISK_ERRORS.items():
            if words in text:
                return number
        if any(words in text for words in ("PytorchStreamWriter", "inline_container", "file write failed")):
            return errno.ENOSPC  # torch does not say why it could not write
        error = error.__cause__ or error.__context__
    return None


def keep_checksums(folder: Path) -> None:
    """Keep checksums, from now on, of the files that this module writes to a folder and the folders in it."""
    write_json(folder / CHECKSUMS_FILE, {})


@contextmanager
def record_checksums(files: Mapping[Path, Path]) -> Iterator[None]:
    """Write down the checksums of files that get their names in the block, where their folder keeps checksums.

    A file's checksum is written before the file gets its name; that of its old content is dropped after the block. So
    a crash in between leaves no file that seems to be damaged, and a file that was cut to what it once was is found.
    Other writers wait until the block ends, so that the checksum that was written last is that of the file that is
    there.

    Args:
        files: Where the content lies now, by the path that it will have. All belong to the same folder of checksums.
    """
    files = {target: now for target, now in files.items() if target.suffix in _CHECKED_ENDINGS}
    checksums = _find_checksums(next(iter(files))) if files else None
    if checksums is None or checksums in files:
        yield
        return
    with _lock_file(checksums.with_name(f".{checksums.stem}.lock")):
        # Those of files that were deleted since, such as a checkpoint's, are dropped.
        known = {n: sums for n, sums in _read_checksums(checksums).items() if (checksums.parent / n).exists()}
        new = {
            target.absolute().relative_to(checksums.parent.absolute()).as_posix(): [hash_file(now).hex()]
            for target, now in files.items()
        }
        either = {name: sums + known.get(name, []) for name, sums in new.items()}
        write_json(checksums, known | either)
        yield
        if either != new:
            write_json(checksums, known | new)


@contextmanager
def _lock_file(path: Path) -> Iterator[None]:
    """Wait until no other process is in a block with the same file, which is there for the length of the block."""
    with FileLock(path):
        try:
            yield
        finally:
            with suppress(OSError):  # where an open file can't be deleted it stays, which matters to nobody
                path.unlink()


def _find_checksums(path: Path) -> Path | None:
    """The file with the checksums of a file's folder, or of one not far above it."""
    if path.name == CHECKSUMS_FILE or path.suffix not in _CHECKED_ENDINGS:
        return None
    folders = list(path.absolute().parents)[: _FOLDERS_ABOVE + 1]
    return next((folder / CHECKSUMS_FILE for folder in folders if (folder / CHECKSUMS_FILE).is_file()), None)


def _read_checksums(path: Path) -> dict[str, list[str]]:
    return read_json(
        path,
        {
            "type": "object",
            "additionalProperties": {"type": "array", "items": {"type": "string", "pattern": "^[0-9a-f]{64}$"}},
        },
        advice="copy it again, or delete it; the files beside it are then read unchecked",
    )


def _read_text(path: Path, advice: str) -> str:
    check_file(path, advice=advice)
    try:
        if (size := path.stat().st_size) > _MOST_BYTES:
            raise InputError(f"{path}: expected a file of at most {_MOST_BYTES:,} bytes, got {size:,}; {advice}")
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror or error}); check its permissions") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected JSON, but it is damaged ({error.reason}); {advice}") from error


def _complain_of_key(name: str) -> str:
    return f"{shorten_text(repr(name))} is given twice"


def _parse_json(text: str, schema: Mapping[str, Any] | None, place: str, advice: str) -> Any:
    try:
        value = json.loads(text, object_pairs_hook=partial(build_object, complaint=_complain_of_key))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place}: expected JSON, but it is damaged ({_describe_reason(error)}); {advice}") from error
    if schema is not None:
        mismatch = next(_make_validator(json.dumps(schema)).iter_errors(value), None)
        if mismatch is not None:
            raise InputError(f"{place}: {_describe_mismatch(mismatch)}; {advice}")
    return value


@lru_cache
def _make_validator(schema: str) -> jsonschema.protocols.Validator:
    """The validator of a schema, given as JSON."""
    import jsonschema  # only here: most of what is read has no schema

    def is_number(_: Any, value: Any) -> bool:
        # Numbers of a run come from float32, and larger ones would overflow in a picture.
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST_NUMBER

    def is_float(_: Any, value: Any) -> bool:
        return is_number(_, value) or isinstance(value, float)

    base = jsonschema.Draft202012Validator
    checker = base.TYPE_CHECKER.redefine_many({"number": is_number, "float": is_float})
    return jsonschema.validators.extend(base, type_checker=checker)(json.loads(schema))


def _describe_mismatch(error: jsonschema.ValidationError) -> str:
    """What was expected of a value, where in the file, and what came."""
    place = ".".join(map(str, error.absolute_path)) or "the whole"
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        return f"expected {missing!r} in {shorten_text(place)}, found none"
    expected = f"{error.validator} {json.dumps(error.validator_value)}"
    return f"expected {shorten_text(expected)} of {shorten_text(place)}, got {shorten_text(json.dumps(error.instance))}"


def _column_kinds(file: pyarrow.parquet.ParquetFile) -> dict[str, str]:
    """What the columns of a Parquet file hold: `integer`, `number`, `text`, or the name of another type."""
    from pyarrow import types

    kinds = {}
    for field in file.schema_arrow:
        kind = field.type.value_type if types.is_dictionary(field.type) else field.type
        if types.is_integer(kind):
            kinds[field.name] = "integer"
        elif types.is_floating(kind):
            kinds[field.name] = "number"
        else:
            kinds[field.name] = "text" if types.is_string(kind) or types.is_large_string(kind) else str(kind)
    return kinds


def _decode_texts(table: pyarrow.Table) -> pyarrow.Table:
    """The table with plain texts in place of dictionaries, unless they are too long together."""
    import pyarrow
    from pyarrow import compute, types

    for position, field in enumerate(table.schema):
        if types.is_dictionary(field.type):
            column = table.column(position)
            lengths = [compute.binary_length(chunk.dictionary).take(chunk.indices) for chunk in column.chunks]
            if sum(compute.sum(length.cast("int64")).as_py() or 0 for length in lengths) > _MOST_TEXT:
                raise ValueError(f"the texts in its column {field.name!r} are too long")
            texts = [chunk.dictionary_decode() for chunk in column.chunks]
            table = table.set_column(position, field.name, pyarrow.chunked_array(texts, field.type.value_type))
    return table


def _find_mode(path: Path) -> int | None:
    """Kind and permissions of what a path leads to, None where nothing is; an InputError where no file can be written.

    A path such as `/dev/stdout` leads to a file that is already open; replacing that would cut it off from whoever has
    it open.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        return None  # said by `_make_parents`
    except ValueError as error:  # a null character
        raise InputError(
            f"{shorten_text(repr(str(path)), _PATH_ECHO)}: expected the name of a file ({error})"
        ) from error
    if stat.S_ISDIR(mode):
        raise InputError(f"{path}: expected a file's name, found a folder there; name a file in it")
    if stat.S_ISBLK(mode) or stat.S_ISSOCK(mode):
        raise InputError(f"{path}: expected the name of a file, found a {_describe_kind(mode)} there")
    if stat.S_ISREG(mode) and _is_descriptor(path):
        raise InputError(f"{path}: expected the name of a file, found one that is already open; name the file itself")
    return mode


def _is_descriptor(path: Path) -> bool:
    """Whether a path stands for an open file of a process, as `/dev/stdout` does, or leads to one that does."""
    for _ in range(40):  # as many links as Linux follows
        if re.match(r"/proc/[^/]+/fd/|/dev/fd/", os.path.abspath(path)):
            return True
        if not path.is_symlink():
            return False
        path = path.parent / os.readlink(path)
    return False


def _copy_to_stream(source: Path, path: Path) -> None:
    """Write a file's content to a device or a pipe; an OSError where nobody reads the pipe."""
    descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK)  # else it would wait until somebody reads the pipe
    os.set_blocking(descriptor, True)
    with source.open("rb") as content, open(descriptor, "wb") as stream:
        shutil.copyfileobj(content, stream)


def _make_parents(path: Path) -> None:
    """Make the folders that a file is to lie in; an InputError where one of them is a file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        file = next((folder for folder in path.parents if folder.exists() and not folder.is_dir()), path.parent)
        raise InputError(f"{path}: {file} is no folder; choose another place") from error


def _sync(path: Path) -> None:
    """Wait until a file's content, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        if not path.is_dir():  # some network disks can't do it for a folder
            raise
    finally:
        os.close(descriptor)


def _temporary_names(name: Any) -> list[Any]:
    """The name itself where it is one of ours that nobody knows."""
    return [name] if re.search(r"/\.[0-9a-f]{32}\.part$|/\.saving-", str(name)) else []


def _describe_kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "folder", stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket", stat.S_IFREG: "file"}
    return kinds.get(stat.S_IFMT(mode), "device")


def _describe_reason(error: Exception) -> str:
    reason = error.strerror if isinstance(error, OSError) else None
    return shorten_text(reason or first_line(error))
