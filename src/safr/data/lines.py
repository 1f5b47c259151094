"""Reads the lines of text files, compressed or not, and refuses what is no text, is damaged or has no end."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import io
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from safr.data.messages import refuse_unreadable, shorten_path
from safr.errors import InputError, shorten_text

COMPRESSED = ".gz"

_LARGEST_FILE = 8_000_000_000  # bytes of text; more than any labelled texts that fit into memory
LONGEST_LINE = 50_000_000  # characters; a whole book has a million
_MAX_EXPANSION = 200  # bytes of text a stored byte; repetitive tables reach 50, what is made to fill a memory 1,000
_SMALL_FILE = 100_000_000  # bytes of text that a file may always have, however little of it is stored


def open_regular_file(path: Path) -> io.BufferedIOBase:
    """The opened file; only a regular file is opened, since others may never end or never begin."""
    place = shorten_path(path)
    if not os.path.exists(path):
        reason = "a link to nothing" if os.path.islink(path) else "no such file"
        raise InputError(f"{place}: {reason}; check the path")
    if not path.is_file():
        raise InputError(f"{place}: expected a file, but it is not one; name a file or a folder of splits")
    try:
        file = open(path, "rb", opener=_open_without_waiting)  # noqa: SIM115, the caller closes it
    except OSError as error:
        raise InputError(f"{place}: cannot be read ({error.strerror}); check its permissions") from None
    size = os.fstat(file.fileno())
    if not stat.S_ISREG(size.st_mode) or size.st_size > _LARGEST_FILE:
        file.close()
        raise InputError(f"{place}: expected a file of at most {_LARGEST_FILE:,} bytes, got a larger one; split it")
    return file


def _open_without_waiting(path: str, flags: int) -> int:
    # Where the name has become that of a pipe by now, opening it would wait for a writer.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def iter_lines(path: Path, newline: str) -> Iterator[str]:
    """The lines of a text file in UTF-8, with or without a byte order mark, or in UTF-16 with one.

    Encoded lone surrogates are kept here; they are replaced and counted later.
    """
    place, is_empty = shorten_path(path), True
    with open_regular_file(path) as stored, _open_text(stored, path) as file:
        encoding = _find_encoding(file, place)
        text = io.TextIOWrapper(cast("IO[bytes]", file), encoding, "surrogatepass", newline=newline)
        limit, largest = LONGEST_LINE + 1, limit_size(os.path.getsize(path))
        try:
            while line := text.readline(limit):
                if len(line) == limit:
                    raise InputError(f"{place}: expected lines of at most {LONGEST_LINE:,} characters; cut it")
                if is_compressed(path) and file.tell() > largest:
                    raise make_size_error(path, largest)
                is_empty = is_empty and not line.strip()
                yield line
        except UnicodeDecodeError:
            raise _make_encoding_error(path, encoding) from None
        except (EOFError, OSError, zlib.error) as error:
            reason = shorten_text(error)
            raise InputError(f"{place}: cannot be read ({reason}); check the file and the disk") from None
    if is_empty:
        raise make_empty_error(path)


@contextmanager
def _open_text(stored: io.BufferedIOBase, path: Path) -> Iterator[io.BufferedIOBase]:
    if not is_compressed(path):
        yield stored
        return
    with gzip.GzipFile(fileobj=stored) as file:
        yield file


def _find_encoding(file: io.BufferedIOBase, place: str) -> str:
    """The encoding that the byte order mark names; the file stands after the mark."""
    with refuse_unreadable(place, "not a gzip file, or a broken one", "write it again"):
        beginning = file.read(4) or b""
    if beginning.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        raise InputError(f"{place}: expected UTF-8, found UTF-32; save the file as UTF-8")
    if beginning.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        file.seek(0)  # the mark tells the decoder the order of the bytes
        return "utf-16"
    if len(beginning) == 4 and b"\0\0" in (beginning[::2], beginning[1::2]) and any(beginning):
        raise InputError(f"{place}: looks like UTF-16 without a byte order mark; save the file as UTF-8")
    file.seek(len(codecs.BOM_UTF8) if beginning.startswith(codecs.BOM_UTF8) else 0)
    return "utf-8"


def _make_encoding_error(path: Path, encoding: str) -> InputError:
    """The error that names the line of the first byte which is not in the encoding."""
    lines = 1
    decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
    with open_regular_file(path) as stored, _open_text(stored, path) as file:
        # Of a damaged compressed file the end may not be readable either.
        try:
            with contextlib.suppress(EOFError, OSError, zlib.error):
                while chunk := file.read(1 << 20):
                    lines += decoder.decode(chunk).count("\n")
                decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            lines += error.object[: error.start].decode(encoding, "ignore").count("\n")
    return InputError(f"{shorten_path(path)}, line {lines}: not {encoding.upper()}; save the file as UTF-8")


def is_compressed(path: Path) -> bool:
    """Whether a file's name says that it is compressed."""
    return path.suffix.lower() == COMPRESSED


def limit_size(stored: int) -> int:
    """Most bytes that a file of this many stored bytes may hold."""
    return min(_LARGEST_FILE, max(_SMALL_FILE, _MAX_EXPANSION * stored))


def make_size_error(path: Path, largest: int) -> InputError:
    """The error about a file that holds more bytes of text than it may."""
    return InputError(
        f"{shorten_path(path)}: expected at most {largest:,} bytes of text, got more; it is damaged, or made to fill "
        "the memory"
    )


def make_empty_error(path: Path) -> InputError:
    """The error about a file without any text."""
    return InputError(f"{shorten_path(path)}: the file is empty; expected one labelled text a row")
