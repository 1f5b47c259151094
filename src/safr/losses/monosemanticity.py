"""MonoLoss: how unlike the tokens are that drive a neuron."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from safr.losses.neurons import divide_by_largest, mean_over_live, prepare_rows, sum_by_token
from safr.superposition import in_full_precision

_LEAST_PAIRS = 1e-5
"""Share of the squared sum that the pairs of two tokens must have to tell them from rounding."""


@in_full_precision
def monosemanticity_loss(
    activations: Float[Tensor, "batch token neuron"],
    tokens: Int[Tensor, "batch token"],
    mask: Bool[Tensor, "batch token"] | None = None,
) -> Float[Tensor, ""]:
    r"""1 less the monosemanticity of the neurons: 0 if all that drives a neuron is one token, whatever its text.

    $$1 - \frac{1}{E} \sum_e \frac{\sum_{i \ne j} a_{ie}^+ a_{je}^+ [t_i = t_j]}
    {\sum_{i \ne j} a_{ie}^+ a_{je}^+}$$

    Source: MonoScore (Pach et al. 2025) in the linear-time form of MonoLoss (Nasiri-Sarvi et al. 2026), with the
    identity of tokens as the similarity: the sum over pairs with the same token is
    $\sum_v (\sum_{i: t_i = v} a_i)^2 - \sum_i a_i^2$. Negative activations count as 0.

    Args:
        activations: Of the neurons, after the activation function.
        tokens: Ids of the tokens.
        mask: True where a token counts. Default: all count.

    Returns:
        Mean over the neurons that are active for two tokens or more, in [0, 1]; 0 without any.

    Raises:
        TypeError: An argument is no tensor of the type that it has to be.
        ValueError: The shapes don't fit.
    """
    rows, ids, counted = prepare_rows(activations, tokens, mask)
    rows, _ = divide_by_largest(rows)
    sums, _ = sum_by_token(rows, ids, counted)
    own = rows.square().sum(dim=0)
    total = sums.sum(dim=0).square()
    pairs = total - own
    has_pairs = ~(pairs <= _LEAST_PAIRS * total)
    alike = (sums.square().sum(dim=0) - own).clamp_min(0)
    return mean_over_live(1 - alike / torch.where(has_pairs, pairs, 1.0), has_pairs)
