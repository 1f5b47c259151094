"""The ratio of the L1 to the L2 norm of a token's activations."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from safr.losses.importance import mean_over_texts
from safr.losses.neurons import prepare_activations
from safr.superposition import in_full_precision


@in_full_precision
def l1_l2_loss(
    activations: Float[Tensor, "batch token neuron"],
    tokens: Int[Tensor, "batch token"] | None = None,
    mask: Bool[Tensor, "batch token"] | None = None,
) -> Float[Tensor, ""]:
    r"""How evenly a token's activations are spread over the neurons: 0 for one neuron, 1 for all alike.

    $$\frac{1}{N} \sum_n \frac{1}{T} \sum_i
    \frac{\lVert a_i \rVert_1 / \lVert a_i \rVert_2 - 1}{\sqrt{E} - 1}$$

    Source: 1 less the sparsity of Hoyer 2004. Unlike L1 it does not depend on the activations' size.

    Args:
        activations: Of the neurons, after the activation function.
        tokens: Not read.
        mask: True where a token counts. Default: all count.

    Returns:
        Mean over texts, in [0, 1]. A token without an active neuron adds 0, and so does one with a single neuron.

    Raises:
        TypeError: An argument is no tensor of the type that it has to be.
        ValueError: The shapes don't fit.
    """
    activations, mask = prepare_activations(activations, mask)
    neurons = activations.shape[-1]
    if neurons < 2:
        return activations.sum() * 0
    # The largest activation as the unit: neither small nor large ones leave the type when they are squared.
    largest = activations.detach().abs().amax(dim=-1, keepdim=True)
    scaled = activations / torch.where(largest == 0, 1.0, largest)
    is_zero = largest[..., 0] == 0
    norm = torch.where(is_zero, 1.0, scaled.square().sum(dim=-1)).sqrt()
    spread = (scaled.abs().sum(dim=-1) / norm - 1) / (math.sqrt(neurons) - 1)
    return mean_over_texts(torch.where(is_zero, 0.0, spread), mask)
