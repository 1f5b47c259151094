"""Train, dev and test splits: the data set that holds them, and three rules that split texts by their hash."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

Example = tuple[str, int]  # text, class id
SplitExamples = dict[str, list[Example]]  # "train", "dev", "test"

DEV_SHARE, TEST_SHARE = 0.1, 0.2
_SPLIT_OF_TENTH = ("train",) * 7 + ("dev",) + ("test",) * 2


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
