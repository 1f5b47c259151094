"""Train, dev and test splits: the data set that holds them, and three rules that split texts by their hash."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from functools import cached_property
from numbers import Integral

from safr.errors import InputError, describe_value, shorten_text

Example = tuple[str, int]  # text, class id
SplitExamples = dict[str, list[Example]]  # "train", "dev", "test"

DEV_SHARE, TEST_SHARE = 0.1, 0.2
_PARTS = ("train", "dev", "test")
_SHOWN = 10
"""Classes that are listed with their counts."""

_SPLIT_OF_TENTH = ("train",) * 7 + ("dev",) + ("test",) * 2


@dataclass(frozen=True)
class Split:
    """Texts and their class ids, in a fixed order.

    Raises:
        InputError: A text is neither a string nor a pair of them, or a label is no whole number of at least 0.
        ValueError: There are more texts than labels, or fewer.
    """

    texts: tuple[str, ...]
    labels: tuple[int, ...]

    def __post_init__(self) -> None:
        if isinstance(self.texts, str):
            raise InputError(f"expected a list of texts, got {describe_value(self.texts)}")
        object.__setattr__(self, "texts", tuple(self.texts))
        for number, text in enumerate(self.texts):
            parts = text if isinstance(text, tuple) and len(text) == 2 else (text,)  # a pair is judged as a whole
            if not all(isinstance(part, str) for part in parts):
                raise InputError(f"text {number}: expected a string, got {describe_value(text)}")
        for number, label in enumerate(self.labels):
            if not isinstance(label, Integral) or isinstance(label, bool) or label < 0:
                raise InputError(
                    f"label {number}: expected a class id, a whole number of at least 0, got {describe_value(label)}"
                )
        object.__setattr__(self, "labels", tuple(map(int, self.labels)))
        if len(self.texts) != len(self.labels):
            raise ValueError(
                f"`texts` and `labels` must be equally long, got {len(self.texts)} and {len(self.labels)}; "
                "give one label for each text"
            )

    def __len__(self) -> int:
        return len(self.texts)


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

    @classmethod
    def from_parts(
        cls, name: str, parts: SplitExamples, *, label_names: Iterable[str], origin: str, cleaned: Mapping[str, int]
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
        )

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
        counts = Counter(self.train.labels)
        classes = [
            f"{shorten_text(name, 30)} {counts[number]:,}" for number, name in enumerate(self.label_names[:_SHOWN])
        ]
        others = len(self.label_names) - len(classes)
        return [
            *(f"{count:,} {what}" for what, count in self.duplicates.describe().items()),
            f"classes in train: {', '.join(classes)}{f', and {others:,} more' if others else ''}",
            *(f"{count:,} {what}" for what, count in self.cleaned.items()),
        ]

    def without_shared_texts(self) -> TextDataset:
        """The data set without the texts of train that are in dev or test, and those of dev that are in test.

        Raises:
            InputError: Too little would be left.
        """
        test = set(map(_normalize_space, self.test.texts))
        dev, dropped_of_dev = _drop_texts(self.dev, test)
        train, dropped_of_train = _drop_texts(self.train, test | set(map(_normalize_space, dev.texts)))
        if len(dev) < 2 or len(set(train.labels)) < 2:
            raise InputError(
                f"`drop_duplicates` would leave {len(train)} texts of {len(set(train.labels))} classes to train on and "
                f"{len(dev)} to choose by, since the others are in another split too; bring splits that differ"
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
        )

    def fingerprint(self) -> str:
        """SHA-256 (hex) of the texts, the labels, the borders of the splits and the label names."""
        splits = [(split.texts, split.labels) for split in (self.train, self.dev, self.test)]
        return hashlib.sha256(json.dumps([self.label_names, *splits]).encode()).hexdigest()


def hash_text(text: str) -> str:
    """SHA-256 (hex) of the UTF-8 bytes of a text, which is the same on every machine.

    >>> hash_text("a good film")[:8]
    '5392fa17'
    """
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def drop_duplicates(examples: Sequence[Example]) -> tuple[list[Example], int]:
    """The first example of every text, and the number of examples left out.

    >>> drop_duplicates([("good", 1), ("bad", 0), ("good", 1)])
    ([('good', 1), ('bad', 0)], 1)
    """
    label_of_text: dict[str, int] = {}
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
    counts: Counter[int] = Counter()
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


def split_by_class(examples: Sequence[Example], *, dev: float = DEV_SHARE, test: float = TEST_SHARE) -> SplitExamples:
    """A share of every class for dev and for test, and the remaining texts for training; suits small data too.

    Within a class, different texts are ranked by their hash: the first go to dev and the next to test, at least one to
    dev and one to test. A class of fewer than three texts stays in training. Equal texts stay together, and a text with
    two labels goes to training. The parts keep the order of `examples`. A share of 0 leaves its part empty.
    """
    part_of: dict[str, str] = {}
    for texts in _texts_by_class(examples).values():
        ranked = sorted(texts, key=hash_text) if len(texts) >= 3 else []
        dev_count, test_count = _count_share(dev, ranked), _count_share(test, ranked)
        part_of |= dict.fromkeys(ranked[:dev_count], "dev")
        part_of |= dict.fromkeys(ranked[dev_count : dev_count + test_count], "test")
    parts: SplitExamples = {"train": [], "dev": [], "test": []}
    for text, label in examples:
        parts[part_of.get(text, "train")].append((text, label))
    return parts


def _normalize_space(text: str) -> str:
    return " ".join(text.split())


def _drop_texts(split: Split, texts: Set[str]) -> tuple[Split, int]:
    """The split without some texts, and how many it had of them."""
    kept = [
        (text, label)
        for text, label in zip(split.texts, split.labels, strict=True)
        if _normalize_space(text) not in texts
    ]
    return _make_split(kept), len(split) - len(kept)


def _texts_by_class(examples: Iterable[Example]) -> dict[int, list[str]]:
    """The different texts by class, without those that have more than one label."""
    labels_of_text = defaultdict(set)
    for text, label in examples:
        labels_of_text[text].add(label)
    texts = defaultdict(list)
    for text, labels in labels_of_text.items():
        if len(labels) == 1:
            texts[labels.pop()].append(text)
    return texts


def _count_share(share: float, ranked: Sequence[str]) -> int:
    return max(1, int(share * len(ranked) + 0.5)) if share and ranked else 0


def _make_split(examples: Sequence[Example]) -> Split:
    return Split(tuple(text for text, _ in examples), tuple(label for _, label in examples))
