"""Entropy of the tokens that a neuron is active for."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from safr.losses.neurons import mean_over_live, prepare_rows, sum_by_token
from safr.superposition import in_full_precision


@in_full_precision
def token_entropy_loss(
    activations: Float[Tensor, "batch token neuron"],
    tokens: Int[Tensor, "batch token"],
    mask: Bool[Tensor, "batch token"] | None = None,
) -> Float[Tensor, ""]:
    r"""Over how many different tokens a neuron's activation is spread: 0 for one token, 1 for all of the batch alike.

    $$-\frac{1}{E \log V} \sum_e \sum_v p_{ev} \log p_{ev}, \quad
    p_{ev} = \frac{\sum_{i: t_i = v} a_{ie}^+}{\sum_i a_{ie}^+}$$

    Source: ours, the entropy of a neuron's activation over word types. V is the number of different tokens in the
    batch, and E that of the neurons that are active at all. Negative activations count as 0.

    Args:
        activations: Of the neurons, after the activation function.
        tokens: Ids of the tokens.
        mask: True where a token counts. Default: all count.

    Returns:
        Mean over neurons, in [0, 1]; 0 with fewer than two different tokens. The slope at p = 0 is infinite; a token
        that a neuron is not active for gets slope 0.

    Raises:
        TypeError: An argument is no tensor of the type that it has to be.
        ValueError: The shapes don't fit.
    """
    sums, different = sum_by_token(*prepare_rows(activations, tokens, mask))
    total = sums.sum(dim=0)
    share = sums / torch.where(total == 0, 1.0, total)
    safe = torch.where(share == 0, 1.0, share)
    entropy = -(safe * safe.log()).sum(dim=0) / different.clamp_min(2).log()
    return mean_over_live(entropy, total != 0)
