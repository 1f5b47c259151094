"""Planted tags: texts of a small grammar, of which the word that decides another word's tag is known.

Each text has 6 to 14 words: one noun that may be an animal or a thing, one cue that says which, and fillers, in a
random order. The noun's tag is B-ANIMAL or B-THING, and every other word's is O.

The tag, the noun and the cue's place are drawn independently of each other: neither the noun nor any filler says
anything about which of the two tags it is.
"""

from __future__ import annotations

from random import Random
from typing import Literal

from safr.data.labels import OUTSIDE
from safr.data.planted import generate_splits
from safr.data.planted_pairs import FILLERS
from safr.data.splits import Example, TextDataset

_FEWEST_WORDS, _MOST_WORDS = 6, 14

NOUNS = ("bat", "ram", "seal", "crane", "mouse", "kite", "mole", "swift")
"""Words with a tag; each is an animal as often as a thing."""

CUES: dict[Literal["ANIMAL", "THING"], tuple[str, ...]] = {
    "ANIMAL": ("fur", "paw", "nest", "wing", "breeds", "hungry", "litter", "hunted"),
    "THING": ("tin", "oil", "shop", "plug", "broken", "rusted", "repair", "bought"),
}
"""The words that decide."""

KIND_OF_TAG_WORD: dict[str, Literal["noun", "cue", "filler"]] = {
    **dict.fromkeys(NOUNS, "noun"),
    **dict.fromkeys((cue for cues in CUES.values() for cue in cues), "cue"),
    **dict.fromkeys(FILLERS, "filler"),
}


def planted_tags(*, train: int = 4_000, dev: int = 500, test: int = 1_000, seed: int = 0) -> TextDataset:
    """Different texts of the grammar in three splits, with an animal and a thing in turn.

    As in `planted`, every split has its own random sequence, a smaller split is the beginning of a larger one, and the
    same seed gives the same texts on every machine.

    Args:
        train: Number of training texts. Every split has at least 2.
        dev: Number of texts for choices such as early stopping.
        test: Number of test texts.
        seed: Any whole number; another seed gives other texts of the same grammar.

    Raises:
        InputError: A split is too small to hold both tags.
    """
    sizes = {"test": test, "dev": dev, "train": train}  # the test split first, so that no other size changes it
    parts = generate_splits(sizes, _generate_example, seed=seed, kind="texts, one with each tag", sequence="tags ")
    return TextDataset.from_parts(
        "planted_tags",
        parts,
        label_names=("B-ANIMAL", "B-THING", OUTSIDE),
        origin=f"texts of a small grammar, generated when used, seed {seed}",
        cleaned={},
        task="token_classification",
    )


def generate_tagged_text(draw: Random, kind: Literal["ANIMAL", "THING"]) -> tuple[str, str]:
    """A random text with an animal or a thing, and the tags of its words."""
    length = _FEWEST_WORDS + int(draw.random() * (_MOST_WORDS - _FEWEST_WORDS + 1))
    noun, cue = (words[int(draw.random() * len(words))] for words in (NOUNS, CUES[kind]))
    words = [noun, cue, *(FILLERS[int(draw.random() * len(FILLERS))] for _ in range(length - 2))]
    words.sort(key=lambda _: draw.random())
    return " ".join(words), " ".join(f"B-{kind}" if word == noun else OUTSIDE for word in words)


def _generate_example(draw: Random, label: int) -> Example:
    return generate_tagged_text(draw, "THING" if label else "ANIMAL")
