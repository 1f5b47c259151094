"""The L1 penalty on neurons."""

from __future__ import annotations

from jaxtyping import Bool, Float, Int
from torch import Tensor

from safr.losses.importance import mean_over_texts
from safr.losses.neurons import prepare_activations
from safr.superposition import in_full_precision


@in_full_precision
def l1_loss(
    activations: Float[Tensor, "batch token neuron"],
    tokens: Int[Tensor, "batch token"] | None = None,
    mask: Bool[Tensor, "batch token"] | None = None,
) -> Float[Tensor, ""]:
    r"""Mean size of an activation; low where few neurons are active, or all are weak.

    $$\frac{1}{N} \sum_n \frac{1}{T} \sum_i \frac{1}{E} \sum_e |a_{ie}|$$

    Source: Tibshirani 1996; on activations Glorot et al. 2011.

    Args:
        activations: Of the neurons, after the activation function.
        tokens: Not read.
        mask: True where a token counts. Default: all count.

    Returns:
        Mean over texts, at least 0, in units of the activations. 0 where no token counts.

    Raises:
        TypeError: An argument is no tensor of the type that it has to be.
        ValueError: The shapes don't fit.
    """
    activations, mask = prepare_activations(activations, mask)
    return mean_over_texts(activations.abs().sum(dim=-1) / max(activations.shape[-1], 1), mask)
