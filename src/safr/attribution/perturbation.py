"""Attribution by perturbation: occlusion deletes one word at a time, Shapley values average over random orders."""

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
"""Random orders in which words are added, for Shapley values; Captum's default."""


def occlusion(model: PreTrainedModel, texts: Sequence[EncodedText]) -> Scores:
    """By how much the prediction's log-odds fall when one word is deleted, for every word.

    Also called leave-one-out. A word that speaks for the predicted class scores above 0. If a text has a single word,
    it is compared with the text without any.

    Source: Li et al. 2016 (arXiv:1612.08220), with words deleted.

    Args:
        model: A model; it runs in evaluation mode.
        texts: Encoded texts.
    """
    if not texts:
        return []
    classes = predict(model, texts)
    shortened = [text.without({word}) for text in texts for word in range(len(text.words))]
    owners = [number for number, text in enumerate(texts) for _ in text.words]
    whole_odds = text_log_odds(model, texts, classes)
    shortened_odds = text_log_odds(model, shortened, classes[owners])
    return np.split(whole_odds[owners] - shortened_odds, np.cumsum([len(text.words) for text in texts])[:-1])


def shapley(model: PreTrainedModel, texts: Sequence[EncodedText], seed: int = 0) -> Scores:
    """Shapley values of the words for the prediction's log-odds, estimated from 25 random orders.

    Words that are absent are deleted. The cost is 25 passes per word of a text.

    Source: Castro et al. 2009, by Captum's ShapleyValueSampling.

    Args:
        model: A model; it runs in evaluation mode.
        texts: Encoded texts.
        seed: Seed of the orders.
    """
    classes = predict(model, texts)
    scores = []
    for text, predicted in zip(texts, classes, strict=True):
        if not text.words:
            scores.append(np.zeros(0))
            continue

        def compute_log_odds(present: Tensor, text: EncodedText = text, predicted: np.int64 = predicted) -> Tensor:
            absent = [{word for word, is_present in enumerate(row) if not is_present} for row in present.tolist()]
            shortened = [text.without(words) for words in absent]
            return torch.from_numpy(text_log_odds(model, shortened, np.full(len(shortened), predicted)))

        all_words = torch.ones(1, len(text.words))
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            values = ShapleyValueSampling(compute_log_odds).attribute(
                all_words, n_samples=SHAPLEY_ORDERS, perturbations_per_eval=256
            )
        scores.append(values[0].double().numpy())
    return scores
