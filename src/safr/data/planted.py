"""Planted data: sentences of a small grammar, for which the words that decide the label are known.

A sentence has 8 to 30 words. About a quarter of them decide its label; they stand at random places among fillers. In a
plain sentence they are negative and positive words, and the label is the class with more words. In a negating sentence
every one of these words has a negator before it, directly or with one filler between, and counts for the other class;
so no word decides alone.

The class of a sentence is drawn first and both classes are treated alike, so only these words and their negators show
the label. The number of letters of a word is drawn independently of its kind. Only the first and the last place decide
a little less often than the others, in 21 % and 20 % of the sentences, because a negator is never last and its word
never first.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import Literal

from safr.data.splits import Example, SplitExamples, Text, TextDataset
from safr.errors import InputError

Kind = Literal["negative", "positive", "negator", "filler"]

_FEWEST_WORDS, _MOST_WORDS = 8, 30
_RELEVANT_SHARE = 0.25  # of the words
_NEGATING_SHARE = 0.4  # of the sentences
_DISTANT_SHARE = 0.4  # of the negators: those with a filler between them and their word
_AGREEING_SHARE = 0.9  # of the label-bearing words: those that count for the label, before ties and worse are redrawn
_RANK_OFFSET = 2  # Zipf-Mandelbrot: the frequency of the word of rank n is proportional to 1 / (n + 2)

LETTERS = (3, 4, 5, 6)
"""Numbers of letters that a word may have."""

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
"""The words of a kind with a number of letters, the most frequent first."""

KIND_OF_WORD: dict[str, Kind] = {word: kind for kind, words in _WORDS.items() for word in words.split()}


@dataclass(frozen=True)
class PlantedTruth:
    """What decides the label of a sentence of the grammar."""

    rationale: tuple[bool, ...]
    """For every word whether it bears the label or negates a word that does."""

    pairs: tuple[tuple[int, int], ...]
    """Indices of every negator and of the word that it negates, in the order of the sentence."""

    label: int | None
    """1 if more words count for positive than for negative, 0 if fewer do, None if equally many do."""


def planted(*, train: int = 4_000, dev: int = 500, test: int = 1_000, seed: int = 0) -> TextDataset:
    """Different sentences of the grammar in three splits, which are half negative and half positive.

    Every split has its own random sequence, and a smaller split is the beginning of a larger one, so models trained on
    different numbers of sentences can be tested on the same ones. All draws use `random.Random.random`, whose sequence
    Python promises to keep: the same seed gives the same sentences on every machine.

    Args:
        train: Number of training sentences. Every split has at least 2.
        dev: Number of sentences for choices such as early stopping.
        test: Number of test sentences.
        seed: Any whole number; another seed gives other sentences of the same grammar.

    Raises:
        InputError: A split is too small to hold both classes.
    """
    sizes = {"test": test, "dev": dev, "train": train}  # the test split first, so that no other size changes it
    parts = generate_splits(sizes, _generate_example, seed=seed, kind="sentences, one of each class")
    return TextDataset.from_parts(
        "planted",
        parts,
        label_names=("negative", "positive"),
        origin=f"sentences of a small grammar, generated when used, seed {seed}",
        cleaned={},
    )


def generate_splits(
    sizes: Mapping[str, int], generate: Callable[[Random, int], Example], *, seed: int, kind: str, sequence: str = ""
) -> SplitExamples:
    """Splits of different examples of a grammar, of its two classes in turn.

    Args:
        sizes: Number of examples by split, in the order in which texts are taken.
        generate: Draws an example of class 0 or 1.
        seed: Any whole number.
        kind: What a split needs two of, for errors.
        sequence: Begins the name of a grammar's own random sequences.

    Raises:
        InputError: A split is too small to hold both classes.
    """
    used: set[Text] = set()
    parts: SplitExamples = {}
    for part, size in sizes.items():
        if size < 2:
            raise InputError(f"`{part}` must be at least 2 {kind}, got {size}; give more")
        draw = Random(f"{sequence}{part} {seed}")
        examples = parts[part] = []
        while len(examples) < size:
            example = generate(draw, len(examples) % 2)
            if example[0] not in used:
                used.add(example[0])
                examples.append(example)
    return parts


def planted_truth(text: str) -> PlantedTruth:
    """What decides the label of a sentence, read from its words alone, which are split at white space.

    Words that the grammar does not have count as fillers.

    >>> planted_truth("the plot was hardly a joy but good and warm")
    PlantedTruth(rationale=(False, False, False, True, False, True, False, True, False, True), pairs=((3, 5),), label=1)
    """
    kinds = [KIND_OF_WORD.get(word, "filler") for word in text.split()]
    label_words = [place for place, kind in enumerate(kinds) if kind in ("negative", "positive")]
    negator_of = {word: negator for word in label_words if (negator := _find_negator(kinds, word)) is not None}
    relevant = {*label_words, *negator_of.values()}
    balance = sum(1 if (kinds[word] == "positive") != (word in negator_of) else -1 for word in label_words)
    return PlantedTruth(
        rationale=tuple(place in relevant for place in range(len(kinds))),
        pairs=tuple((negator, word) for word, negator in negator_of.items()),
        label=int(balance > 0) if balance else None,
    )


def generate_sentence(draw: Random, label: int) -> tuple[str, PlantedTruth]:
    """A random sentence of class 0 or 1, and what decides its label."""
    length = _FEWEST_WORDS + int(draw.random() * (_MOST_WORDS - _FEWEST_WORDS + 1))
    negating = draw.random() < _NEGATING_SHARE
    # Rounded up or down at random, so that the expected share is the same at every length.
    label_word_count = int(_RELEVANT_SHARE * length / (2 if negating else 1) + draw.random())
    phrases = [_draw_phrase(draw, negating, target) for target in _draw_targets(draw, label_word_count, label)]
    phrases += [("filler",)] * (length - sum(map(len, phrases)))
    places = sorted(range(len(phrases)), key=lambda _: draw.random())
    kinds: list[Kind] = []
    pairs = []
    for phrase in (phrases[place] for place in places):
        kinds += phrase
        if len(phrase) > 1:
            pairs.append((len(kinds) - len(phrase), len(kinds) - 1))
    rationale = tuple(kind != "filler" for kind in kinds)
    return " ".join(_draw_word(draw, kind) for kind in kinds), PlantedTruth(rationale, tuple(pairs), label)


def _generate_example(draw: Random, label: int) -> Example:
    return generate_sentence(draw, label)[0], label


def _find_negator(kinds: Sequence[Kind], word: int) -> int | None:
    """Place of a word's negator: directly before the word, or before a filler directly before the word; or None."""
    if word > 0 and kinds[word - 1] == "negator":
        return word - 1
    return word - 2 if word > 1 and kinds[word - 2 : word] == ["negator", "filler"] else None


def _draw_targets(draw: Random, words: int, label: int) -> list[int]:
    """The class that every label-bearing word counts for; most of them count for the label."""
    while True:
        targets = [label if draw.random() < _AGREEING_SHARE else 1 - label for _ in range(words)]
        if 2 * targets.count(label) > words:
            return targets


def _draw_phrase(draw: Random, negating: bool, target: int) -> tuple[Kind, ...]:
    """Kinds of the words of a phrase that counts for the class `target`: a word, and its negator if negating."""
    word: Kind = "positive" if target != negating else "negative"
    if not negating:
        return (word,)
    return ("negator", "filler", word) if draw.random() < _DISTANT_SHARE else ("negator", word)


def _draw_word(draw: Random, kind: Kind) -> str:
    words = WORDS[kind][LETTERS[int(draw.random() * len(LETTERS))]]
    weights = list(accumulate(1 / (rank + _RANK_OFFSET) for rank in range(1, len(words) + 1)))
    return words[min(bisect(weights, draw.random() * weights[-1]), len(words) - 1)]
