"""Rationales: which words of a text decide its label.

For planted data the grammar says so. For SST people said so: they judged whether a word is neutral.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from safr.data.archives import SST, locate_archive
from safr.data.encoding import EncodedText
from safr.data.marks import remove_mark
from safr.data.planted import KIND_OF_WORD, planted_truth
from safr.data.planted_pairs import KIND_OF_PAIR_WORD
from safr.data.planted_tags import KIND_OF_TAG_WORD
from safr.errors import InputError

DATA_WITH_RATIONALES = ("planted", "planted_pairs", "planted_tags", "sst2", "sst2_paper")
"""Names of the data sets that have rationales."""

Rationale = Bool[np.ndarray, " _"]
"""One value per word, True where the word decides the label."""

_NEUTRAL = 2  # SST's label of a neutral sentence or word


def load_rationales(
    data_name: str, texts: Sequence[EncodedText], data_dir: Path | None = None
) -> list[Rationale | None]:
    """The rationales of the texts; None for a text whose words do not match the words that were judged.

    Args:
        data_name: One of `DATA_WITH_RATIONALES`.
        texts: Texts of that data set from `encode`, whole or cut; only of `planted_pairs` do pairs have a rationale,
            which runs over the words of both texts.
        data_dir: Folder that is searched first for the archive of SST.

    Raises:
        InputError: The data set has no rationales, or its archive is not available.
    """
    match data_name:
        case "planted":
            return [_find_planted_rationale(text) for text in texts]
        case "planted_pairs":
            return [_find_planted_pair_rationale(text) for text in texts]
        case "planted_tags":
            return [_find_planted_tag_rationale(text) for text in texts]
        case "sst2" | "sst2_paper":
            judged = {"".join(text.split()): (text, truth) for text, truth in load_sst_rationales(data_dir).items()}
            return [_find_sst_rationale(text, judged) for text in texts]
    raise InputError(f"expected data with rationales, {', '.join(DATA_WITH_RATIONALES)}, got {data_name[:100]!r}")


def find_negated_pairs(texts: Sequence[EncodedText]) -> list[tuple[tuple[int, int], ...]]:
    """Word indices (negator, negated word) of planted sentences; none for texts with words that the grammar lacks."""
    return [
        planted_truth(" ".join(text.words)).pairs if _find_planted_rationale(text) is not None else () for text in texts
    ]


def load_sst_rationales(data_dir: Path | None = None) -> Mapping[str, tuple[bool, ...]]:
    """By text of `sst2` and so of `sst2_paper`: which of its words people judged to be negative or positive.

    Words are separated by single spaces; a no-break space is part of a word. People judged every word alone, so "good"
    counts also where it is negated; of the negators, "not" mostly counts and "n't" does not.
    """
    splits = SST.read(locate_archive(SST, data_dir=data_dir))
    trees = [tree for trees in splits.values() for tree in trees if tree.label != _NEUTRAL]
    return {tree.text: tuple(label != _NEUTRAL for label in tree.word_labels) for tree in trees}


def _find_planted_rationale(text: EncodedText) -> Rationale | None:
    """Rationale of a planted sentence, possibly shortened; None for a pair or for words that the grammar lacks."""
    if text.second is not None or not all(word in KIND_OF_WORD for word in text.words):
        return None
    return np.array(planted_truth(" ".join(text.words)).rationale, dtype=bool)


def _find_planted_pair_rationale(text: EncodedText) -> Rationale | None:
    """Rationale of a planted pair, possibly shortened; None for a single text or for words that the grammar lacks."""
    kinds = [KIND_OF_PAIR_WORD.get(word) for word in text.words]
    return None if text.second is None or None in kinds else np.array([kind == "colour" for kind in kinds], dtype=bool)


def _find_planted_tag_rationale(text: EncodedText) -> Rationale | None:
    """The cue of a noun that is asked about; None for other words, or for words that the grammar lacks."""
    kinds = [
        KIND_OF_TAG_WORD.get(remove_mark(word)[0] if number in text.asked else word)
        for number, word in enumerate(text.words)
    ]
    is_noun = len(text.asked) == 1 and kinds[text.asked[0]] == "noun"
    return np.array([kind == "cue" for kind in kinds], dtype=bool) if is_noun and None not in kinds else None


def _find_sst_rationale(text: EncodedText, judged: Mapping[str, tuple[str, tuple[bool, ...]]]) -> Rationale | None:
    """Judgements of the words, where a piece of a judged word gets its judgement; None if a word spans several."""
    words = ["".join(word.split()) for word in text.words]
    match = judged.get("".join(words))
    if match is None or text.truncated or text.second is not None:
        return None
    judged_words, rationale = match[0].split(" "), match[1]
    judged_ends = np.cumsum([len("".join(word.split())) for word in judged_words])
    ends = np.cumsum([len(word) for word in words])
    word_of_end = np.searchsorted(judged_ends, ends)
    # No word may begin in one judged word and end in another, so every end of a judged word must also be one of ours.
    return np.array(rationale)[word_of_end] if np.isin(judged_ends, ends).all() else None
