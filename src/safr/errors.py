"""The one error that means that what the user brought cannot be used, and the words that its messages share."""

from __future__ import annotations

from typing import Any


class InputError(ValueError):
    """A file, a setting or a text that cannot be used.

    The message is one line: what was expected, what came, what to do. The command line prints it alone and ends with
    status 2; anything else that escapes is a defect of ours and keeps its traceback.
    """


_REASON_LENGTH = 200


def first_line(error: BaseException) -> str:
    """The first line of what an error of another library says, or the error's type where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def describe_reason(error: BaseException) -> str:
    """What an error of another library says, as one printable line to stand in one of ours."""
    return shorten_text(first_line(error), _REASON_LENGTH)


def printable(text: str) -> str:
    r"""The text with its control characters, which could steer a terminal or break a line, shown as escapes.

    >>> printable("a\x1b[31m")
    'a\\x1b[31m'
    """
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def shorten_text(text: object, limit: int = 60) -> str:
    r"""A text as one printable line of at most `limit` characters.

    >>> shorten_text("two\nlines"), shorten_text("a" * 100, 10)
    ('two\\nlines', 'aaaaaaa...')
    """
    # A character may be written with ten (\U0001f9c0), so the text is cut before and after.
    line = printable(str(text)[: limit + 1])
    return line if len(line) <= limit else f"{line[: limit - 3]}..."


def describe_value(value: Any) -> str:
    """What a value is, in a few words for a message.

    >>> describe_value(["a", "b"]), describe_value(float("nan")), describe_value(None)
    ('a list of 2', 'nan (float)', 'None')
    """
    name = type(value).__name__
    article = "an" if name[0] in "AEIOUaeiou" else "a"
    if value is None:
        return "None"
    if isinstance(value, str):
        return f"the text '{shorten_text(value)}'"  # not by repr, which would escape the escapes
    if isinstance(value, int) and abs(value) >= 10**20:
        return f"{article} {name} of {value.bit_length():,} bits"  # Python refuses to write the longest
    if isinstance(value, bool | int | float | complex):
        return f"{shorten_text(repr(value))} ({name})"
    if isinstance(value, list | tuple | set | frozenset | dict | bytes | bytearray):
        return f"{article} {name} of {len(value)}"
    return f"{article} {name}"
