"""Reads the choices of a question, and which of them is right, from the cells of a table."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from typing import Any

from safr.data.labels import normalize_label, replace_lone_surrogates
from safr.data.messages import describe_cell
from safr.errors import InputError, shorten_text

SEPARATOR = " | "
"""Stands between the choices in the second text of a question."""


def read_choices(cells: Sequence[Any], place: str) -> tuple[list[str], list[str]]:
    """The choices of a question and, where they have some, their names, such as A and B.

    Args:
        cells: A text each; or one list of texts, or one object with lists `text` and `label`, as ARC has on the hub.
        place: Begins the error's message.

    Returns:
        An empty choice where one is missing, and one alone where all are.

    Raises:
        InputError: They are something else, fewer than two, two are the same or have the same name, or one holds the
            separator.
    """
    values: Any = cells[0] if len(cells) == 1 else cells
    labels: Any = []
    if isinstance(values, Mapping) and {"text", "label"} <= set(values):
        values, labels = values["text"], values["label"]
    if values is None:
        return [""], []
    if not (isinstance(values, list | tuple) and len(values) > 1 and all(map(_is_text, values))):
        raise InputError(
            f"{place}: expected a column for each of two or more choices, or a list of them in one, got "
            f"{describe_cell(cells[0] if len(cells) == 1 else values)}"
        )
    choices, names = [_spell(value, place) for value in values], _read_names(labels, len(values), place)
    if SEPARATOR.strip() in {word for choice in choices for word in choice.split()}:
        raise InputError(f"{place}: expected choices without {SEPARATOR!r}, which separates them; write / instead")
    given = [choice for choice in choices if choice]
    if len(set(given)) < len(given):
        raise InputError(f"{place}: expected different choices, got {shorten_text(SEPARATOR.join(choices), 60)!r}")
    return choices, names


def read_right_choice(value: Any, choices: Sequence[str], names: Sequence[str], place: str) -> tuple[str | None, bool]:
    """The number of the right choice, counted from 0, as the label of the question; None where it is missing.

    Args:
        value: A cell: a choice's name where they have some; else a choice itself, a number from 0 on, or a letter. Of
            choices that are numbers, a text is a choice and a number counts them.
        choices: The choices.
        names: Their names, or none.
        place: Begins the error's message.

    Returns:
        Beside it, whether the cell could as well mean another choice, by its number or letter or by what it is.

    Raises:
        InputError: It is none of them.

    >>> read_right_choice("B", ["blue", "green"], [], ""), read_right_choice(0, ["blue", "green"], [], "")
    (('1', False), ('0', False))
    """
    name = _spell(value, place)
    whole = name.removesuffix(".0")  # as a table has it where a column with a missing number was read as floats
    if whole in ("", "-1") and not (isinstance(value, str) and name and name in choices):  # a hidden label
        return None, False
    numbers, letters = list(map(str, range(len(choices)))), list(string.ascii_uppercase[: len(choices)])
    by_text, by_number, by_letter = (name, list(choices)), (whole, numbers), (name, letters)
    ways = [(name, list(names)), (whole, list(names)), by_text]
    if not names:
        ways = [by_text, by_number, by_letter] if isinstance(value, str) else [by_number, by_text, by_letter]
    meant = [known.index(key) for key, known in ways if key in known]
    if meant:
        return str(meant[0]), not names and len(set(meant)) > 1
    expected = ", ".join(names) if names else f"0 to {numbers[-1]}, A to {letters[-1]}"
    raise InputError(f"{place}: expected the right choice, {expected} or itself, got {shorten_text(name, 40)!r}")


def _is_text(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float)


def _spell(value: Any, place: str) -> str:
    """A cell as text on one line; "" where it is missing."""
    text = value if isinstance(value, str) else normalize_label(value, place) or ""
    return replace_lone_surrogates(" ".join(text.split()))[0]


def _read_names(values: Any, count: int, place: str) -> list[str]:
    """The names of so many choices, each another; none where they have none."""
    names = [_spell(value, place) for value in values] if isinstance(values, list | tuple) else [""]
    if names and not (len(set(names)) == len(names) == count and all(names)):
        raise InputError(f"{place}: expected a different name for each of {count} choices, got {describe_cell(values)}")
    return names
