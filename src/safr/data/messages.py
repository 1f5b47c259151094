"""Keeps messages about a user's data short, and turns any error of another library's reader into one of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from safr.errors import InputError, printable, shorten_text

_LONGEST_ECHO = 60  # characters
_LONGEST_PATH = 100  # characters
_LONGEST_LIST = 80  # characters


def shorten_path(path: object) -> str:
    """A path as one printable line, of a long one the end, which holds the file's name."""
    end = str(path)[-_LONGEST_PATH - 1 :]
    line = printable(end)
    return line if len(line) <= _LONGEST_PATH else "..." + line[3 - _LONGEST_PATH :]


def describe_cell(value: Any) -> str:
    """The type of a value and the beginning of how Python writes it, such as `int 5`."""
    if isinstance(value, str | bytes):
        value = value[: _LONGEST_ECHO + 1]
    elif isinstance(value, list | tuple):
        value = value[:5]
    elif isinstance(value, dict):
        value = dict(list(value.items())[:5])
    try:
        shown = repr(value)
    except ValueError:  # an integer of more than 4,300 digits
        shown = "with too many digits to show"
    return f"{type(value).__name__} {shorten_text(shown, 40)}"


def list_names(names: Sequence[object], limit: int = _LONGEST_LIST) -> str:
    """Names in quotes, separated by commas, as many as fit into `limit` characters, but one at least.

    >>> list_names(["a", "b"]), list_names([1] * 100, 12)
    ("'a', 'b'", "'1', '1', ...")
    """
    quoted: list[str] = []
    for name in names[: limit // 4 + 1]:
        quoted.append(f"'{shorten_text(name, 40)}'")
        if len(quoted) > 1 and len(", ".join(quoted)) > limit:
            quoted.pop()
            break
    return ", ".join(quoted) + (", ..." if len(quoted) < len(names) else "")


def complain_of_key(name: str) -> str:
    """What is wrong with a JSON object that has a key twice."""
    return f"the key '{shorten_text(name, 40)}' occurs twice"


@contextmanager
def refuse_unreadable(place: str, expected: str, advice: str) -> Iterator[None]:
    """A context in which other libraries read what a user brought; any error of theirs becomes an `InputError`.

    Args:
        place: The file, and where in it.
        expected: What it should be, as in "not a Parquet file, or a broken one".
        advice: What to do.
    """
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        reason = shorten_text(error.strerror or error)
        raise InputError(f"{place}: cannot be read ({reason}); check the file, its permissions and the disk") from error
    except Exception as error:  # which types a broken file brings about is not documented by any of the libraries
        reason = shorten_text(" ".join(str(error).split()) or type(error).__name__)
        raise InputError(f"{place}: {expected}; {advice} ({reason})") from error
