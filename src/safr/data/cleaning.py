"""Rows as a user brings them in, a checked data set out: texts mended, labels named and numbered, splits complete."""

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
    """One usable text with the name of its class, and where it stands."""

    text: str
    label: str
    place: str


def clean_rows(rows: Iterable[RawRow], columns: Sequence[str]) -> tuple[list[LabelledText], Counter[str]]:
    """The usable rows of (text, label) cells, and what was left out or mended, counted.

    Null, empty and blank texts and missing labels are left out; lone surrogates, which no encoder takes, become U+FFFD.
    Everything else stays as it is: control characters, NULs, emoji, any direction, any length.
    """
    text_column, label_column = columns
    usable: list[LabelledText] = []
    cleaned: Counter[str] = Counter()
    for row in rows:
        text = _text(row.values[0], f"{row.place}, column {text_column!r}")
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
    """The name of the class that a label stands for, or None where it is missing; 1, 1.0, "1" and "1.0" are one class.

    >>> [normalize_label(value) for value in (1, 1.0, " 1.0", "1.50", True, "good", "", None)]
    ['1', '1', '1', '1.5', 'True', 'good', None, None]
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if not isinstance(value, str | int | float):
        raise InputError(f"{place}: expected a label that is text or a number, got {_kind(value)}; write its name")
    name = _SURROGATE.sub("\ufffd", str(value)).strip()
    number = _NUMBER.fullmatch(name)
    if not number:
        return name or None
    whole, fraction = number.groups()
    return f"{whole}.{fraction}" if fraction else "0" if whole == "-0" else whole


def sort_label_names(labels: Iterable[str]) -> tuple[str, ...]:
    """The different class names: by value where all are numbers, else by alphabet.

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
    """The data set of the given splits; "dev" and "test" are taken from "train" where they are absent.

    Args:
        name: What the user asked for.
        parts: The rows of "train", and of "dev" and "test" where there are any.
        origin: Where the rows were read from; what was taken from "train" is added to it.
        cleaned: What was left out or mended on the way.
        label_names: The classes in the order of their ids. Default: those of "train", sorted.
    """
    _check_rows(parts, origin)
    known = {row.label for row in parts["train"]}
    label_names = label_names or sort_label_names(known)
    ids = {label: number for number, label in enumerate(label_names) if label in known}
    given = {part: _examples(rows, ids) for part, rows in parts.items()}
    missing = [part for part in ("dev", "test") if part not in given]
    examples = _with_missing_parts(given, origin)
    if missing:
        origin += f"; {' and '.join(missing)} taken from train by hash"
    return TextDataset.from_parts(name, examples, label_names=label_names, origin=origin, cleaned=cleaned)


def _text(value: Any, place: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InputError(f"{place}: expected text, got {_kind(value)}; put quotes around it, or name another column")
    return value


def _with_missing_parts(given: SplitExamples, origin: str) -> SplitExamples:
    """The given parts, and those that are absent taken from "train"."""
    if "dev" in given and "test" in given:
        return given
    parts = split_by_class(
        given["train"],
        dev=0 if "dev" in given else DEV_SHARE,
        test=0 if "test" in given else TEST_SHARE,
    )
    parts |= {part: given[part] for part in ("dev", "test") if part in given}
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


def _examples(rows: Sequence[LabelledText], ids: Mapping[str, int]) -> list[Example]:
    for row in rows:
        if row.label not in ids:
            raise InputError(
                f"{row.place}: the label {row.label[:60]!r} does not occur in train; expected one of "
                f"{', '.join(repr(label[:60]) for label in list(ids)[:20])}"
            )
    return [(row.text, ids[row.label]) for row in rows]


def _kind(value: Any) -> str:
    return f"{type(value).__name__} {repr(value)[:40]}"
