"""Sizes and a seed in, sentences out whose label-bearing words and negations are known, since a grammar put them there.

A sentence has 8 to 30 words. About a quarter of them decide its label, at random places among fillers. In a plain
sentence they are negative and positive words, and the label is the class that has more. In a negating one each of these
words has a negator before it, directly or one filler on, and counts for the other class; so no word decides by itself.

Classes are drawn first and treated alike, so the label shows in nothing but these words and their negators. A word's
number of letters is drawn without a look at its kind. Only the places at both ends decide a little less often than the
others, the first in 21 % of the sentences and the last in 20 %, since a negator is never last and its word never first.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import Literal

from safr.data.splits import Example, TextDataset
from safr.errors import InputError

_FEWEST_WORDS, _MOST_WORDS = 8, 30


_RELEVANT = 0.25  # share of the words


_NEGATING = 0.4  # share of the sentences


_APART = 0.4  # share of the negators that have a filler between them and their word


_AGREEING = 0.9  # share of the label-bearing words that count for the label, before ties and worse are drawn again


_RANK_OFFSET = 2  # Zipf-Mandelbrot: the word of rank n comes in proportion to 1 / (n + 2)


Kind = Literal["negative", "positive", "negator", "filler"]


LETTERS = (3, 4, 5, 6)


_WORDS: dict[Kind, str] = {
    "negative": """
        bad sad dud ill woe rot dim dull poor weak ugly grim vile lame awful stale bland trite nasty crude
        messy boring clumsy flawed dreary shoddy sloppy vulgar""",
    "positive": """
        fun joy ace gem wow fab top good kind warm nice fine rich glad sweet smart fresh lucid vivid happy
        great superb lovely tender clever joyful divine genial""",
    "negator": "not nary never hardly",
    "filler": """
        the and was her his for one two who its all our she him you are had has day way man boy car sea sun map art
        box bus cup dog eye hat key leg pen row tea ten van web act air bar bed hen jar oak rug zip
        that this with from they were have some when then film role plot tone cast year time door room town road wall
        boat book song page part city park lake king shot tape desk coat fork game hand hour iron lamp mile moon name
        note pair roof ship wood yard
        about there their which after other where would could first movie actor scene story music paper table water
        river house woman child chair clock cloud coast field floor glass grove horse hotel image lunch month mouth
        north ocean phone piano plant radio round south stage state stone store sugar train
        before during across around behind toward always camera script editor number family sister mother father
        doctor winter summer autumn spring market office garden window street bridge castle corner county desert
        driver engine farmer finger forest guitar island jacket letter museum orange planet school singer square
        ticket writer tunnel violin wallet""",
}


WORDS: dict[Kind, dict[int, tuple[str, ...]]] = {
    kind: {letters: tuple(word for word in words.split() if len(word) == letters) for letters in LETTERS}
    for kind, words in _WORDS.items()
}
"""The words of a kind and a number of letters, the most frequent first."""


KIND_OF_WORD: dict[str, Kind] = {word: kind for kind, words in _WORDS.items() for word in words.split()}


@dataclass(frozen=True)
class PlantedTruth:
    """What decides a sentence of the grammar, read from its words alone."""

    rationale: tuple[bool, ...]
    """For each word whether it bears the label or negates a word that does."""

    pairs: tuple[tuple[int, int], ...]
    """Indices of a negator and of the word that it negates, in the order of the sentence."""

    label: int | None
    """1 where more words count for positive than for negative, 0 where fewer do, None where as many do."""


def planted(*, train: int = 4_000, dev: int = 500, test: int = 1_000, seed: int = 0) -> TextDataset:
    """Sentences of the grammar in three splits, half of each negative and half positive, no two of them the same.

    Each split has a random sequence of its own, and a smaller one is the beginning of a larger one, so that models
    trained on any number of sentences can be tested on the same ones. Only `random.Random.random` is drawn from, whose
    sequence Python promises to keep: the same seed gives the same sentences on every machine.

    Args:
        train: Sentences to train on, at least 2, as of the others.
        dev: Sentences to choose by.
        test: Sentences to test on.
        seed: Any whole number; another one gives other sentences of the same grammar.

    Raises:
        InputError: A split is too small to hold both classes.
    """
    sizes = {"test": test, "dev": dev, "train": train}  # the test split first, so that no other size changes it
    seen: set[str] = set()
    parts = {part: _examples(part, size, seed, seen) for part, size in sizes.items()}
    return TextDataset.from_parts(
        "planted",
        parts,
        label_names=("negative", "positive"),
        origin=f"sentences of a small grammar, made on the spot, seed {seed}",
        cleaned={},
    )


def planted_truth(text: str) -> PlantedTruth:
    """What decides the label of a sentence, read from its words, which are split at white space.

    Words that the grammar does not have are taken for fillers.

    >>> planted_truth("the plot was hardly a joy but good and warm")
    PlantedTruth(rationale=(False, False, False, True, False, True, False, True, False, True), pairs=((3, 5),), label=1)
    """
    kinds = [KIND_OF_WORD.get(word, "filler") for word in text.split()]
    bearing = [place for place, kind in enumerate(kinds) if kind in ("negative", "positive")]
    negator_of = {word: negator for word in bearing if (negator := _negator(kinds, word)) is not None}
    relevant = {*bearing, *negator_of.values()}
    balance = sum(1 if (kinds[word] == "positive") != (word in negator_of) else -1 for word in bearing)
    return PlantedTruth(
        rationale=tuple(place in relevant for place in range(len(kinds))),
        pairs=tuple((negator, word) for word, negator in negator_of.items()),
        label=int(balance > 0) if balance else None,
    )


def _negator(kinds: Sequence[Kind], word: int) -> int | None:
    """The place of the negator directly before a word, else of one before the filler that stands there."""
    if word > 0 and kinds[word - 1] == "negator":
        return word - 1
    return word - 2 if word > 1 and kinds[word - 2 : word] == ["negator", "filler"] else None


def _examples(part: str, size: int, seed: int, seen: set[str]) -> list[Example]:
    """Sentences that are not among those seen, negative and positive in turn."""
    if size < 2:
        raise InputError(f"`{part}` must be at least 2 sentences, one of each class, got {size}; give more")
    draw = Random(f"{part} {seed}")
    examples: list[Example] = []
    while len(examples) < size:
        label = len(examples) % 2
        text, _ = generate_sentence(draw, label)
        if text not in seen:
            seen.add(text)
            examples.append((text, label))
    return examples


def generate_sentence(draw: Random, label: int) -> tuple[str, PlantedTruth]:
    """A sentence of a class, 0 or 1, and what was planted in it."""
    length = _FEWEST_WORDS + int(draw.random() * (_MOST_WORDS - _FEWEST_WORDS + 1))
    negating = draw.random() < _NEGATING
    # No whole number is rounded by chance, so that the share is the same at every length.
    bearing = int(_RELEVANT * length / (2 if negating else 1) + draw.random())
    phrases = [_phrase(draw, negating, counts) for counts in _counts(draw, bearing, label)]
    phrases += [("filler",)] * (length - sum(map(len, phrases)))
    places = sorted(range(len(phrases)), key=lambda _: draw.random())
    kinds: list[Kind] = []
    pairs = []
    for phrase in (phrases[place] for place in places):
        kinds += phrase
        if len(phrase) > 1:
            pairs.append((len(kinds) - len(phrase), len(kinds) - 1))
    rationale = tuple(kind != "filler" for kind in kinds)
    return " ".join(_word(draw, kind) for kind in kinds), PlantedTruth(rationale, tuple(pairs), label)


def _counts(draw: Random, words: int, label: int) -> list[int]:
    """For each label-bearing word the class that it counts for, most of them the label."""
    while True:
        counts = [label if draw.random() < _AGREEING else 1 - label for _ in range(words)]
        if 2 * counts.count(label) > words:
            return counts


def _phrase(draw: Random, negating: bool, counts: int) -> tuple[Kind, ...]:
    """A word that counts for a class, with its negator before it in a negating sentence."""
    word: Kind = "positive" if counts != negating else "negative"
    if not negating:
        return (word,)
    return ("negator", "filler", word) if draw.random() < _APART else ("negator", word)


def _word(draw: Random, kind: Kind) -> str:
    words = WORDS[kind][LETTERS[int(draw.random() * len(LETTERS))]]
    weights = list(accumulate(1 / (rank + _RANK_OFFSET) for rank in range(1, len(words) + 1)))
    return words[min(bisect(weights, draw.random() * weights[-1]), len(words) - 1)]
