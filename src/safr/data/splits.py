"""Labelled texts in, train, dev and test out: three rules, and in each the hash of the text decides where it goes."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

Example = tuple[str, int]  # text, class id
SplitExamples = dict[str, list[Example]]  # "train", "dev", "test"

DEV_SHARE, TEST_SHARE = 0.1, 0.2
_TENTHS = ("train",) * 7 + ("dev",) + ("test",) * 2


@dataclass(frozen=True)
class Split:
    """Texts and their class ids, in a fixed order."""

    texts: tuple[str, ...]
    labels: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.texts) != len(self.labels):
            raise ValueError(
                f"`texts` and `labels` must be equally long, got {len(self.texts)} and {len(self.labels)}; "
                "give one label for each text"
            )

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class TextDataset:
    """Three splits of labelled texts, and where they came from."""

    name: str
    train: Split
    dev: Split
    test: Split
    label_names: tuple[str, ...]  # index = class id
    origin: str  # where it was read from, in words
    cleaned: dict[str, int]  # what was left out or mended, counted; empty when nothing was

    @classmethod
    def from_parts(
        cls, name: str, parts: SplitExamples, *, label_names: Iterable[str], origin: str, cleaned: Mapping[str, int]
    ) -> TextDataset:
        """The data set whose splits hold the examples of `parts`."""
        return cls(
            name=name,
            train=_split(parts["train"]),
            dev=_split(parts["dev"]),
            test=_split(parts["test"]),
            label_names=tuple(label_names),
            origin=origin,
            cleaned={what: count for what, count in cleaned.items() if count},
        )

    def fingerprint(self) -> str:
        """SHA-256 (hex) of the texts, the labels, the borders of the splits and the label names."""
        splits = [(split.texts, split.labels) for split in (self.train, self.dev, self.test)]
        return hashlib.sha256(json.dumps([self.label_names, *splits]).encode()).hexdigest()


def hash_text(text: str) -> str:
    """SHA-256 (hex) of a text's UTF-8 bytes: the same on every machine and in every order.

    >>> hash_text("a good film")[:8]
    '5392fa17'
    """
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def drop_duplicates(examples: Sequence[Example]) -> tuple[list[Example], int]:
    """The first example of each text, and how many were left out.

    >>> drop_duplicates([("good", 1), ("bad", 0), ("good", 1)])
    ([('good', 1), ('bad', 0)], 1)
    """
    seen: dict[str, int] = {}
    for text, label in examples:
        seen.setdefault(text, label)
    return list(seen.items()), len(examples) - len(seen)


def take_first_of_each_class(examples: Iterable[Example], count: int) -> tuple[list[Example], list[Example]]:
    """The first `count` examples of each class, and the rest, both in their order.

    >>> take_first_of_each_class([("a", 0), ("b", 0), ("c", 1)], 1)
    ([('a', 0), ('c', 1)], [('b', 0)])
    """
    first: list[Example] = []
    rest: list[Example] = []
    seen: Counter[int] = Counter()
    for text, label in examples:
        seen[label] += 1
        (first if seen[label] <= count else rest).append((text, label))
    return first, rest


def split_by_hash(examples: Iterable[Example]) -> SplitExamples:
    """About 70 % train, 10 % dev and 20 % test: each text by its own hash, whatever else is in the data."""
    parts: SplitExamples = {"train": [], "dev": [], "test": []}
    for text, label in examples:
        parts[_TENTHS[int(hash_text(text), 16) % 10]].append((text, label))
    return parts


def split_by_rank(examples: Iterable[Example], *, dev: int, test: int) -> SplitExamples:
    """Exactly `dev` and `test` examples, and the rest for training, all in the order of the texts' hashes.

    The texts must differ from each other.
    """
    ranked = sorted(examples, key=lambda example: hash_text(example[0]))
    return {"dev": ranked[:dev], "test": ranked[dev : dev + test], "train": ranked[dev + test :]}


def split_by_class(examples: Sequence[Example], *, dev: float = DEV_SHARE, test: float = TEST_SHARE) -> SplitExamples:
    """A share of each class for dev and for test, the rest for training; also small data get every class everywhere.

    Within a class, different texts are ranked by their hash; the first go to dev and the next to test, at least one
    each. A class of fewer than three texts stays in training. Equal texts stay together, and a text that carries two
    classes goes to training. Each part keeps the order of `examples`. A share of 0 leaves that part empty.
    """
    part_of: dict[str, str] = {}
    for texts in _texts_by_class(examples).values():
        ranked = sorted(texts, key=hash_text) if len(texts) >= 3 else []
        for_dev, for_test = _share(dev, ranked), _share(test, ranked)
        part_of |= dict.fromkeys(ranked[:for_dev], "dev")
        part_of |= dict.fromkeys(ranked[for_dev : for_dev + for_test], "test")
    parts: SplitExamples = {"train": [], "dev": [], "test": []}
    for text, label in examples:
        parts[part_of.get(text, "train")].append((text, label))
    return parts


def _texts_by_class(examples: Iterable[Example]) -> dict[int, list[str]]:
    """The different texts of each class, without those that carry more than one class."""
    classes = defaultdict(set)
    for text, label in examples:
        classes[text].add(label)
    texts = defaultdict(list)
    for text, labels in classes.items():
        if len(labels) == 1:
            texts[labels.pop()].append(text)
    return texts


def _share(share: float, ranked: Sequence[str]) -> int:
    return max(1, int(share * len(ranked) + 0.5)) if share and ranked else 0


def _split(examples: Sequence[Example]) -> Split:
    return Split(tuple(text for text, _ in examples), tuple(label for _, label in examples))
