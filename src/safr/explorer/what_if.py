"""What-if: what a model predicts while more and more words of a text are deleted."""

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
from safr.evaluation.srs import MAIN_PERCENT, RANDOM_DRAWS, count_deleted, rank_words
from safr.explorer.explanation_payload import RoundedValues, round_values
from safr.inference import drop_rest, predict_probabilities

MAX_STEPS = 32
"""How many even counts of deleted words are tried. In a short text, all counts are."""

MAX_SINGLE_DELETIONS = 64
"""In texts with more words, single words are not deleted, because a word costs a forward pass."""


@dataclass(frozen=True)
class WhatIf:
    """What a model says while more and more of a text's words are missing."""

    followed: str
    """The class, or next token, predicted from the whole text; all probabilities are those of it."""

    counts: list[int]
    """How many words are missing at each step; the first is 0."""

    main: int
    """The count that SRS deletes: 30 % of the words; 0 where nothing can be deleted."""

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


@dataclass(frozen=True)
class WhatIfFlip:
    """Few words without which a model says something else."""

    deleted: list[int]
    """Numbers of the words, from 0; empty where no number of words by the score changes what the model says."""

    prediction: str
    """Name of the predicted class, or of the next token, without them."""

    followed: float | None
    """Probability of the class that the whole text gets, without them."""


def compute_what_if(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    text: EncodedText,
    scores: dict[str, NDArray[np.float64]],
    *,
    seed: int = 0,
) -> WhatIf:
    """What a model says while a text's words are deleted one after the other, in the order of scores and at random.

    Args:
        model: A model; it runs in evaluation mode.
        tokenizer: Its tokenizer.
        text: A text of at least one word.
        scores: One score per word, by name.
        seed: Seed of the random orders.
    """
    rng = np.random.default_rng(seed)
    words, text_of_word = len(text.words), text.group_of_word
    orders = {name: rank_words(values, text_of_word=text_of_word) for name, values in scores.items()}
    random_orders = [rank_words(rng.random(words), text_of_word=text_of_word) for _ in range(RANDOM_DRAWS)]
    deletable = len(random_orders[0])
    words_to_delete = words - len(text.asked)
    main = count_deleted(words_to_delete, MAIN_PERCENT, texts=words_to_delete - deletable)
    counts = deletion_counts(deletable, main)
    deletions = [frozenset(order[:count]) for order in (*orders.values(), *random_orders) for count in counts]
    single_deletions = [frozenset([word]) for word in range(words)] if 1 < words <= MAX_SINGLE_DELETIONS else []
    texts = [text.without(deleted) for deleted in (*deletions, *single_deletions)]
    probabilities = predict_probabilities(model, texts)  # (deletion, label)
    followed = int(drop_rest(model, probabilities[0]).argmax())
    by_order = probabilities[: len(deletions)].reshape(
        len(orders) + RANDOM_DRAWS, len(counts), -1
    )  # (order, step, label)
    random = by_order[len(orders) :, :, followed]  # (draw, step)
    outputs = probabilities.shape[1]
    names = name_outputs(
        model, tokenizer, drop_rest(model, by_order[: len(orders)]).argmax(axis=-1).ravel().tolist(), outputs
    )
    return WhatIf(
        followed=name_outputs(model, tokenizer, [followed], outputs)[0],
        counts=counts,
        main=main,
        orders=orders,
        probability={name: round_values(by_order[n, :, followed]) for n, name in enumerate(orders)},
        predictions={name: names[n * len(counts) : (n + 1) * len(counts)] for n, name in enumerate(orders)},
        random=round_values(random.mean(axis=0)),
        random_low=round_values(random.min(axis=0)),
        random_high=round_values(random.max(axis=0)),
        alone=round_values(probabilities[len(deletions) :, followed]) if single_deletions else None,
    )


def predict_without_words(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, text: EncodedText, deleted: Collection[int]
) -> WhatIfPrediction:
    """What a model says about a text without some of its words.

    Raises:
        InputError: `deleted` holds a number that is no word's or what is asked about, or no word would be
            left of the text, or of one text of a pair.
    """
    if unknown := [word for word in deleted if not 0 <= word < len(text.words)]:
        raise InputError(f"expected words from 0 to {len(text.words) - 1} to delete, got {unknown[0]}")
    if set(deleted).intersection(text.asked):
        raise InputError("the words that are asked about can't be deleted; delete others")
    shortened = text.without(deleted)
    if len(set(shortened.text_of_word)) < len(set(text.text_of_word)):
        raise InputError("expected a word to be left after deleting, got none; keep at least one")
    whole, probabilities = predict_probabilities(model, [text, shortened])
    followed, predicted = int(drop_rest(model, whole).argmax()), int(drop_rest(model, probabilities).argmax())
    name = name_outputs(model, tokenizer, [predicted], len(whole))[0]
    return WhatIfPrediction(name, *round_values(probabilities[[followed, predicted]]))


def find_flip(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, text: EncodedText, scores: NDArray[np.float64]
) -> WhatIfFlip:
    """Few words without which a model says something else, as far as a score leads to them.

    Words are deleted in the order of the score until the prediction changes. Then, from the least important on, each
    goes back that is not needed for the change. There may be a smaller set that this does not find.

    Args:
        model: A model that predicts classes or tokens; it runs in evaluation mode.
        tokenizer: Its tokenizer.
        text: A text of at least one word.
        scores: One score per word.
    """
    order = rank_words(scores, text_of_word=text.group_of_word)

    def predict(deletions: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        texts = [text.without(frozenset(deleted)) for deleted in deletions]
        return np.asarray(predict_probabilities(model, texts))  # (deletion, label)

    def changes(probabilities: NDArray[np.float32]) -> NDArray[np.bool_]:
        return np.asarray(drop_rest(model, probabilities).argmax(axis=-1) != followed)

    whole = predict([[]])
    followed = int(drop_rest(model, whole)[0].argmax())
    counts = deletion_counts(len(order), 0)
    changed = changes(predict([order[:count] for count in counts]))
    if not changed.any():
        name = name_outputs(model, tokenizer, [followed], whole.shape[1])[0]
        return WhatIfFlip([], name, round_values(whole[0, [followed]])[0])
    step = int(changed.argmax())
    between = range(counts[step - 1] + 1, counts[step] + 1)  # in a long text, a step is several words
    first = between[int(changes(predict([order[:count] for count in between])).argmax())]
    deleted = order[:first]
    for word in reversed(deleted[:MAX_SINGLE_DELETIONS]):
        rest = [other for other in deleted if other != word]
        if changes(predict([rest]))[0]:
            deleted = rest
    probabilities = predict([deleted])[0]
    output = int(drop_rest(model, probabilities).argmax())
    name = name_outputs(model, tokenizer, [output], len(probabilities))[0]
    return WhatIfFlip(sorted(deleted), name, round_values(probabilities[[followed]])[0])


def deletion_counts(deletable: int, main: int) -> list[int]:
    """How many words are deleted step by step: evenly from none to all that can be deleted, 1, and the count of SRS.

    >>> deletion_counts(3, 1), deletion_counts(100, 30)[:5]
    ([0, 1, 2, 3], [0, 1, 3, 6, 10])
    """
    even_counts = np.rint(np.linspace(0, deletable, min(deletable + 1, MAX_STEPS))).astype(int).tolist()
    return sorted({*even_counts, min(1, deletable), main})


def name_outputs(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, numbers: Sequence[int], outputs: int
) -> list[str]:
    """The names of outputs. `output_names` gets no number twice, because it makes equal names different."""
    distinct = list(dict.fromkeys(numbers))
    names: dict[int, Any] = dict(zip(distinct, output_names(model, tokenizer, distinct, outputs=outputs), strict=True))
    return [names[number] for number in numbers]
