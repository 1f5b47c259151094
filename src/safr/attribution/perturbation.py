"""A model and texts in, what the prediction loses without each word out: one word at a time, or in random orders."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from captum.attr import ShapleyValueSampling
from torch import Tensor
from transformers import PreTrainedModel

from safr.attribution.words import Scores
from safr.data.encoding import EncodedText
from safr.inference import predict, text_log_odds

SHAPLEY_ORDERS = 25
"""Random orders in which words are put in, for Shapley values; Captum's own number."""


def occlusion(model: PreTrainedModel, texts: Sequence[EncodedText]) -> Scores:
    """By how much the prediction's log-odds fall when a word is deleted alone; a single word's go to a text of none.

    Also called leave-one-out. Above 0 where a word speaks for the predicted class.

    Source: Li et al. 2016 (arXiv:1612.08220), with words deleted.

    Args:
        model: A model in evaluation mode.
        texts: Encoded texts.
    """
    if not texts:
        return []
    classes = predict(model, texts)
    pieces = [text.without({word}) for text in texts for word in range(len(text.words))]
    owners = [number for number, text in enumerate(texts) for _ in text.words]
    whole = text_log_odds(model, texts, classes)
    without = text_log_odds(model, pieces, classes[owners])
    return np.split(whole[owners] - without, np.cumsum([len(text.words) for text in texts])[:-1])


def shapley(model: PreTrainedModel, texts: Sequence[EncodedText], seed: int = 0) -> Scores:
    """Shapley values of the words for the prediction's log-odds, from 25 random orders, where absent words are deleted.

    Costs 25 passes for each word of a text.

    Source: Castro et al. 2009, by Captum's ShapleyValueSampling.

    Args:
        model: A model in evaluation mode.
        texts: Encoded texts.
        seed: Seed of the orders.
    """
    classes = predict(model, texts)
    scores = []
    for text, chosen in zip(texts, classes, strict=True):
        if not text.words:
            scores.append(np.zeros(0))
            continue

        def value(present: Tensor, text: EncodedText = text, chosen: np.int64 = chosen) -> Tensor:
            some = [text.without({word for word, here in enumerate(row) if not here}) for row in present.tolist()]
            return torch.from_numpy(text_log_odds(model, some, np.full(len(some), chosen)))

        words = torch.ones(1, len(text.words))
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            found = ShapleyValueSampling(value).attribute(words, n_samples=SHAPLEY_ORDERS, perturbations_per_eval=256)
        scores.append(found[0].double().numpy())
    return scores
