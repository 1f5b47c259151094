"""Encoded texts of a data set in, for each of their words whether it decides the label out, by those who know.

For planted sentences that is the grammar; for SST it is people, who said of every word whether it is neutral.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from safr.data.archives import SST, locate_archive
from safr.data.encoding import EncodedText
from safr.data.planted import KIND_OF_WORD, planted_truth
from safr.errors import InputError

DATA_WITH_RATIONALES = ("planted", "sst2", "sst2_paper")
"""Names of the data sets whose words were judged."""

_NEUTRAL = 2

Rationale = NDArray[np.bool_]
"""One value for each word, True where it decides."""


def load_rationales(
    data_name: str, texts: Sequence[EncodedText], data_dir: Path | None = None
) -> list[Rationale | None]:
    """The rationale of each text, or None where its words are not known to be those that were judged.

    Args:
        data_name: One of `DATA_WITH_RATIONALES`.
        texts: What `encode` made of texts of that data set, whole or cut; pairs of texts have no rationale.
        data_dir: Where the archive of SST is looked for first.

    Raises:
        InputError: The data set has no rationales, or its archive cannot be had.
    """
    match data_name:
        case "planted":
            return [_planted_rationale(text) for text in texts]
        case "sst2" | "sst2_paper":
            judged = {"".join(text.split()): (text, truth) for text, truth in load_sst_rationales(data_dir).items()}
            return [_sst_rationale(text, judged) for text in texts]
    raise InputError(f"expected data with rationales, {', '.join(DATA_WITH_RATIONALES)}, got {data_name[:100]!r}")


def find_planted_pairs(texts: Sequence[EncodedText]) -> list[tuple[tuple[int, int], ...]]:
    """Of planted sentences, the numbers of each negator and the word that it negates; none where a text is cut."""
    return [planted_truth(" ".join(text.words)).pairs if _planted_rationale(text) is not None else () for text in texts]


def load_sst_rationales(data_dir: Path | None = None) -> Mapping[str, tuple[bool, ...]]:
    """For each text of `sst2`, and so of `sst2_paper`, which of its words people judged to be negative or positive.

    The words are those between the text's single spaces; a no-break space is part of a word. Each was judged alone, so
    "good" counts also where it is negated, and of the negators "not" mostly counts and "n't" does not.
    """
    splits = SST.read(locate_archive(SST, data_dir=data_dir))
    trees = [tree for trees in splits.values() for tree in trees if tree.label != _NEUTRAL]
    return {tree.text: tuple(label != _NEUTRAL for label in tree.word_labels) for tree in trees}


def _planted_rationale(text: EncodedText) -> Rationale | None:
    """The rationale of what is left of a sentence, unless its words are not the grammar's."""
    if text.second is not None or not all(word in KIND_OF_WORD for word in text.words):
        return None
    return np.array(planted_truth(" ".join(text.words)).rationale, dtype=bool)


def _sst_rationale(text: EncodedText, judged: Mapping[str, tuple[str, tuple[bool, ...]]]) -> Rationale | None:
    """The judgement of each word, a piece of a judged word taking that word's; None where a word spans several."""
    words = ["".join(word.split()) for word in text.words]
    found = judged.get("".join(words))
    if found is None or text.truncated or text.second is not None:
        return None
    judged_words, rationale = found[0].split(" "), found[1]
    judged_ends = np.cumsum([len("".join(word.split())) for word in judged_words])
    ends = np.cumsum([len(word) for word in words])
    word_of_end = np.searchsorted(judged_ends, ends)
    # No word may begin in one judged word and end in another: then each end of a judged word is also one of ours.
    return np.array(rationale)[word_of_end] if np.isin(judged_ends, ends).all() else None
