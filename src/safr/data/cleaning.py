"""Cleans and checks a user's rows, and builds a data set with numbered labels and all three splits from them."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from safr.data.files import RawRow
from safr.data.splits import DEV_SHARE, TEST_SHARE, Example, SplitExamples, TextDataset, split_by_class
from safr.errors import InputError

FEWEST_ROWS = 10
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_NUMBER = re.compile(r"(-?(?:0|[1-9][0-9]*))(?:\.([0-9]*?)0*)?")  # "007" is a name: its zeros mean something


@dataclass(frozen=True)
class LabelledText:
    """One usable text, the name of its class, and its place in the file."""

    text: str
    label: str
    place: str


def clean_rows(rows: Iterable[RawRow], columns: Sequence[str]) -> tuple[list[LabelledText], Counter[str]]:
    """The usable rows of (text, label) cells, and counts of what was left out or replaced.

    Null, empty and blank texts and missing labels are left out. Lone surrogates, which no encoder takes, become U+FFFD.
    All other text stays as it is: control characters, NULs, emoji, any direction, any length.
    """
    text_column, label_column = columns
    usable: list[LabelledText] = []
    cleaned: Counter[str] = Counter()
    for row in rows:
        text = _check_text(row.values[0], f"{row.place}, column {text_column!r}")
        label = normalize_label(row.values[1], f"{row.place}, column {label_column!r}")
        if not text.strip():
            cleaned["empty text left out"] += 1
        elif label is None:
            cleaned["missing label left out"] += 1
        else:
            text, replaced = _SURROGATE.subn("\ufffd", text)
            cleaned["lone surrogates replaced"] += replaced
            usable.append(LabelledText(text, label, row.place))
    return usable, +cleaned


def normalize_label(value: Any, place: str = "label") -> str | None:
    """The class name of a label, or None where the label is missing; 1, 1.0, "1" and "1.0" are one class.

    >>> [normalize_label(value) for value in (1, 1.0, " 1.0", "1.50", True, "good", "", None)]
    ['1', '1', '1', '1.5', 'True', 'good', None, None]
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if not isinstance(value, str | int | float):
        raise InputError(
            f"{place}: expected a label that is text or a number, got {_describe_value(value)}; write its name"
        )
    name = _SURROGATE.sub("\ufffd", str(value)).strip()
    number = _NUMBER.fullmatch(name)
    if not number:
        return name or None
    whole, fraction = number.groups()
    return f"{whole}.{fraction}" if fraction else "0" if whole == "-0" else whole


def sort_label_names(labels: Iterable[str]) -> tuple[str, ...]:
    """The different class names, sorted by value if all are numbers, else by alphabet.

    >>> sort_label_names(["10", "9", "9"]), sort_label_names(["10", "9", "none"])
    (('9', '10'), ('10', '9', 'none'))
    """
    names = set(labels)
    if all(_NUMBER.fullmatch(name) for name in names):
        return tuple(sorted(names, key=Decimal))
    return tuple(sorted(names))


def build_dataset(
    name: str,
    parts: Mapping[str, Sequence[LabelledText]],
    *,
    origin: str,
    cleaned: Mapping[str, int],
    label_names: Sequence[str] = (),
) -> TextDataset:
    """The data set with these splits; a "dev" or "test" that is absent is taken from "train".

    Args:
        name: What the user asked for.
        parts: The rows of "train", and of "dev" and "test" where there are any.
        origin: Where the rows were read from; the splits taken from "train" are added to it.
        cleaned: Counts of what was left out or replaced.
        label_names: The classes in the order of their ids. Default: those of "train", sorted.
    """
    _check_rows(parts, origin)
    labels = {row.label for row in parts["train"]}
    label_names = label_names or sort_label_names(labels)
    ids = {label: number for number, label in enumerate(label_names) if label in labels}
    examples = {part: _number_labels(rows, ids) for part, rows in parts.items()}
    missing = [part for part in ("dev", "test") if part not in examples]
    completed = _fill_missing_parts(examples, origin)
    if missing:
        origin += f"; {' and '.join(missing)} taken from train by hash"
    return TextDataset.from_parts(name, completed, label_names=label_names, origin=origin, cleaned=cleaned)


def _check_text(value: Any, place: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InputError(
            f"{place}: expected text, got {_describe_value(value)}; put quotes around it, or name another column"
        )
    return value


def _fill_missing_parts(examples: SplitExamples, origin: str) -> SplitExamples:
    """All three parts; those that are absent are taken from "train"."""
    if "dev" in examples and "test" in examples:
        return examples
    parts = split_by_class(
        examples["train"],
        dev=0 if "dev" in examples else DEV_SHARE,
        test=0 if "test" in examples else TEST_SHARE,
    )
    parts |= {part: examples[part] for part in ("dev", "test") if part in examples}
    if not (parts["dev"] and parts["test"]):
        raise InputError(
            f"{origin}: no class has 3 different texts, so nothing is left for dev and test; give more texts to a class"
        )
    return parts


def _check_rows(parts: Mapping[str, Sequence[LabelledText]], origin: str) -> None:
    for part in ("dev", "test"):
        if part in parts and not parts[part]:
            raise InputError(f"{origin}: no row with a text and a label in {part}; fill it, or leave it out")
    rows = parts["train"]
    if len(rows) < FEWEST_ROWS:
        raise InputError(
            f"{origin}: expected at least {FEWEST_ROWS} rows with a text and a label to train on, found {len(rows)}"
        )
    labels = {row.label for row in rows}
    if len(labels) == 1:
        raise InputError(f"{origin}: expected at least two classes, all rows have the label {labels.pop()[:60]!r}")


def _number_labels(rows: Sequence[LabelledText], ids: Mapping[str, int]) -> list[Example]:
    for row in rows:
        if row.label not in ids:
            raise InputError(
                f"{row.place}: the label {row.label[:60]!r} does not occur in train; expected one of "
                f"{', '.join(repr(label[:60]) for label in list(ids)[:20])}"
            )
    return [(row.text, ids[row.label]) for row in rows]


def _describe_value(value: Any) -> str:
    return f"{type(value).__name__} {repr(value)[:40]}"
