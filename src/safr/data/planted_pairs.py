"""Planted pairs: two texts of a small grammar, of which the words that decide the label are known.

Each text has 6 to 14 words: one colour, one shape, and fillers, in a random order. The label says whether the colours
of the two texts are the same. The shapes are the same in half of the pairs of either class, so that a word which both
texts hold decides nothing unless it is a colour.

The colour of the first text is drawn from all colours, whatever the class, and so is the second text's: neither text
alone says anything about the label. In the mean each word of the grammar is in as many texts as any other, and each
kind has as many words of 3, 4, 5 and 6 letters.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Literal

from safr.data.planted import LETTERS, WORDS, generate_splits
from safr.data.splits import Example, TextDataset

_FEWEST_WORDS, _MOST_WORDS = 6, 14
_FILLERS_OF_LENGTH = 16  # so that a text's eight fillers, in the mean, are drawn from eight times as many words

COLOURS = ("red", "tan", "blue", "pink", "green", "white", "purple", "yellow")
"""The words that decide, two of each number of letters."""

SHAPES = ("big", "wee", "flat", "long", "round", "steep", "narrow", "hollow")
"""Words that are in each text once, as the colours are, and decide nothing."""

FILLERS = tuple(
    word
    for letters in LETTERS
    for word in [word for word in WORDS["filler"][letters] if word not in (*COLOURS, *SHAPES)][:_FILLERS_OF_LENGTH]
)

KIND_OF_PAIR_WORD: dict[str, Literal["colour", "shape", "filler"]] = {
    **dict.fromkeys(COLOURS, "colour"),
    **dict.fromkeys(SHAPES, "shape"),
    **dict.fromkeys(FILLERS, "filler"),
}


@dataclass(frozen=True)
class PlantedPairTruth:
    """What decides the label of a pair of the grammar."""

    rationale: tuple[bool, ...]
    """For every word of the first text, then of the second, whether it is a colour."""

    label: int | None
    """1 if each text has one colour and both are the same, 0 if they differ, None if a text has none or several."""


def planted_pairs(*, train: int = 4_000, dev: int = 500, test: int = 1_000, seed: int = 0) -> TextDataset:
    """Different pairs of the grammar in three splits, which are half pairs of two colours and half of one.

    As in `planted`, every split has its own random sequence, a smaller split is the beginning of a larger one, and the
    same seed gives the same pairs on every machine.

    Args:
        train: Number of training pairs. Every split has at least 2.
        dev: Number of pairs for choices such as early stopping.
        test: Number of test pairs.
        seed: Any whole number; another seed gives other pairs of the same grammar.

    Raises:
        InputError: A split is too small to hold both classes.
    """
    sizes = {"test": test, "dev": dev, "train": train}  # the test split first, so that no other size changes it
    parts = generate_splits(sizes, _generate_example, seed=seed, kind="pairs, one of each class", sequence="pairs ")
    return TextDataset.from_parts(
        "planted_pairs",
        parts,
        label_names=("different", "same"),
        origin=f"pairs of texts of a small grammar, generated when used, seed {seed}",
        cleaned={},
    )


def planted_pair_truth(first: str, second: str) -> PlantedPairTruth:
    """What decides the label of a pair, read from its words alone, which are split at white space.

    >>> planted_pair_truth("the red box was big", "her box is red")
    PlantedPairTruth(rationale=(False, True, False, False, False, False, False, False, True), label=1)
    """
    words = first.split(), second.split()
    colours = [[word for word in text if word in COLOURS] for text in words]
    is_clear = all(len(text) == 1 for text in colours)
    return PlantedPairTruth(
        rationale=tuple(word in COLOURS for text in words for word in text),
        label=int(colours[0] == colours[1]) if is_clear else None,
    )


def generate_pair(draw: Random, label: int) -> tuple[str, str]:
    """A random pair of class 0, with two colours, or 1, with the same one twice."""
    colours = _draw_words(draw, COLOURS, same=label == 1)
    shapes = _draw_words(draw, SHAPES, same=draw.random() < 0.5)
    first, second = (_draw_text(draw, colour, shape) for colour, shape in zip(colours, shapes, strict=True))
    return first, second


def _generate_example(draw: Random, label: int) -> Example:
    return generate_pair(draw, label), label


def _draw_words(draw: Random, words: tuple[str, ...], *, same: bool) -> tuple[str, str]:
    """Two words, the same or different ones; either is any of the words equally often."""
    first = int(draw.random() * len(words))
    step = 0 if same else 1 + int(draw.random() * (len(words) - 1))
    return words[first], words[(first + step) % len(words)]


def _draw_text(draw: Random, *words: str) -> str:
    """The words among fillers, in a random order."""
    length = _FEWEST_WORDS + int(draw.random() * (_MOST_WORDS - _FEWEST_WORDS + 1))
    text = [*words, *(FILLERS[int(draw.random() * len(FILLERS))] for _ in range(length - len(words)))]
    return " ".join(sorted(text, key=lambda _: draw.random()))
