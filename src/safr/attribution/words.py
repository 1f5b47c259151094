"""Scores, overlaps and attention per word, computed from those per token, and random scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from safr.data.encoding import EncodedText

Scores = list[Float[np.ndarray, " _"]]
"""One score per word, for every text."""


def scores_per_word(
    text: EncodedText, scores: Float[np.ndarray, "token ..."], combine: Literal["largest", "sum"] = "largest"
) -> Float[np.ndarray, "word ..."]:
    """Scores per word from scores per token.

    Args:
        text: The text that the tokens belong to.
        scores: (token, ...), at least one per token of the text; further rows are padding.
        combine: `largest` gives a word its tokens' largest score, `sum` adds them up, for shares of a whole.

    Returns:
        (word, ...).
    """
    tokens, starts = _group_tokens(text)
    values = np.asarray(scores, dtype=np.float64)[tokens]
    return (np.maximum if combine == "largest" else np.add).reduceat(values, starts) if len(starts) else values


def batch_scores_per_word(
    texts: Sequence[EncodedText], scores: Float[np.ndarray, "batch token ..."]
) -> list[Float[np.ndarray, "word ..."]]:
    """Scores per word of all texts of a batch at once: `scores_per_word` of each, where a word's largest score counts.

    Args:
        texts: The texts of the batch, in its order.
        scores: (batch, token, ...); what is beyond a text is padding.

    Returns:
        For every text (word, ...).
    """
    if not texts:
        return []
    rows = np.repeat(np.arange(len(texts)), [len(text.ids) for text in texts])
    columns = np.concatenate([np.arange(len(text.ids)) for text in texts])
    ends = np.cumsum([len(text.words) for text in texts])
    firsts = [0, *ends[:-1].tolist()]  # number of each text's first word, counted through the batch
    owners = np.array(
        [
            -1 if word is None else first + word
            for text, first in zip(texts, firsts, strict=True)
            for word in text.word_of_token
        ],
        dtype=np.intp,
    )
    tokens = np.flatnonzero(owners >= 0)
    tokens = tokens[np.argsort(owners[tokens], kind="stable")]
    values = np.asarray(scores, dtype=np.float64)[rows[tokens], columns[tokens]]
    if len(tokens):
        values = np.maximum.reduceat(values, np.searchsorted(owners[tokens], np.arange(ends[-1])))
    return np.split(values, ends[:-1])


def pairs_per_word(text: EncodedText, matrix: Float[np.ndarray, "token token"]) -> Float[np.ndarray, "word word"]:
    """Overlap of every pair of words, (word, word): the signed overlap of largest size among their tokens.

    Args:
        text: The text that the tokens belong to.
        matrix: Overlaps of tokens, (token, token); rows and columns beyond the text are padding.
    """
    tokens, starts = _group_tokens(text)
    values = np.asarray(matrix, dtype=np.float64)[np.ix_(tokens, tokens)]
    if not len(starts):
        return values
    highest = np.maximum.reduceat(np.maximum.reduceat(values, starts, axis=0), starts, axis=1)
    lowest = np.minimum.reduceat(np.minimum.reduceat(values, starts, axis=0), starts, axis=1)
    return np.where(highest >= -lowest, highest, lowest)


def attention_per_word(text: EncodedText, weights: Float[np.ndarray, "token token"]) -> Float[np.ndarray, "word word"]:
    """Attention between words from attention between tokens: summed over a word's keys, averaged over its queries.

    Args:
        text: The text that the tokens belong to.
        weights: (query token, key token); rows and columns beyond the text are padding.

    Returns:
        (word, word); a row sums to 1 minus what special tokens receive.
    """
    tokens, starts = _group_tokens(text)
    values = np.asarray(weights, dtype=np.float64)[np.ix_(tokens, tokens)]
    if not len(starts):
        return values
    sizes = np.diff([*starts, len(tokens)])  # tokens of every word
    received = np.add.reduceat(values, starts, axis=1)  # (token, word)
    return np.add.reduceat(received, starts, axis=0) / sizes[:, None]


def random_scores(texts: Sequence[EncodedText], seed: int | Sequence[int]) -> Scores:
    """A random score in [0, 1) for every word: the baseline that every attribution method has to beat."""
    generator = np.random.default_rng(seed)
    return [generator.random(len(text.words)) for text in texts]


def _group_tokens(text: EncodedText) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Positions of the tokens that belong to words, sorted by word, and the index in them where every word begins."""
    owners = np.array([-1 if word is None else word for word in text.word_of_token], dtype=np.intp)
    tokens = np.flatnonzero(owners >= 0)
    tokens = tokens[np.argsort(owners[tokens], kind="stable")]
    starts = np.searchsorted(owners[tokens], np.arange(len(text.words)))
    return tokens, starts
