"""Attribution by perturbation: what the model makes of texts without one word, or without random subsets of words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from captum.attr import KernelShap, Lime, ShapleyValueSampling
from torch import Tensor
from transformers import PreTrainedModel

from safr.attribution.words import Scores
from safr.data.encoding import EncodedText
from safr.inference import Targets, get_targets, text_log_odds

SHAPLEY_ORDERS = 25
"""Random orders in which words are added, for Shapley values; Captum's default."""

SAMPLES_PER_WORD = 25
"""Random subsets of words per word of a text, for Kernel SHAP and LIME, so that they cost what `shapley` costs."""

_SUBSETS_TOGETHER = 256

_LogOdds = Callable[[Tensor], Tensor]


def occlusion(model: PreTrainedModel, texts: Sequence[EncodedText], targets: Targets | None = None) -> Scores:
    """By how much the log-odds of a class fall when one word is deleted, for every word.

    Also called leave-one-out. A word that speaks for the class, by default the predicted one, scores above 0. If a text
    has a single word, it is compared with the text without any.

    Source: Li et al. 2016 (arXiv:1612.08220), with words deleted.

    Args:
        model: A model; it runs in evaluation mode.
        texts: Encoded texts.
        targets: See `get_targets`.
    """
    if not texts:
        return []
    classes = get_targets(model, texts, targets)
    shortened = [text.without({word}) for text in texts for word in range(len(text.words))]
    owners = [number for number, text in enumerate(texts) for _ in text.words]
    whole_odds = text_log_odds(model, texts, classes)
    shortened_odds = text_log_odds(model, shortened, classes[owners])
    return np.split(whole_odds[owners] - shortened_odds, np.cumsum([len(text.words) for text in texts])[:-1])


def shapley(
    model: PreTrainedModel, texts: Sequence[EncodedText], targets: Targets | None = None, *, seed: int = 0
) -> Scores:
    """Shapley values of the words for the log-odds of a class, estimated from 25 random orders.

    Words that are absent are deleted. The cost is 25 passes per word of a text.

    Source: Castro et al. 2009, by Captum's ShapleyValueSampling.

    Args:
        model: A model; it runs in evaluation mode.
        texts: Encoded texts.
        targets: See `get_targets`.
        seed: Seed of the orders.
    """
    return _attribute_subsets(model, texts, partial(_sample, ShapleyValueSampling, SHAPLEY_ORDERS), targets, seed)


def kernel_shap(
    model: PreTrainedModel, texts: Sequence[EncodedText], targets: Targets | None = None, *, seed: int = 0
) -> Scores:
    """Shapley values of the words for the log-odds of a class, by a weighted regression on random subsets of words.

    Words that are absent are deleted. The scores of a text sum to its log-odds less those without any word. The cost is
    25 passes per word of a text, as of `shapley`.

    Source: Lundberg and Lee 2017 (Kernel SHAP), by Captum's KernelShap.

    Args:
        model: A model; it runs in evaluation mode.
        texts: Encoded texts.
        targets: See `get_targets`.
        seed: Seed of the subsets.
    """

    def attribute(compute_log_odds: _LogOdds, words: Tensor) -> Tensor:
        if words.numel() == 1:  # the kernel has no weight for it
            return compute_log_odds(words) - compute_log_odds(torch.zeros_like(words))
        return _sample(KernelShap, SAMPLES_PER_WORD * words.numel(), compute_log_odds, words)

    return _attribute_subsets(model, texts, attribute, targets, seed)


def lime(
    model: PreTrainedModel, texts: Sequence[EncodedText], targets: Targets | None = None, *, seed: int = 0
) -> Scores:
    """Weights of the words in a sparse linear model of a class's log-odds near the whole text.

    Each word is deleted or not with equal chance. Subsets count by an exponential kernel of their cosine distance to
    the whole text, and the linear model is a lasso with a penalty of 0.01, Captum's default. Many weights are 0. The
    cost is 25 passes per word of a text, as of `shapley`.

    Source: Ribeiro et al. 2016 (LIME), by Captum's Lime.

    Args:
        model: A model; it runs in evaluation mode.
        texts: Encoded texts.
        targets: See `get_targets`.
        seed: Seed of the subsets.
    """

    def attribute(compute_log_odds: _LogOdds, words: Tensor) -> Tensor:
        return _sample(Lime, SAMPLES_PER_WORD * words.numel(), compute_log_odds, words)

    return _attribute_subsets(model, texts, attribute, targets, seed)


def _sample(method: Any, samples: int, compute_log_odds: _LogOdds, words: Tensor) -> Tensor:
    """The values of one of Captum's methods from so many samples."""
    return method(compute_log_odds).attribute(words, n_samples=samples, perturbations_per_eval=_SUBSETS_TOGETHER)


def _attribute_subsets(
    model: PreTrainedModel,
    texts: Sequence[EncodedText],
    attribute: Callable[[_LogOdds, Tensor], Tensor],
    targets: Targets | None,
    seed: int,
) -> Scores:
    """Scores per word from a method of Captum's that asks for the log-odds of subsets of a text's words.

    Args:
        model: A model.
        texts: Encoded texts.
        attribute: Calls Captum with the log-odds of rows of 0 and 1, (subset, word), and the row of all words.
        targets: See `get_targets`.
        seed: Seed of what it draws.
    """
    classes = get_targets(model, texts, targets)
    scores = []
    for text, predicted in zip(texts, classes, strict=True):
        if not text.words:
            scores.append(np.zeros(0))
            continue

        def compute_log_odds(present: Tensor, text: EncodedText = text, predicted: np.int64 = predicted) -> Tensor:
            absent = [{word for word, is_present in enumerate(row) if not is_present} for row in present.tolist()]
            shortened = [text.without(words) for words in absent]
            return torch.from_numpy(text_log_odds(model, shortened, np.full(len(shortened), predicted)))

        with torch.random.fork_rng():
            torch.manual_seed(seed)
            values = attribute(compute_log_odds, torch.ones(1, len(text.words)))
        scores.append(values.reshape(-1).double().numpy())
    return scores
