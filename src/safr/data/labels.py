"""Class names of labels: numbers, different spellings of one name, and words that say a label is missing."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from safr.config import Task
from safr.data.messages import describe_cell
from safr.errors import InputError

_LONGEST_NAME = 200  # characters; a longer label is a text
_NAN_WORDS = frozenset({"nan", "-nan", "<na>", "#n/a", "#na", "#n/a n/a", "1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan"})
_NONE_WORDS = frozenset({"NA", "N/A", "n/a", "None", "null", "NULL"})  # these are also names of real classes
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]*)?")  # "007" is a name: its zeros mean something
_VALUE = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_BITS = {"0": False, "1": True, "false": False, "true": True}
_SEPARATOR = ";"

OUTSIDE = "O"
"""Tag of a word that is outside of everything, as of the names in named-entity recognition."""

NamedLabel = str | tuple[str, ...]
"""The name of a text's class, also where it is a number to predict, or the names of all classes that fit it."""
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def normalize_label(value: Any, place: str = "label") -> str | None:
    """The class name of a label, or None where the label is missing; 1, 1.0, "1" and "1.0" are one class.

    >>> [normalize_label(value) for value in (1, 1.0, " 1.0", "1.50", True, "good", "", None)]
    ['1', '1', '1', '1.5', 'True', 'good', None, None]
    """
    if value is None or (isinstance(value, float | Decimal) and math.isnan(value)):
        return None
    if not isinstance(value, str | int | float | Decimal):
        raise InputError(
            f"{place}: expected a label that is text or a number, got {describe_cell(value)}; write its name"
        )
    if isinstance(value, float | Decimal) and -(2**63) < value < 2**63 and value == int(value):
        value = int(value)
    name = replace_lone_surrogates(str(value))[0].strip()
    if len(name) > _LONGEST_NAME:
        raise InputError(
            f"{place}: expected the name of a class, got {len(name):,} characters, {describe_cell(name)}; "
            "name the column that holds the classes"
        )
    if not _NUMBER.fullmatch(name):
        return name or None
    whole, _, fraction = name.partition(".")
    fraction = fraction.rstrip("0")
    return f"{whole}.{fraction}" if fraction else "0" if whole == "-0" else whole


def read_target(value: Any, place: str = "label") -> str | None:
    """The text that a model is to write, from a cell, or None where it is missing; numbers by `normalize_label`.

    >>> [read_target(value) for value in ("Blue.", 4.0, " ", None)]
    ['Blue.', '4', None, None]
    """
    if not isinstance(value, str):
        return normalize_label(value, place)
    return replace_lone_surrogates(value)[0] if value.strip() else None


def normalize_label_list(values: Iterable[Any], place: str = "label") -> tuple[str, ...]:
    """The class names in a list of labels, each once, in their order.

    >>> normalize_label_list(["b", 1.0, "b"])
    ('b', '1')
    """
    names = (normalize_label(value, place) for value in values)
    return tuple(dict.fromkeys(name for name in names if name is not None))


def read_bit(value: Any, place: str) -> bool | None:
    """Whether a class fits, from the cell of a column of 0 and 1; None where the cell is empty.

    >>> [read_bit(cell, "") for cell in (1, "0", "True", 0.0, "")]
    [True, False, True, False, None]
    """
    name = normalize_label(value, place)
    if name is not None and name.lower() not in _BITS:
        raise InputError(
            f"{place}: expected 0 or 1, got {describe_cell(value)}; with several label columns, each is a class"
        )
    return None if name is None else _BITS[name.lower()]


def guess_task(labels: Iterable[NamedLabel], *, most_classes: int, declared: bool = False) -> Task:
    """What labels are: lists are any number of classes per text, many different numbers with fractions are values.

    Names with `;` between parts are lists too if the parts are fewer than the names, since they then come back.

    Args:
        labels: The labels of the training texts.
        most_classes: Numbers with fractions are classes up to this many different ones.
        declared: Whether the data declare the names of their classes, which are then not taken apart.

    >>> guess_task(["a;b", "b", "b;c", "c"], most_classes=20), guess_task(["yes; well", "no"], most_classes=20)
    ('multi_label', 'classification')
    """
    different = set(labels)
    if any(isinstance(label, tuple) for label in different):
        return "multi_label"
    names = [label for label in different if isinstance(label, str)]
    parts = {part for name in names for part in split_names(name)}
    if not declared and any(_SEPARATOR in name for name in names) and len(parts) < len(names):
        return "multi_label"
    numbers = [name for name in names if not says_missing(name)]
    has_fractions = all(map(is_value, numbers)) and any(float(name) % 1 for name in numbers)
    return "regression" if has_fractions and len(numbers) > most_classes else "classification"


def split_names(label: NamedLabel) -> tuple[str, ...]:
    """The class names in a label with `;` between them.

    >>> split_names("toxic; insult;")
    ('toxic', 'insult')
    """
    return label if isinstance(label, tuple) else normalize_label_list(label.split(_SEPARATOR))


def is_value(name: str) -> bool:
    """Whether a label is a finite number, also in exponential notation."""
    return bool(_VALUE.fullmatch(name)) and math.isfinite(float(name))


def normalize_label_names(names: Iterable[str]) -> list[str]:
    """The names that data declare for their classes, numbers written as `normalize_label` writes them.

    They stay as they are where two of them would become one.
    """
    names = list(names)
    normalized = [normalize_label(name) or name for name in names]
    return normalized if len(set(normalized)) == len(names) else names


def replace_lone_surrogates(text: str) -> tuple[str, int]:
    """The text with U+FFFD for every lone surrogate, which no encoder takes, and their number."""
    return _SURROGATE.subn("\ufffd", text)


def says_missing(word: str) -> bool:
    """Whether a text or a label is one of the words that pandas reads as a missing value, such as NaN or NULL.

    >>> [says_missing(word) for word in ("nan", "NA", " None ", "none", "nano")]
    [True, True, True, False, False]
    """
    word = word.strip()
    return word in _NONE_WORDS or word.lower() in _NAN_WORDS


def resolve_labels(counts: Mapping[str, int], others: Iterable[str] = ()) -> dict[str, str | None]:
    """The class of every label as it is written, or None for a word that says the label is missing.

    Names that differ only in case or in their Unicode normal form are one class, which is called as most texts have it.
    `None`, `NA`, `N/A` and `null` say that a label is missing, but are names where the same name occurs in another
    spelling, or where fewer than two classes would remain without them.

    Args:
        counts: How many training texts have each label.
        others: More labels, which other splits may have.

    >>> resolve_labels({"TRUE": 3, "true": 1, "false": 4, "NA": 1})
    {'TRUE': 'TRUE', 'true': 'TRUE', 'false': 'false', 'NA': None}
    """
    spellings: defaultdict[str, list[str]] = defaultdict(list)
    for label in counts:
        spellings[_fold_name(label)].append(label)
    names = {_fold_name(label) for label in counts if not says_missing(label)}
    none_words = {_fold_name(label) for label in counts if label in _NONE_WORDS}
    if len(names) < 2 <= len(names | none_words):
        names |= none_words
    class_of_name = {
        folded: max(sorted(labels), key=lambda label: counts[label])
        for folded, labels in spellings.items()
        if folded in names
    }
    # A label that the training texts lack stays as it is, so that a message can name it.
    return {
        label: class_of_name.get(_fold_name(label), None if says_missing(label) else label)
        for label in dict.fromkeys([*counts, *others])
    }


def sort_label_names(labels: Iterable[str]) -> tuple[str, ...]:
    """The different class names, sorted by value if all are numbers, else by alphabet.

    >>> sort_label_names(["10", "9", "9"]), sort_label_names(["10", "9", "none"])
    (('9', '10'), ('10', '9', 'none'))
    """
    names = set(labels)
    if all(is_number(name) for name in names):
        return tuple(sorted(names, key=Decimal))
    return tuple(sorted(names))


def is_number(name: str) -> bool:
    """Whether a class name from `normalize_label` is a number."""
    return bool(_NUMBER.fullmatch(name))


def describe_many_labels(counts: Counter[str]) -> str:
    """What a column with a class for about every text seems to hold."""
    if all(is_number(label) for label in counts):
        has_fractions = any("." in label for label in counts)
        return "values to predict (regression)" if has_fractions else "ids, or values to predict (regression)"
    return "ids or free text"


def _fold_name(name: str) -> str:
    """What spellings of one class name have in common."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
