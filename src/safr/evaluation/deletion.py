"""Texts and a score per word in; which words go, and what the model predicts without them, out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from safr.attribution.scores import Scores, model_batches
from safr.data.batches import EncodedText


def deleted_count(words: int, percent: float) -> int:
    """How many of a text's words go: k % rounded half up, at least 1, and at least 1 word stays.

    >>> [deleted_count(words, 30) for words in (0, 1, 2, 5, 15)]
    [0, 0, 1, 2, 5]
    """
    rounded = int(words * percent / 100 + 0.5)
    return max(min(max(rounded, 1), words - 1), 0)


def most_important(scores: NDArray[np.float64], percent: float) -> frozenset[int]:
    """The k % of a text's words with the highest scores; ties go to the earlier word.

    >>> sorted(most_important(np.array([0.1, 0.9, 0.9, 0.2]), 50))
    [1, 2]
    """
    ranking = np.argsort(-scores, kind="stable")
    return frozenset(ranking[: deleted_count(len(scores), percent)].tolist())


def delete_words(texts: Sequence[EncodedText], scores: Scores, percent: float) -> list[EncodedText]:
    """Every text without the k % of its words with the highest scores."""
    return [text.without(most_important(score, percent)) for text, score in zip(texts, scores, strict=True)]


def predictions(model: PreTrainedModel, texts: Sequence[EncodedText]) -> NDArray[np.int64]:
    """The class that the model gives each text, (text,). Texts with the same tokens are run once.

    Args:
        model: A model in evaluation mode.
        texts: Encoded texts.
    """
    first: dict[tuple[int, ...], int] = {}
    for number, text in enumerate(texts):
        first.setdefault(text.ids, number)
    distinct = [texts[number] for number in first.values()]
    predicted = np.empty(len(distinct), dtype=np.int64)
    for batch in model_batches(model, distinct):
        with torch.inference_mode():
            logits = model(**batch.inputs)["logits"]
        predicted[list(batch.numbers)] = logits.argmax(dim=-1).numpy(force=True)
    place = {ids: number for number, ids in enumerate(first)}
    return predicted[[place[text.ids] for text in texts]]
