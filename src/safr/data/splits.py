"""Train, dev and test splits: the data set that holds them, and three rules that split texts by their hash."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from functools import cached_property
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safr.config import QUESTION_TASKS, Task
from safr.errors import InputError, describe_value, shorten_text

Text = str | tuple[str, str]
"""What a model reads at a time: a string is a text, and a tuple of two strings is a pair of texts."""

Label = int | float | str | tuple[int, ...]
"""A class id, a number to predict, a string, or 1 for every class that fits and 0 for the others, (label,).

A string is what a model is to write after the text, empty where that is the text itself; or the tags of the text's
words, with white space between; or the places of the answers to a question, as START:END in characters; or the number
of its right choice.
"""

Example = tuple[Text, Label]
SplitExamples = dict[str, list[Example]]  # "train", "dev", "test"

DEV_SHARE, TEST_SHARE = 0.1, 0.2
_PARTS = ("train", "dev", "test")
_SHOWN = 10
"""Classes that are listed with their counts."""

_SPLIT_OF_TENTH = ("train",) * 7 + ("dev",) + ("test",) * 2


@dataclass(frozen=True)
class Split:
    """Texts, or pairs of them as tuples, and their labels, in a fixed order.

    Labels are class ids; or rows of 0 and 1, one number a class, where a text may have any number of classes; or other
    numbers, for regression; or strings: what a model is to write, the tags of the words, the places of answers,
    or numbers of choices.

    Raises:
        InputError: A text is neither a string nor a pair of them, or a label is none of these.
        ValueError: There are more texts than labels, or fewer.
    """

    texts: tuple[Text, ...]
    labels: tuple[Label, ...]

    def __post_init__(self) -> None:
        if isinstance(self.texts, str):
            raise InputError(f"expected a list of texts, got {describe_value(self.texts)}")
        object.__setattr__(self, "texts", tuple(self.texts))
        for number, text in enumerate(self.texts):
            parts = text if isinstance(text, tuple) and len(text) == 2 else (text,)  # a pair is judged as a whole
            if not all(isinstance(part, str) for part in parts):
                raise InputError(f"text {number}: expected a string, got {describe_value(text)}")
        object.__setattr__(self, "labels", _check_labels(self.labels))
        if len(self.texts) != len(self.labels):
            raise ValueError(
                f"`texts` and `labels` must be equally long, got {len(self.texts)} and {len(self.labels)}; "
                "give one label for each text"
            )

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def label_array(self) -> NDArray[Any]:
        """Class ids as int64, (text,), or float64: numbers to predict, (text,), or 0 and 1, (text, label)."""
        array = np.array(self.labels)
        return array.astype(np.int64 if array.ndim == 1 and np.issubdtype(array.dtype, np.integer) else np.float64)


@dataclass(frozen=True)
class Duplicates:
    """How many texts occur more than once; texts are the same if they differ in white space alone."""

    test_in_train: int
    """Test texts that are also in train, which a model may know by heart."""

    test_in_dev: int
    """Test texts that are also in dev, by which the epoch is chosen."""

    dev_in_train: int
    """Dev texts that are also in train."""

    repeated: int
    """Texts beyond the first of the same in their split."""

    contradicting: int
    """Different texts that have more than one label."""

    def to_dict(self) -> dict[str, int]:
        """The counts as JSON values."""
        return asdict(self)

    def describe(self) -> dict[str, int]:
        """The counts that are not 0, by what they count, in words."""
        counts = {
            "test texts that are in train too, so the test accuracy may be too high": self.test_in_train,
            "test texts that are in dev too": self.test_in_dev,
            "dev texts that are in train too": self.dev_in_train,
            "texts that repeat another of their split": self.repeated,
            "texts with more than one label": self.contradicting,
        }
        return {what: count for what, count in counts.items() if count}


@dataclass(frozen=True)
class TextDataset:
    """Three splits of labelled texts, and their origin."""

    name: str
    train: Split
    dev: Split
    test: Split
    label_names: tuple[str, ...]  # index = class id
    origin: str  # where the texts were read from, in words
    cleaned: dict[str, int]  # counts of what was left out or replaced; empty if nothing was
    task: Task = "classification"

    @classmethod
    def from_parts(
        cls,
        name: str,
        parts: SplitExamples,
        *,
        label_names: Iterable[str],
        origin: str,
        cleaned: Mapping[str, int],
        task: Task = "classification",
    ) -> TextDataset:
        """The data set with the examples of `parts`; counts of 0 in `cleaned` are dropped."""
        return cls(
            name=name,
            train=_make_split(parts["train"]),
            dev=_make_split(parts["dev"]),
            test=_make_split(parts["test"]),
            label_names=tuple(label_names),
            origin=origin,
            cleaned={what: count for what, count in cleaned.items() if count},
            task=task,
        )

    @property
    def has_string_labels(self) -> bool:
        """Whether the labels are strings, which say something about tokens and not about whole texts."""
        return self.task in ("generation", "token_classification", *QUESTION_TASKS)

    @property
    def has_pairs(self) -> bool:
        """Whether the texts are pairs."""
        return isinstance(self.train.texts[0], tuple)

    @cached_property
    def duplicates(self) -> Duplicates:
        """How many texts occur more than once, in a split or in several."""
        keys = {part: [_normalize_space(text) for text in getattr(self, part).texts] for part in _PARTS}
        different = {part: set(part_keys) for part, part_keys in keys.items()}
        labels_of_text = defaultdict(set)
        for part in _PARTS:
            for key, label in zip(keys[part], getattr(self, part).labels, strict=True):
                labels_of_text[key].add(label)
        return Duplicates(
            test_in_train=sum(key in different["train"] for key in keys["test"]),
            test_in_dev=sum(key in different["dev"] for key in keys["test"]),
            dev_in_train=sum(key in different["train"] for key in keys["dev"]),
            repeated=sum(len(keys[part]) - len(different[part]) for part in _PARTS),
            contradicting=sum(len(labels) > 1 for labels in labels_of_text.values()),
        )

    def describe(self) -> list[str]:
        """Lines about repeated texts, about the classes in train, and about what was left out or replaced."""
        return [
            *(f"{count:,} {what}" for what, count in self.duplicates.describe().items()),
            self._describe_labels(),
            *(f"{count:,} {what}" for what, count in self.cleaned.items()),
        ]

    def _describe_labels(self) -> str:
        if self.task == "generation":
            return _describe_targets(self.train)
        if self.task == "token_classification":
            return self._describe_tags()
        if self.task == "question_answering":
            return _describe_questions(self.train)
        if self.task == "multiple_choice":
            by_place = sorted(Counter(map(str, self.train.labels)).items())
            places = ", ".join(f"{place} {count:,}" for place, count in by_place)
            return f"questions in train: {len(self.train):,}; the right choice by its number: {places}"
        labels = self.train.label_array
        if self.task == "regression":
            spread = (
                f"{labels.min():.4g} to {labels.max():.4g}, mean {labels.mean():.4g}, median {np.median(labels):.4g}"
            )
            return f"numbers to predict ({shorten_text(self.label_names[0], 30)}) in train: {spread}"
        is_multi = self.task == "multi_label"
        counts = labels.sum(axis=0).astype(int) if is_multi else np.bincount(labels, minlength=len(self.label_names))
        classes = [f"{shorten_text(name, 30)} {counts[n]:,}" for n, name in enumerate(self.label_names[:_SHOWN])]
        others = len(self.label_names) - len(classes)
        more = f", and {others:,} more" if others else ""
        without = f"; none {(labels.sum(axis=1) == 0).sum():,}" if is_multi else ""
        how = ", any number of them a text" if is_multi else ""
        return f"classes in train{how}: {', '.join(classes)}{more}{without}"

    def _describe_tags(self) -> str:
        counts = Counter(tag for label in self.train.labels for tag in str(label).split())
        tags = [f"{shorten_text(tag, 30)} {count:,}" for tag, count in counts.most_common(_SHOWN)]
        others = len(counts) - len(tags)
        return f"tags of words in train: {', '.join(tags)}{f', and {others:,} more' if others else ''}"

    def without_shared_texts(self) -> TextDataset:
        """The data set without the texts of train that are in dev or test, and those of dev that are in test.

        Raises:
            InputError: Too little would be left.
        """
        test = set(map(_normalize_space, self.test.texts))
        dev, dropped_of_dev = _drop_texts(self.dev, test)
        train, dropped_of_train = _drop_texts(self.train, test | set(map(_normalize_space, dev.texts)))
        if len(dev) < 2 or len(set(train.texts if self.has_string_labels else train.labels)) < 2:
            raise InputError(
                f"`drop_duplicates` would leave {len(train)} texts with {len(set(train.labels))} labels to train on "
                f"and {len(dev)} to choose by, since the others are in another split too; bring splits that differ"
            )
        dropped = {
            "texts of train that are in dev or test left out": dropped_of_train,
            "texts of dev that are in test left out": dropped_of_dev,
        }
        return TextDataset(
            name=self.name,
            train=train,
            dev=dev,
            test=self.test,
            label_names=self.label_names,
            origin=self.origin,
            cleaned=self.cleaned | {what: count for what, count in dropped.items() if count},
            task=self.task,
        )

    def fingerprint(self) -> str:
        """SHA-256 (hex) of the texts, the labels, the borders of the splits and the label names."""
        splits = [(split.texts, split.labels) for split in (self.train, self.dev, self.test)]
        return hashlib.sha256(json.dumps([self.label_names, *splits]).encode()).hexdigest()


def split_pair(text: Text) -> tuple[str, ...]:
    """The two texts of a pair, or the one of a text.

    >>> split_pair("a film"), split_pair(("it rains", "it is wet"))
    (('a film',), ('it rains', 'it is wet'))
    """
    return (text,) if isinstance(text, str) else text


def hash_text(text: Text) -> str:
    """SHA-256 (hex) of the UTF-8 bytes of a text, or of a pair with a zero between, the same on every machine.

    >>> hash_text("a good film")[:8]
    '5392fa17'
    """
    return hashlib.sha256("\0".join(split_pair(text)).encode("utf-8", "surrogatepass")).hexdigest()


def join_pair(text: Text) -> str:
    """A text as it is, and a pair on one line, with a double bar between its texts.

    >>> join_pair("a film"), join_pair(("it rains", "it is wet"))
    ('a film', 'it rains ‖ it is wet')
    """
    return " ‖ ".join(split_pair(text))


def write_label(data: TextDataset, label: Label) -> str:
    """A label in words: the name of its class, the names of all its classes with `;` between, or the number."""
    if isinstance(label, tuple):
        return "; ".join(name for name, fits in zip(data.label_names, label, strict=True) if fits)
    if isinstance(label, str):
        return label
    return data.label_names[label] if isinstance(label, int) else f"{label:g}"


def drop_duplicates(examples: Sequence[Example]) -> tuple[list[Example], int]:
    """The first example of every text, and the number of examples left out.

    >>> drop_duplicates([("good", 1), ("bad", 0), ("good", 1)])
    ([('good', 1), ('bad', 0)], 1)
    """
    label_of_text: dict[Text, Label] = {}
    for text, label in examples:
        label_of_text.setdefault(text, label)
    return list(label_of_text.items()), len(examples) - len(label_of_text)


def take_first_of_each_class(examples: Iterable[Example], count: int) -> tuple[list[Example], list[Example]]:
    """The first `count` examples of each class, and the remaining examples, both in their order.

    >>> take_first_of_each_class([("a", 0), ("b", 0), ("c", 1)], 1)
    ([('a', 0), ('c', 1)], [('b', 0)])
    """
    first: list[Example] = []
    remaining: list[Example] = []
    counts: Counter[Label] = Counter()
    for text, label in examples:
        counts[label] += 1
        (first if counts[label] <= count else remaining).append((text, label))
    return first, remaining


def split_by_hash(examples: Iterable[Example]) -> SplitExamples:
    """About 70 % train, 10 % dev and 20 % test; a text's hash decides alone, whatever other texts are in the data."""
    parts: SplitExamples = {"train": [], "dev": [], "test": []}
    for text, label in examples:
        parts[_SPLIT_OF_TENTH[int(hash_text(text), 16) % 10]].append((text, label))
    return parts


def split_by_rank(examples: Iterable[Example], *, dev: int, test: int) -> SplitExamples:
    """Exactly `dev` and `test` examples, and all others for training, in the order of the texts' hashes.

    The texts must differ from each other.
    """
    ranked = sorted(examples, key=lambda example: hash_text(example[0]))
    return {"dev": ranked[:dev], "test": ranked[dev : dev + test], "train": ranked[dev + test :]}


def split_by_class(
    examples: Sequence[Example],
    *,
    dev: float = DEV_SHARE,
    test: float = TEST_SHARE,
    one_class: bool = False,
    by_second: bool = False,
) -> SplitExamples:
    """A share of every class for dev and for test, and the remaining texts for training; suits small data too.

    Within a class, different texts are ranked by their hash: the first go to dev and the next to test, at least one to
    dev and one to test. A class of fewer than three texts stays in training. Equal texts stay together, and a text with
    two labels goes to training. The parts keep the order of `examples`. A share of 0 leaves its part empty. With
    `one_class` all texts count as one class, as where labels are numbers or sets of classes. With `by_second` pairs
    with the same second text stay together, as a text's questions do; shares are then of second texts.
    """
    if by_second:
        parts_of_texts = split_by_class([(text[1], 0) for text, _ in examples], dev=dev, test=test)
        part_of_text = {text: part for part, rows in parts_of_texts.items() for text, _ in rows}
        return {part: [row for row in examples if part_of_text[row[0][1]] == part] for part in _PARTS}
    part_of: dict[Text, str] = {}
    for texts in _texts_by_class([(text, 0) for text, _ in examples] if one_class else examples).values():
        ranked = sorted(texts, key=hash_text) if len(texts) >= 3 else []
        dev_count, test_count = _count_share(dev, ranked), _count_share(test, ranked)
        part_of |= dict.fromkeys(ranked[:dev_count], "dev")
        part_of |= dict.fromkeys(ranked[dev_count : dev_count + test_count], "test")
    parts: SplitExamples = {"train": [], "dev": [], "test": []}
    for text, label in examples:
        parts[part_of.get(text, "train")].append((text, label))
    return parts


def _check_labels(labels: Iterable[Any]) -> tuple[Label, ...]:
    """The labels as Python's own numbers and tuples of them, all of one kind.

    Raises:
        InputError: A label is none, or they are of several kinds.
    """
    labels = tuple(labels)
    if labels and all(isinstance(label, str) for label in labels):
        return labels
    if labels and all(isinstance(label, Sequence | np.ndarray) and not isinstance(label, str) for label in labels):
        for number, label in enumerate(labels):
            if len(label) != max(len(labels[0]), 1) or any(bit not in (0, 1) for bit in label):
                raise InputError(
                    f"label {number}: expected 0 or 1 for each of {len(labels[0])} classes, got {describe_value(label)}"
                )
        return tuple(tuple(map(int, label)) for label in labels)
    if labels and all(isinstance(label, Real) for label in labels) and any(map(_is_float, labels)):
        if not all(np.isfinite(float(label)) for label in labels):
            raise InputError("expected finite numbers as labels, got some that are not; leave their texts out")
        return tuple(map(float, labels))
    for number, label in enumerate(labels):
        if not isinstance(label, Integral) or isinstance(label, bool) or label < 0:
            raise InputError(
                f"label {number}: expected a class id, a whole number of at least 0, got {describe_value(label)}"
            )
    return tuple(map(int, labels))


def _is_float(label: Any) -> bool:
    return not isinstance(label, Integral)


def _normalize_space(text: Text) -> Text:
    if isinstance(text, tuple):
        return " ".join(text[0].split()), " ".join(text[1].split())
    return " ".join(text.split())


def _describe_targets(split: Split) -> str:
    targets = [str(label) for label in split.labels]
    what, texts = ("texts to write", targets) if any(targets) else ("texts to learn to write", split.texts)
    words = [len(str(text).split()) for text in texts]
    return f"{what} in train: {np.mean(words):.1f} words on average, {min(words):,} to {max(words):,}"


def _describe_questions(split: Split) -> str:
    answers = sum(len(str(label).split()) for label in split.labels)
    texts = len({text[1] for text in split.texts})
    return f"questions in train: {len(split):,} about {texts:,} texts, with {answers:,} answers"


def _drop_texts(split: Split, texts: Set[Text]) -> tuple[Split, int]:
    """The split without some texts, and how many it had of them."""
    kept = [
        (text, label)
        for text, label in zip(split.texts, split.labels, strict=True)
        if _normalize_space(text) not in texts
    ]
    return _make_split(kept), len(split) - len(kept)


def _texts_by_class(examples: Iterable[Example]) -> dict[Label, list[Text]]:
    """The different texts by class, without those that have more than one label."""
    labels_of_text = defaultdict(set)
    for text, label in examples:
        labels_of_text[text].add(label)
    texts = defaultdict(list)
    for text, labels in labels_of_text.items():
        if len(labels) == 1:
            texts[labels.pop()].append(text)
    return texts


def _count_share(share: float, ranked: Sequence[Text]) -> int:
    return max(1, int(share * len(ranked) + 0.5)) if share and ranked else 0


def _make_split(examples: Sequence[Example]) -> Split:
    return Split(tuple(text for text, _ in examples), tuple(label for _, label in examples))
