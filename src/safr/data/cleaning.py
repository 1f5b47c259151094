"""Cleans and checks a user's rows, and builds a data set with numbered labels and all three splits from them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from safr.config import QUESTION_TASKS, Task
from safr.data.choice_cells import SEPARATOR, read_choices, read_right_choice
from safr.data.files import Columns, RawRow
from safr.data.labels import (
    NamedLabel,
    describe_many_labels,
    guess_task,
    is_number,
    is_value,
    normalize_label,
    normalize_label_list,
    read_bit,
    read_target,
    replace_lone_surrogates,
    resolve_labels,
    says_missing,
    sort_label_names,
    split_names,
)
from safr.data.messages import describe_cell, list_names, shorten_path
from safr.data.splits import DEV_SHARE, TEST_SHARE, Example, SplitExamples, Text, TextDataset, split_by_class
from safr.data.squad import read_answers
from safr.errors import InputError, shorten_text

FEWEST_ROWS = 10
_IGNORED = "-100"  # label of a token that does not count, as in transformers
FEWEST_HELD_OUT = 2
"""Texts of dev and of test at least: an interval needs two."""

MANY_CLASSES = 20
"""Number of classes above which a column is looked at for what else it may hold."""


@dataclass(frozen=True, slots=True)
class LabelledText:
    """One usable text or pair, its label, and its place in the file."""

    text: Text
    label: NamedLabel
    place: str


Parts = Mapping[str, Sequence[LabelledText]]
"""The rows of "train", and of "dev" and "test" where there are any."""


def clean_rows(
    rows: Iterable[RawRow], columns: Columns, label_names: Sequence[str] = (), task: Task | None = None
) -> tuple[list[LabelledText], Counter[str]]:
    """The usable rows, and counts of what was left out or replaced.

    Null, empty and blank texts, texts that are only a word for a missing value, and missing labels are left out, of a
    pair where one of its texts is. Lone surrogates, which no encoder takes, become U+FFFD. All other text stays as it
    is: control characters, NULs, emoji, any direction, any length.

    Args:
        rows: The cells; a label may also be a word that says it is missing, which `build_dataset` takes out.
        columns: Names of the columns.
        label_names: Names that the data declare for the labels 0, 1, ...; -1 is then a missing label.
        task: What the labels are, where that is known. A target of `generation` is a text and stays as it is; it is
            empty where the text's own column is the label column, since the text itself is then the target. Words and
            tags of `token_classification` become two texts, with a space between, answers of `question_answering` their
            places, and the choices of `multiple_choice` one text; see `read_answers` and `read_choices`.
    """
    usable: list[LabelledText] = []
    cleaned: Counter[str] = Counter()
    names: dict[NamedLabel, NamedLabel] = {}  # so that a class name is held once
    for row in rows:
        texts, label = _read_row(row, columns, label_names, task, cleaned)
        if not all(text.strip() for text in texts):
            cleaned["empty text left out"] += 1
        elif any(map(says_missing, texts)):
            cleaned["text that only says that it is missing, such as NaN, left out"] += 1
        elif label is None:
            what = "question without an answer" if task in QUESTION_TASKS else "missing label"
            cleaned[f"{what} left out"] += 1
        else:
            value = row.values[len(columns.texts)]
            has_space = isinstance(value, str) and value != value.strip()
            if has_space and not label_names and task in (None, "classification", "multi_label", "regression"):
                cleaned["white space around a label removed"] += 1
            encodable = [replace_lone_surrogates(text) for text in texts]
            cleaned["lone surrogates replaced"] += sum(replaced for _, replaced in encodable)
            parts = [text for text, _ in encodable]
            text = parts[0] if len(parts) == 1 else (parts[0], parts[1])
            usable.append(LabelledText(text, names.setdefault(label, label), row.place))
    return usable, +cleaned


def _read_row(
    row: RawRow, columns: Columns, label_names: Sequence[str], task: Task | None, cleaned: Counter[str]
) -> tuple[list[str], NamedLabel | None]:
    """The text or the two texts in a row's cells, and its label, or None where that is missing."""
    places = [f"{row.place}, column {shorten_text(name)!r}" for name in columns.names]
    count = len(columns.texts)
    cells, values = row.values[:count], row.values[count:]
    if task == "multiple_choice":
        _check_choice_columns(columns, row.place)
        choices, names = read_choices(cells[1:], places[1])
        listed = SEPARATOR.join(choices) if all(choices) else ""  # with an empty choice the row is left out
        label, is_ambiguous = read_right_choice(values[0], choices, names, places[count]) if listed else (None, False)
        read = "text" if isinstance(values[0], str) else "number"
        cleaned[f"label that is the text of one choice and the number of another, read as the {read}"] += is_ambiguous
        return [_check_text(cells[0], places[0]), listed], label
    read_text = _join_words if task == "token_classification" else _check_text
    texts = [read_text(value, place) for value, place in zip(cells, places, strict=False)]
    if task == "question_answering":
        if not all(text.strip() for text in texts):  # no answer stands in an empty one
            return texts, None
        label, is_ambiguous = read_answers(values[0], replace_lone_surrogates(texts[-1])[0], places[count])
        cleaned["answer that occurs in its text more than once, taken where it occurs first"] += is_ambiguous
        return texts, label
    return texts, _read_label(values, columns, label_names, row.place, task)


def _check_choice_columns(columns: Columns, place: str) -> None:
    if len(columns.texts) < 2 or len(columns.labels) > 1:
        raise InputError(
            f"{place}: expected a column with the question, columns with the choices (or one with lists of them) and "
            f"one with the right choice, got {list_names(columns.names)}; pass --text-column question choices "
            "--label-column answer"
        )


def build_dataset(
    name: str,
    parts: Parts,
    columns: Columns,
    *,
    origin: str,
    cleaned: Mapping[str, int],
    label_names: Sequence[str] = (),
    task: Task | None = None,
) -> TextDataset:
    """The data set with these splits; a "dev" or "test" that is absent is taken from "train".

    Args:
        name: What the user asked for.
        parts: The rows of "train", and of "dev" and "test" where there are any.
        columns: Names of the columns.
        origin: Where the rows were read from; the splits taken from "train" are added to it.
        cleaned: Counts of what was left out or replaced.
        label_names: The classes in the order of their ids, as the data declare them. Default: those of "train", sorted,
            after `resolve_labels` has said which labels are missing or are the same class.
        task: What the labels are. Default: what `guess_task` makes of those of "train".
    """
    place, cleaned = shorten_path(origin), Counter(cleaned)
    _check_rows(parts, place)
    if task is None:
        _check_kinds(parts)
        task = guess_task((row.label for row in parts["train"]), most_classes=MANY_CLASSES, declared=bool(label_names))
    prepare = {
        "classification": _prepare_classes,
        "multi_label": _prepare_class_lists,
        "regression": _prepare_values,
        "generation": _prepare_targets,
        "token_classification": _prepare_tags,
        "question_answering": _prepare_answers,
        "multiple_choice": _prepare_choices,
    }[task]
    examples, names, changed = prepare(parts, columns, label_names, place)
    missing = [part for part in ("dev", "test") if part not in examples]
    completed = _fill_missing_parts(examples, place, task)
    if missing:
        origin += f"; {' and '.join(missing)} taken from train by hash"
    return TextDataset.from_parts(
        name, completed, label_names=names, origin=origin, cleaned=cleaned + changed, task=task
    )


def _check_text(value: Any, place: str) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if not isinstance(value, str):
        advice = "pass --task token_classification" if isinstance(value, list) else "put quotes around it"
        raise InputError(f"{place}: expected text, got {describe_cell(value)}; {advice}, or name another column")
    return value


def _join_words(value: Any, place: str) -> str:
    """A text from the list of its words, or from a string in which white space parts them."""
    if not isinstance(value, list | tuple):
        return " ".join(_check_text(value, place).split())
    for word in value:
        if not isinstance(word, str) or len(word.split(" ")) != 1 or any(space in word for space in "\t\r\n"):
            raise InputError(f"{place}: expected a list of words without white space, got {describe_cell(word)} in it")
    return " ".join(value) if all(value) else ""  # with an empty word the row is left out, as with an empty text


def _join_tags(value: Any, label_names: Sequence[str], place: str) -> str | None:
    """The tags of a text with a space between, or None where one is missing."""
    if value is None or isinstance(value, str):
        return None if value is None else " ".join(value.split())
    if not isinstance(value, list | tuple):
        raise InputError(f"{place}: expected the list of the words' tags, got {describe_cell(value)}")
    tags = [_name_label(tag, label_names, place) if label_names else normalize_label(tag, place) for tag in value]
    if spaced := [tag for tag in tags if tag is not None and len(tag.split()) != 1]:
        raise InputError(f"{place}: expected tags without white space, got {shorten_text(spaced[0])!r}")
    if _IGNORED in tags:
        raise InputError(f"{place}: {_IGNORED} marks tokens without a tag, and each word needs one; write O")
    return None if None in tags else " ".join(map(str, tags))


def _read_label(
    values: Sequence[Any], columns: Columns, label_names: Sequence[str], place: str, task: Task | None
) -> NamedLabel | None:
    """The label in a row's cells, or None where it is missing."""
    names = columns.labels
    places = [f"{place}, column {shorten_text(column)!r}" for column in names]
    if task == "token_classification":
        return _join_tags(values[0], label_names, places[0])
    if task == "generation" and not label_names:
        return "" if columns.text_is_target else read_target(values[0], places[0])
    if len(names) > 1:
        bits = [read_bit(value, at) for value, at in zip(values, places, strict=True)]
        return None if None in bits else tuple(column for column, bit in zip(names, bits, strict=True) if bit)
    value = values[0]
    if isinstance(value, dict) and "answer_start" in value:
        raise InputError(f"{places[0]}: holds answers in a text; pass --task question_answering")
    if isinstance(value, list | tuple):
        if label_names:
            return tuple(name for number in value if (name := _name_label(number, label_names, places[0])) is not None)
        return normalize_label_list(value, places[0])
    return _name_label(value, label_names, places[0]) if label_names else normalize_label(value, places[0])


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


def _prepare_classes(
    parts: Parts, columns: Columns, label_names: Sequence[str], place: str
) -> tuple[SplitExamples, tuple[str, ...], Counter[str]]:
    """The examples of one class each, the names of the classes, and counts of what was changed."""
    changed: Counter[str] = Counter()
    for rows in parts.values():
        if row := next((row for row in rows if isinstance(row.label, tuple)), None):
            raise InputError(
                f"{row.place}: expected one class a text, got the list {list_names(row.label) or 'of none'}; "
                "for several pass --task multi_label"
            )
    if not label_names:
        parts, changed = _resolve_parts(parts)
        _check_rows(parts, place)
    counts = Counter(str(row.label) for row in parts["train"])
    _check_classes(counts, len(parts["train"]), place)
    names = tuple(label_names) or sort_label_names(counts)
    ids = {label: number for number, label in enumerate(names) if label in counts}
    return {part: _number_labels(rows, ids) for part, rows in parts.items()}, names, changed


def _prepare_class_lists(
    parts: Parts, columns: Columns, label_names: Sequence[str], place: str
) -> tuple[SplitExamples, tuple[str, ...], Counter[str]]:
    """The examples with 0 or 1 for each class, the names of the classes, and counts of what was changed."""
    # Names that the data declare are not taken apart.
    split = (lambda label: label if isinstance(label, tuple) else (label,)) if label_names else split_names
    lists = {part: [split(row.label) for row in rows] for part, rows in parts.items()}
    counts = Counter(name for names in lists["train"] for name in names)
    every_name = (name for part_lists in lists.values() for names in part_lists for name in names)
    declared = label_names or (columns.labels if len(columns.labels) > 1 else ())
    class_of_name: Mapping[str, str | None] = {name: name for name in declared} or resolve_labels(counts, every_name)
    names = tuple(declared) or sort_label_names(name for label in counts if (name := class_of_name[label]) is not None)
    if len(names) < 2:
        raise InputError(
            f"{place}: expected at least two classes among the lists of classes, found {list_names(names) or 'none'}"
        )
    if len(names) > max(MANY_CLASSES, len(parts["train"]) // 2):
        raise InputError(
            f"{place}: expected several texts for each class, found {len(names):,} classes in {len(parts['train']):,} "
            "rows"
        )
    position = {name: number for number, name in enumerate(names)}
    changed: Counter[str] = Counter()
    examples: SplitExamples = {part: [] for part in parts}
    for part, rows in parts.items():
        for row, listed in zip(rows, lists[part], strict=True):
            # A name that is not declared stands for itself, and is told below.
            classes = [class_name for name in listed if (class_name := class_of_name.get(name, name)) is not None]
            if listed and not classes:
                changed[f"text without a label ({list_names(listed)}) left out"] += 1
                continue
            changed["class in a list read as another spelling of its name"] += sum(
                class_name not in listed for class_name in classes
            )
            if strange := [class_name for class_name in classes if class_name not in position]:
                raise _make_unknown_label_error(row.place, strange[0], names)
            chosen = {position[class_name] for class_name in classes}
            examples[part].append((row.text, tuple(int(number in chosen) for number in range(len(names)))))
    return examples, names, +changed


def _prepare_values(
    parts: Parts, columns: Columns, label_names: Sequence[str], place: str
) -> tuple[SplitExamples, tuple[str, ...], Counter[str]]:
    """The examples with the number to predict, the column's name, and counts of what was left out."""
    if len(columns.labels) > 1:
        raise InputError(f"{place}: expected one column of numbers to predict, got {list_names(columns.labels)}")
    changed: Counter[str] = Counter()
    examples: SplitExamples = {}
    for part, rows in parts.items():
        examples[part] = []
        for row in rows:
            if isinstance(row.label, str) and says_missing(row.label):
                changed["text without a number to predict left out"] += 1
            elif isinstance(row.label, tuple) or not is_value(row.label):
                shown = "a list of classes" if isinstance(row.label, tuple) else repr(shorten_text(row.label))
                raise InputError(
                    f"{row.place}: expected a number to predict (--task regression), got {shown}; write it as 3.5"
                )
            else:
                examples[part].append((row.text, float(row.label)))
        _check_count(part, len(examples[part]), place)
    if len({label for _, label in examples["train"]}) < 2:
        raise InputError(
            f"{place}: expected different numbers to predict, but all rows have {examples['train'][0][1]:g}"
        )
    return examples, (columns.labels[0],), changed


def _prepare_targets(
    parts: Parts, columns: Columns, label_names: Sequence[str], place: str
) -> tuple[SplitExamples, tuple[str, ...], Counter[str]]:
    """The examples with the text to write, empty where it is the text itself, and the column's name."""
    if len(columns.texts) > 1 or len(columns.labels) > 1:
        raise InputError(
            f"{place}: expected one column of texts and one of what the model should write after them, got "
            f"{list_names(columns.names)}; join any others first"
        )
    return _take_as_written(parts), (columns.labels[0],), Counter()


def _prepare_tags(
    parts: Parts, columns: Columns, label_names: Sequence[str], place: str
) -> tuple[SplitExamples, tuple[str, ...], Counter[str]]:
    """The examples with the tags of their words in one string, and the names of all tags."""
    if len(columns.texts) > 1 or len(columns.labels) > 1:
        raise InputError(f"{place}: expected one column of words and one of tags, got {list_names(columns.names)}")
    names: set[str] = set()
    for row in (row for rows in parts.values() for row in rows):
        words, tags = str(row.text).split(" "), str(row.label).split()
        if len(words) != len(tags):
            raise InputError(f"{row.place}: expected a tag for each of the {len(words)} words, got {len(tags)} tags")
        names |= set(tags)
    if len(names) < 2:
        raise InputError(f"{place}: expected at least two tags, but all words have {list_names(sorted(names))}")
    known = {tag for row in parts["train"] for tag in str(row.label).split()}
    changed: Counter[str] = Counter()
    for rows in (rows for part, rows in parts.items() if part != "train"):
        for row in rows:
            for tag in set(str(row.label).split()) - known:
                changed[f"text with the tag {shorten_text(tag)!r}, which train lacks, kept"] += 1
    return _take_as_written(parts), tuple(label_names) or sort_label_names(names), changed


def _prepare_answers(
    parts: Parts, columns: Columns, label_names: Sequence[str], place: str
) -> tuple[SplitExamples, tuple[str, ...], Counter[str]]:
    """The examples with the places of their answers, and the column's name."""
    if len(columns.texts) != 2 or len(columns.labels) > 1:
        raise InputError(
            f"{place}: expected two columns, of questions and of texts, and one of answers, got "
            f"{list_names(columns.names)}; pass --text-column question context --label-column answers"
        )
    return _take_as_written(parts), (columns.labels[0],), Counter()


def _prepare_choices(
    parts: Parts, columns: Columns, label_names: Sequence[str], place: str
) -> tuple[SplitExamples, tuple[str, ...], Counter[str]]:
    """The examples with the numbers of their right choices, and the column's name."""
    counts = Counter(str(row.text[1]).count(SEPARATOR) + 1 for rows in parts.values() for row in rows)
    usual = counts.most_common(1)[0][0]
    for row in (row for rows in parts.values() for row in rows):
        if (count := str(row.text[1]).count(SEPARATOR) + 1) != usual:
            raise InputError(
                f"{row.place}: expected {usual} choices as most questions have, got {count}; all questions must have "
                "the same number of choices, so leave this one out"
            )
    return _take_as_written(parts), (columns.labels[0],), Counter()


def _take_as_written(parts: Parts) -> SplitExamples:
    """The examples with their labels as strings."""
    return {part: [(row.text, str(row.label)) for row in rows] for part, rows in parts.items()}


def _resolve_parts(parts: Parts) -> tuple[dict[str, list[LabelledText]], Counter[str]]:
    """The rows with the classes of their labels, without those whose label says that it is missing, and counts."""
    counts = Counter(str(row.label) for row in parts["train"])
    class_of_label = resolve_labels(counts, (str(row.label) for rows in parts.values() for row in rows))
    changed: Counter[str] = Counter()
    resolved: dict[str, list[LabelledText]] = {}
    for part, rows in parts.items():
        resolved[part] = []
        for row in rows:
            label = class_of_label[str(row.label)]
            if label != row.label:
                changed[str(row.label)] += 1
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


def _fill_missing_parts(examples: SplitExamples, place: str, task: Task) -> SplitExamples:
    """All three parts; those that are absent are taken from "train"."""
    parts = dict(examples)
    if not ("dev" in examples and "test" in examples):
        parts = split_by_class(
            examples["train"],
            dev=0 if "dev" in examples else DEV_SHARE,
            test=0 if "test" in examples else TEST_SHARE,
            one_class=task != "classification",
            by_second=task == "question_answering",  # one text has many questions
        )
        parts |= {part: examples[part] for part in ("dev", "test") if part in examples}
        if not (parts["dev"] and parts["test"]):
            counts = Counter(str(label) for _, label in examples["train"])
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


def _check_rows(parts: Parts, place: str) -> None:
    for part in ("dev", "test", "train"):
        if part in parts:
            _check_count(part, len(parts[part]), place)


def _check_count(part: str, count: int, place: str) -> None:
    if part != "train" and not count:
        raise InputError(f"{place}: no row with a text and a label in {part}; fill it, or leave it out")
    if part == "train" and count < FEWEST_ROWS:
        raise InputError(
            f"{place}: expected at least {FEWEST_ROWS} rows with a text and a label to train on, found {count}"
        )


def _check_kinds(parts: Parts) -> None:
    """Raise an InputError where some labels are lists of classes and others are not: a single row may be a mistake."""
    rows = [row for part in parts.values() for row in part]
    lists = [row for row in rows if isinstance(row.label, tuple)]
    if lists and len(lists) < len(rows):
        listed = list_names(lists[0].label) or "of none"
        raise InputError(
            f"{lists[0].place}: expected one class as in other rows, got the list {listed}; write lists in all rows, "
            "or pass --task multi_label"
        )


def _check_classes(counts: Counter[str], rows: int, place: str) -> None:
    if len(counts) == 1:
        raise InputError(
            f"{place}: expected at least two classes, but all rows have the label {shorten_text(next(iter(counts)))!r}"
        )
    if len(counts) > max(MANY_CLASSES, rows // 2):
        raise InputError(
            f"{place}: expected several texts for each class, found {len(counts):,} classes in {rows:,} rows"
            f"{_suspect_many_labels(counts)}"
        )


def _suspect_many_labels(counts: Counter[str]) -> str:
    if len(counts) <= MANY_CLASSES:
        return ""
    task = "regression" if all(map(is_number, counts)) else "generation"
    advice = f", or pass --task {task}"
    return f"; the column seems to hold {describe_many_labels(counts)}, so name the one with the classes{advice}"


def _number_labels(rows: Sequence[LabelledText], ids: Mapping[str, int]) -> list[Example]:
    for row in rows:
        if row.label not in ids:
            raise _make_unknown_label_error(row.place, str(row.label), tuple(ids))
    return [(row.text, ids[str(row.label)]) for row in rows]


def _make_unknown_label_error(place: str, label: str, names: Sequence[str]) -> InputError:
    return InputError(
        f"{place}: the label {shorten_text(label)!r} does not occur in train; expected one of {list_names(list(names))}"
    )
