"""What a pass shows per token, told per word: the largest of its pieces, or their sum where scores are shares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from safr.data.encoding import EncodedText

Scores = list[NDArray[np.float64]]
"""One score per word, for every text."""


def scores_per_word(
    text: EncodedText, scores: NDArray[np.floating], combine: Literal["largest", "sum"] = "largest"
) -> NDArray[np.float64]:
    """Scores per word from scores per token.

    Args:
        text: The text that the tokens belong to.
        scores: (token, ...), at least one per token of the text; what lies beyond is padding.
        combine: What a word gets of its tokens' scores: the largest, or the sum where they are shares of one thing.

    Returns:
        (word, ...).
    """
    tokens, starts = _pieces(text)
    values = np.asarray(scores, dtype=np.float64)[tokens]
    return (np.maximum if combine == "largest" else np.add).reduceat(values, starts) if len(starts) else values


def pairs_per_word(text: EncodedText, matrix: NDArray[np.floating]) -> NDArray[np.float64]:
    """Overlaps per pair of words from overlaps per pair of tokens: the one of largest size among their pieces, signed.

    Args:
        text: The text that the tokens belong to.
        matrix: (token, token); what lies beyond the text is padding.
    """
    tokens, starts = _pieces(text)
    values = np.asarray(matrix, dtype=np.float64)[np.ix_(tokens, tokens)]
    if not len(starts):
        return values
    highest = np.maximum.reduceat(np.maximum.reduceat(values, starts, axis=0), starts, axis=1)
    lowest = np.minimum.reduceat(np.minimum.reduceat(values, starts, axis=0), starts, axis=1)
    return np.where(highest >= -lowest, highest, lowest)


def attention_per_word(text: EncodedText, weights: NDArray[np.floating]) -> NDArray[np.float64]:
    """Attention between words from attention between tokens: summed over a word's keys, averaged over its queries.

    Args:
        text: The text that the tokens belong to.
        weights: (token, token), rows over the keys.

    Returns:
        (word, word); a row sums to 1 less what special tokens receive.
    """
    tokens, starts = _pieces(text)
    values = np.asarray(weights, dtype=np.float64)[np.ix_(tokens, tokens)]
    if not len(starts):
        return values
    pieces = np.diff([*starts, len(tokens)])
    received = np.add.reduceat(values, starts, axis=1)  # (token, word)
    return np.add.reduceat(received, starts, axis=0) / pieces[:, None]


def random_scores(texts: Sequence[EncodedText], seed: int | Sequence[int]) -> Scores:
    """A score in [0, 1) drawn for every word: the attribution that every other one has to beat."""
    draw = np.random.default_rng(seed)
    return [draw.random(len(text.words)) for text in texts]


def _pieces(text: EncodedText) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Positions of the tokens that belong to words, word by word, and where in them each word begins."""
    owners = np.array([-1 if word is None else word for word in text.word_of_token], dtype=np.intp)
    tokens = np.flatnonzero(owners >= 0)
    tokens = tokens[np.argsort(owners[tokens], kind="stable")]
    starts = np.searchsorted(owners[tokens], np.arange(len(text.words)))
    return tokens, starts
