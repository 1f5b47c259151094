"""Sanity checks: do scores follow the words' length or place, and do they change when the weights are shuffled?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from safr.attribution.words import Scores
from safr.data.encoding import EncodedText
from safr.evaluation.faithfulness import MetricValues
from safr.evaluation.statistics import rank_correlations

CONFOUND_THRESHOLD = 0.5
"""Rank correlation from which on scores are said to follow something else than the model."""


def confound_correlations(texts: Sequence[EncodedText], scores: Scores) -> MetricValues:
    """Rank correlation of scores with the length of the words, and with their place, by text.

    Neither is wrong by itself: long words may matter more. A method that knows nothing else has both near 1 or -1.

    Args:
        texts: Encoded texts.
        scores: One score per word, for every text.
    """
    return {
        "length": rank_correlations(scores, [[len(word) for word in text.words] for text in texts]),
        "position": rank_correlations(scores, [range(len(text.words)) for text in texts]),
    }


@contextmanager
def shuffled_weights(model: nn.Module, seed: int = 0) -> Iterator[None]:
    """Shuffle the entries of every weight inside the block: as large as before, but nothing that was learnt is left.

    Scores that stay the same don't depend on what the model has learnt.

    Source: Adebayo et al. 2018 (NeurIPS), section 3.1, with all weights at once.
    """
    learnt = [weight.detach().clone() for weight in model.parameters()]
    try:
        shuffle_weights(model, seed)
        yield
    finally:
        with torch.no_grad():
            for weight, values in zip(model.parameters(), learnt, strict=True):
                weight.copy_(values)


@torch.no_grad()
def shuffle_weights(model: nn.Module, seed: int = 0) -> None:
    """Shuffle the entries of every weight in place."""
    generator = torch.Generator().manual_seed(seed)
    for weight in model.parameters():
        order = torch.randperm(weight.numel(), generator=generator).to(weight.device)
        weight.copy_(weight.flatten()[order].view_as(weight))
