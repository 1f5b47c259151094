"""A model and a text in; what it predicts while more and more words are missing out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from safr.attribution.explanation import output_names
from safr.data.encoding import EncodedText
from safr.errors import InputError
from safr.evaluation.evaluate import RANDOM_DRAWS
from safr.evaluation.srs import MAIN_PERCENT, count_deleted, rank_words
from safr.explorer.explanation_payload import RoundedValues, round_values
from safr.inference import predict_probabilities

MAX_STEPS = 32
"""Counts of deleted words that are tried; all of them where the text is short enough."""

MAX_SINGLE_DELETIONS = 64
"""Words above which none is deleted by itself: each costs a pass."""


@dataclass(frozen=True)
class WhatIf:
    """What a model says while more and more of a text's words are missing."""

    followed: str
    """The class, or next token, predicted from the whole text; all probabilities are those of it."""

    counts: list[int]
    """How many words are missing at each step; the first is 0."""

    main: int
    """The count that SRS deletes: 30 % of the words."""

    orders: dict[str, list[int]]
    """By score, the words in the order they go, the most important first."""

    probability: dict[str, RoundedValues]
    """By score, the followed class's probability at each step."""

    predictions: dict[str, list[str]]
    """By score, the prediction at each step."""

    random: RoundedValues
    """Mean over 5 random orders of the followed class's probability at each step."""

    random_low: RoundedValues
    """The lowest of them."""

    random_high: RoundedValues
    """The highest of them."""

    alone: RoundedValues | None
    """The followed class's probability with one word missing, for each word; None for long texts."""


@dataclass(frozen=True)
class WhatIfPrediction:
    """What a model says about a text without some of its words."""

    prediction: str
    """Name of the predicted class, or the token that a language model would put next."""

    followed: float | None
    """Probability of the class that the whole text gets."""

    probability: float | None
    """Probability of the predicted class."""


def compute_what_if(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    text: EncodedText,
    scores: dict[str, NDArray[np.float64]],
    *,
    seed: int = 0,
) -> WhatIf:
    """Delete a text's words one after the other, by each of some scores and at random.

    Args:
        model: A model in evaluation mode.
        tokenizer: Its tokenizer.
        text: A text of at least one word.
        scores: One score per word, by name.
        seed: Of the random orders.
    """
    draw = np.random.default_rng(seed)
    words, texts = len(text.words), text.text_of_word
    orders = {name: rank_words(values, text_of_word=texts) for name, values in scores.items()}
    random = [rank_words(draw.random(words), text_of_word=texts) for _ in range(RANDOM_DRAWS)]
    movable = len(random[0])
    main = count_deleted(words, MAIN_PERCENT, texts=words - movable)
    counts = deletion_counts(movable, main)
    deletions = [frozenset(order[:count]) for order in (*orders.values(), *random) for count in counts]
    single = [frozenset([word]) for word in range(words)] if 1 < words <= MAX_SINGLE_DELETIONS else []
    found = predict_probabilities(model, [text.without(gone) for gone in (*deletions, *single)])  # (deletion, label)
    followed = int(found[0].argmax())
    by_step = found[: len(deletions)].reshape(len(orders) + RANDOM_DRAWS, len(counts), -1)
    at_random = by_step[len(orders) :, :, followed]  # (draw, step)
    names = _names(model, tokenizer, by_step[: len(orders)].argmax(axis=-1).ravel().tolist())
    return WhatIf(
        followed=_names(model, tokenizer, [followed])[0],
        counts=counts,
        main=main,
        orders=orders,
        probability={name: round_values(by_step[n, :, followed]) for n, name in enumerate(orders)},
        predictions={name: names[n * len(counts) : (n + 1) * len(counts)] for n, name in enumerate(orders)},
        random=round_values(at_random.mean(axis=0)),
        random_low=round_values(at_random.min(axis=0)),
        random_high=round_values(at_random.max(axis=0)),
        alone=round_values(found[len(deletions) :, followed]) if single else None,
    )


def predict_without_words(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, text: EncodedText, deleted: Collection[int]
) -> WhatIfPrediction:
    """What a model says about a text without some of its words.

    Raises:
        InputError: A number is no word's, or no word of the text, or of one of a pair, would be left.
    """
    if unknown := [word for word in deleted if not 0 <= word < len(text.words)]:
        raise InputError(f"expected words from 0 to {len(text.words) - 1} to delete, got {unknown[0]}")
    left = text.without(deleted)
    if len(set(left.text_of_word)) < len(set(text.text_of_word)):
        raise InputError("expected a word to be left after deleting, got none; keep at least one")
    whole, rest = predict_probabilities(model, [text, left])
    followed, likeliest = int(whole.argmax()), int(rest.argmax())
    return WhatIfPrediction(_names(model, tokenizer, [likeliest])[0], *round_values(rest[[followed, likeliest]]))


def deletion_counts(movable: int, main: int) -> list[int]:
    """How many words are deleted at each step: from none to all that may go, evenly, and the count of SRS.

    >>> deletion_counts(3, 1), deletion_counts(100, 30)[:4]
    ([0, 1, 2, 3], [0, 3, 6, 10])
    """
    even = np.rint(np.linspace(0, movable, min(movable + 1, MAX_STEPS))).astype(int).tolist()
    return sorted({*even, main})


def _names(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, numbers: Sequence[int]) -> list[str]:
    """A name for each answer; one that comes twice is asked for once, since equal names are told apart."""
    distinct = list(dict.fromkeys(numbers))
    names: dict[int, Any] = dict(zip(distinct, output_names(model, tokenizer, distinct), strict=True))
    return [names[number] for number in numbers]
