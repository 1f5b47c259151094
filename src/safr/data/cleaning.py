"""Cleans and checks a user's rows, and builds a data set with numbered labels and all three splits from them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from safr.data.files import RawRow
from safr.data.labels import (
    describe_many_labels,
    is_number,
    normalize_label,
    replace_lone_surrogates,
    resolve_labels,
    says_missing,
    sort_label_names,
)
from safr.data.messages import describe_cell, list_names, shorten_path
from safr.data.splits import DEV_SHARE, TEST_SHARE, Example, SplitExamples, TextDataset, split_by_class
from safr.errors import InputError, shorten_text

FEWEST_ROWS = 10
FEWEST_HELD_OUT = 2
"""Texts of dev and of test at least: an interval needs two."""

MANY_CLASSES = 20
"""Number of classes above which a column is looked at for what else it may hold."""


@dataclass(frozen=True, slots=True)
class LabelledText:
    """One usable text, the name of its class, and its place in the file."""

    text: str
    label: str
    place: str


def clean_rows(
    rows: Iterable[RawRow], columns: Sequence[str], label_names: Sequence[str] = ()
) -> tuple[list[LabelledText], Counter[str]]:
    """The usable rows of (text, label) cells, and counts of what was left out or replaced.

    Null, empty and blank texts, texts that are only a word for a missing value, and missing labels are left out. Lone
    surrogates, which no encoder takes, become U+FFFD. All other text stays as it is: control characters, NULs, emoji,
    any direction, any length.

    Args:
        rows: The cells; a label may also be a word that says it is missing, which `build_dataset` takes out.
        columns: Names of the columns.
        label_names: Names that the data declare for the labels 0, 1, ...; -1 is then a missing label.
    """
    text_column, label_column = (shorten_text(column) for column in columns)
    usable: list[LabelledText] = []
    cleaned: Counter[str] = Counter()
    names: dict[str, str] = {}  # so that a class name is held once
    for row in rows:
        text = _check_text(row.values[0], f"{row.place}, column {text_column!r}")
        value, place = row.values[1], f"{row.place}, column {label_column!r}"
        label = _name_label(value, label_names, place) if label_names else normalize_label(value, place)
        if not text.strip():
            cleaned["empty text left out"] += 1
        elif says_missing(text):
            cleaned["text that only says that it is missing, such as NaN, left out"] += 1
        elif label is None:
            cleaned["missing label left out"] += 1
        else:
            if isinstance(value, str) and value != value.strip() and not label_names:
                cleaned["white space around a label left out"] += 1
            text, replaced = replace_lone_surrogates(text)
            cleaned["lone surrogates replaced"] += replaced
            usable.append(LabelledText(text, names.setdefault(label, label), row.place))
    return usable, +cleaned


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
        label_names: The classes in the order of their ids, as the data declare them. Default: those of "train", sorted,
            after `resolve_labels` has said which labels are missing or are the same class.
    """
    place, cleaned = shorten_path(origin), Counter(cleaned)
    if not label_names:
        parts, resolved = _resolve_parts(parts)
        cleaned += resolved
    _check_rows(parts, place)
    counts = Counter(row.label for row in parts["train"])
    label_names = label_names or sort_label_names(counts)
    if len(counts) > MANY_CLASSES and all(map(is_number, counts)) and any("." in label for label in counts):
        cleaned["different numbers as classes; values to predict (regression)?"] = len(counts)
    ids = {label: number for number, label in enumerate(label_names) if label in counts}
    examples = {part: _number_labels(rows, ids) for part, rows in parts.items()}
    missing = [part for part in ("dev", "test") if part not in examples]
    completed = _fill_missing_parts(examples, counts, place)
    if missing:
        origin += f"; {' and '.join(missing)} taken from train by hash"
    return TextDataset.from_parts(name, completed, label_names=label_names, origin=origin, cleaned=cleaned)


def _check_text(value: Any, place: str) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if not isinstance(value, str):
        raise InputError(
            f"{place}: expected text, got {describe_cell(value)}; put quotes around it, or name another column"
        )
    return value


def _name_label(value: Any, label_names: Sequence[str], place: str) -> str | None:
    """The name of a label that is a number of a declared class, or None where it is hidden."""
    if value is None or value == -1 or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer():  # a column with a missing label, written from floats
        value = int(value)
    if not isinstance(value, int) or not 0 <= value < len(label_names):
        raise InputError(
            f"{place}: expected the number of one of {len(label_names)} classes, got {describe_cell(value)}"
        )
    return label_names[value]


def _resolve_parts(
    parts: Mapping[str, Sequence[LabelledText]],
) -> tuple[dict[str, list[LabelledText]], Counter[str]]:
    """The rows with the classes of their labels, without those whose label says that it is missing, and counts."""
    counts = Counter(row.label for row in parts["train"])
    class_of_label = resolve_labels(counts, (row.label for rows in parts.values() for row in rows))
    changed: Counter[str] = Counter()
    resolved: dict[str, list[LabelledText]] = {}
    for part, rows in parts.items():
        resolved[part] = []
        for row in rows:
            label = class_of_label[row.label]
            if label != row.label:
                changed[row.label] += 1
            if label is not None:
                resolved[part].append(row if label == row.label else replace(row, label=label))
    missing = sorted(label for label in changed if class_of_label[label] is None)
    respelled = sorted(label for label in changed if class_of_label[label] is not None)
    cleaned = {
        f"text without a label ({list_names(missing)}) left out": sum(changed[label] for label in missing),
        f"label {list_names(respelled)} read as {list_names([class_of_label[label] for label in respelled])}": sum(
            changed[label] for label in respelled
        ),
    }
    kept = [label for label in class_of_label if says_missing(label) and class_of_label[label] is not None]
    kept = [label for label in kept if counts[label]]
    cleaned[f"label {list_names(kept)} kept as a class, since it's one of the only two or another spelling of one"] = (
        sum(counts[label] for label in kept)
    )
    return resolved, Counter({what: count for what, count in cleaned.items() if count})


def _fill_missing_parts(examples: SplitExamples, counts: Counter[str], place: str) -> SplitExamples:
    """All three parts; those that are absent are taken from "train"."""
    parts = dict(examples)
    if not ("dev" in examples and "test" in examples):
        parts = split_by_class(
            examples["train"],
            dev=0 if "dev" in examples else DEV_SHARE,
            test=0 if "test" in examples else TEST_SHARE,
        )
        parts |= {part: examples[part] for part in ("dev", "test") if part in examples}
        if not (parts["dev"] and parts["test"]):
            raise InputError(
                f"{place}: no class has 3 different texts, so nothing is left for dev and test; "
                f"give more texts to a class{_suspect_many_labels(counts)}"
            )
    for part in ("dev", "test"):
        if len(parts[part]) < FEWEST_HELD_OUT:
            raise InputError(
                f"{place}: expected at least {FEWEST_HELD_OUT} texts in {part}, found {len(parts[part])}; "
                "an interval needs two, so bring more data"
            )
    return parts


def _check_rows(parts: Mapping[str, Sequence[LabelledText]], place: str) -> None:
    for part in ("dev", "test"):
        if part in parts and not parts[part]:
            raise InputError(f"{place}: no row with a text and a label in {part}; fill it, or leave it out")
    rows = parts["train"]
    if len(rows) < FEWEST_ROWS:
        raise InputError(
            f"{place}: expected at least {FEWEST_ROWS} rows with a text and a label to train on, found {len(rows)}"
        )
    counts = Counter(row.label for row in rows)
    if len(counts) == 1:
        raise InputError(
            f"{place}: expected at least two classes, all rows have the label {shorten_text(next(iter(counts)))!r}"
        )
    if len(counts) > max(MANY_CLASSES, len(rows) // 2):
        raise InputError(
            f"{place}: expected several texts of a class, found {len(counts):,} classes in {len(rows):,} rows"
            f"{_suspect_many_labels(counts)}"
        )


def _suspect_many_labels(counts: Counter[str]) -> str:
    if len(counts) <= MANY_CLASSES:
        return ""
    return f"; the column seems to hold {describe_many_labels(counts)}, so name the one with the classes"


def _number_labels(rows: Sequence[LabelledText], ids: Mapping[str, int]) -> list[Example]:
    for row in rows:
        if row.label not in ids:
            raise InputError(
                f"{row.place}: the label {shorten_text(row.label)!r} does not occur in train; expected one of "
                f"{list_names(list(ids))}"
            )
    return [(row.text, ids[row.label]) for row in rows]
