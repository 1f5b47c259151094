"""Texts and a score per word in; which words go, and what the model predicts without them, out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

from safr.attribution.words import Scores
from safr.data.encoding import EncodedText
from safr.errors import InputError
from safr.inference import predict_distinct

Within = Literal["first", "second", "both"]
"""Which of a pair's texts words are deleted from."""


TextProgress = Callable[[int, int], None]
"""Called with how much is done and how much there is."""


DELETION_PERCENTS = (10, 20, 30, 40, 50, 60, 70, 80, 90)
"""The k at which words are deleted."""


MAIN_PERCENT = 30
"""The k of the paper's tables."""


_TEXTS_TOGETHER, _TOKENS_TOGETHER = 256, 4_000_000
"""Texts whose deletions are in memory at once, and tokens that those hold at most."""


_TEXTS = {"first": (0,), "second": (1,), "both": (0, 1)}


def count_deleted(words: int, percent: float, *, texts: int = 1) -> int:
    """How many of some words go: k % rounded half up, at least 1, and at least 1 word of each text stays.

    Args:
        words: The words that may go.
        percent: k.
        texts: How many texts they are from.

    >>> [count_deleted(words, 30) for words in (0, 1, 2, 5, 15)]
    [0, 0, 1, 2, 5]
    """
    rounded = int(words * percent / 100 + 0.5)
    return max(min(max(rounded, 1), words - texts), 0)


def select_top_words(
    scores: NDArray[np.float64], percent: float, *, text_of_word: Sequence[int] | None = None, within: Within = "both"
) -> frozenset[int]:
    """The k % of the words with the highest scores; ties go to the earlier word.

    Args:
        scores: One score per word.
        percent: k, of the words that may go.
        text_of_word: For each word of a pair the text that it is from, 0 or 1. Default: all are of one text.
        within: Which text's words may go; from both they go by one ranking, but the last word of each text stays.

    >>> sorted(select_top_words(np.array([0.1, 0.9, 0.9, 0.2]), 50))
    [1, 2]
    """
    texts = [0] * len(scores) if text_of_word is None else text_of_word
    ranking = rank_words(scores, text_of_word=texts, within=within)
    words = sum(text in _TEXTS[within] for text in texts)
    return frozenset(ranking[: count_deleted(words, percent, texts=words - len(ranking))])


def rank_words(
    scores: NDArray[np.float64], *, text_of_word: Sequence[int] | None = None, within: Within = "both"
) -> list[int]:
    """The words that may go, the highest score first; the least important word of each text is not among them.

    Args:
        scores: One score per word.
        text_of_word: For each word of a pair the text that it is from, 0 or 1. Default: all are of one text.
        within: Which text's words may go.

    >>> rank_words(np.array([0.1, 0.9, 0.9, 0.2]))
    [1, 2, 3]
    """
    texts = [0] * len(scores) if text_of_word is None else text_of_word
    ranking = [word for word in np.argsort(-scores, kind="stable").tolist() if texts[word] in _TEXTS[within]]
    staying = {texts[word]: word for word in ranking}  # the last of each text
    return [word for word in ranking if word not in staying.values()]


def delete_words(
    texts: Sequence[EncodedText], scores: Scores, percent: float, *, within: Within = "both"
) -> list[EncodedText]:
    """Every text without the k % of its words with the highest scores.

    Args:
        texts: Encoded texts or pairs.
        scores: One score per word, for every text.
        percent: k, of the words that may go.
        within: Which of a pair's texts they may go from.

    Raises:
        InputError: Words of the second text shall go where there is only one.
    """
    if within == "second" and any(text.second is None for text in texts):
        raise InputError("expected pairs of texts to delete words in the second, got one text alone")
    return [
        text.without(select_top_words(score, percent, text_of_word=text.text_of_word, within=within))
        for text, score in zip(texts, scores, strict=True)
    ]


def predict_after_deletion(
    model: PreTrainedModel,
    texts: Sequence[EncodedText],
    deletions: Sequence[tuple[Scores, float]],
    *,
    progress: TextProgress | None = None,
) -> NDArray[np.int64]:
    """What the model makes of every text after each of many deletions, (deletion, text).

    A few hundred texts of about one length go through the model together with all that the deletions leave of them,
    so that hardly anything is padded, and what several deletions leave alike is run once.

    Args:
        model: A model in evaluation mode.
        texts: Encoded texts or pairs.
        deletions: Scores and a percentage k each, as for `delete_words`.
        progress: Called with the number of texts that are done and the number there are.
    """
    for scores, _ in deletions:
        if len(scores) != len(texts):
            raise ValueError(f"expected scores of {len(texts)} texts, got those of {len(scores)}")
    predicted = np.empty((len(deletions), len(texts)), dtype=np.int64)
    by_length = sorted(range(len(texts)), key=lambda number: -len(texts[number].ids))
    start = 0
    while start < len(texts):
        tokens = len(texts[by_length[start]].ids) * max(len(deletions), 1)
        numbers = by_length[start : start + max(min(_TEXTS_TOGETHER, _TOKENS_TOGETHER // max(tokens, 1)), 1)]
        some = [texts[number] for number in numbers]
        left = [
            text
            for scores, percent in deletions
            for text in delete_words(some, [scores[number] for number in numbers], percent)
        ]
        predicted[:, numbers] = predict_distinct(model, left).reshape(len(deletions), len(numbers))
        start += len(numbers)
        if progress is not None:
            progress(start, len(texts))
    return predicted
