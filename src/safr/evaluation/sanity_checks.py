"""A method's scores in; whether they follow something else than the model, out: no weights, word lengths, places."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from safr.attribution.words import Scores
from safr.data.encoding import EncodedText
from safr.evaluation.faithfulness import MetricValues
from safr.evaluation.statistics import rank_correlations

CONFOUND_THRESHOLD = 0.5
"""Correlation from which on scores are said to follow something else."""


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


@torch.no_grad()
def shuffle_weights(model: nn.Module, seed: int = 0) -> None:
    """Shuffle the entries of every weight in place: as large as before, but nothing that was learnt is left.

    Scores that stay the same don't depend on what the model has learnt.

    Source: Adebayo et al. 2018 (NeurIPS), section 3.1, with all weights at once.
    """
    draw = torch.Generator().manual_seed(seed)
    for weight in model.parameters():
        order = torch.randperm(weight.numel(), generator=draw).to(weight.device)
        weight.copy_(weight.flatten()[order].view_as(weight))
