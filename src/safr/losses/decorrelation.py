"""Decorrelation of neurons."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from safr.losses.neurons import divide_by_largest, prepare_activations
from safr.superposition import in_full_precision


@in_full_precision
def decorrelation_loss(
    activations: Float[Tensor, "batch token neuron"],
    tokens: Int[Tensor, "batch token"] | None = None,
    mask: Bool[Tensor, "batch token"] | None = None,
) -> Float[Tensor, ""]:
    r"""How alike two neurons are over the tokens of a batch: 0 if no two are ever active together, 1 if all are alike.

    $$\frac{1}{E (E - 1)} \sum_{e \ne f} \cos^2(a_{\cdot e}, a_{\cdot f})$$

    Source: after DeCov (Cogswell et al. 2016), with cosines in place of covariances, so that neurons do not become
    smaller to lower it. E counts the neurons that are active at all. The cost is that of one matrix of tokens by
    tokens or of neurons by neurons, whichever is smaller.

    Args:
        activations: Of the neurons, after the activation function.
        tokens: Not read.
        mask: True where a token counts. Default: all count.

    Returns:
        A mean over pairs of neurons, in [0, 1]; 0 with fewer than two neurons that are active.

    Raises:
        TypeError: An argument is no tensor of the type that it has to be.
        ValueError: The shapes don't fit.
    """
    activations, _ = prepare_activations(activations, mask)
    rows = activations.flatten(0, 1)  # (token, neuron)
    scaled, is_dead = divide_by_largest(rows)
    directions = scaled / torch.where(is_dead, 1.0, scaled.square().sum(dim=0)).sqrt()
    overlap = directions @ directions.mT if len(rows) < rows.shape[1] else directions.mT @ directions
    live = (~is_dead).sum()
    # Each neuron's cosine with itself is 1; rounding may leave a little less than that.
    return (overlap.square().sum() - live).clamp_min(0) / (live * (live - 1)).clamp_min(1)
