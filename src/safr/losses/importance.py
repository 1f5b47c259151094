"""Vectors in, the importance loss out."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from safr.losses.averaging import mean_over_texts
from safr.superposition import capacity, in_full_precision, polysemanticity


@in_full_precision
def importance_loss(
    vectors: Float[Tensor, "batch token width"],
    mask: Bool[Tensor, "batch token"] | None = None,
    scale_free: bool = False,
    weights: Float[Tensor, "batch token"] | None = None,
) -> Float[Tensor, ""]:
    r"""How much the tokens that got through the mask share their directions; lower is more monosemantic.

    $$\frac{1}{N} \sum_n \frac{1}{T} \sum_i w_i \sqrt{P_i / E}$$

    Source: SAFR (Chang et al. 2025), section 3, on the vectors after VMASK and with all w at 1. Linear in the vectors'
    length. Called without a mask on padded input it is the sum that the authors' published code computes.

    Args:
        vectors: The vectors after VMASK.
        mask: True where a token counts; T is their number in each text. Default: all count.
        scale_free: Differs from the paper: read $1 - C_i = P_i / (\lVert h_i \rVert^2 + P_i)$ in place of the root,
            the share of its own direction that others take, which does not depend on the vectors' length.
        weights: How much each token matters, w; where it is negative, sharing is asked for. Default: 1.

    Returns:
        Mean over texts; at least 0 without weights, at most 1 if scale-free. A text without a counting token adds 0.
    """
    vectors = vectors.to(torch.promote_types(vectors.dtype, torch.float32))
    shared = _share_of_others(vectors, mask) if scale_free else _root_per_neuron(vectors, mask)  # (batch, token)
    return mean_over_texts(shared if weights is None else shared * weights, mask)


def _share_of_others(
    vectors: Float[Tensor, "batch token width"], mask: Bool[Tensor, "batch token"] | None
) -> Float[Tensor, "batch token"]:
    own = capacity(vectors, mask)
    return torch.where(own > 0, 1 - own, 0.0)  # a token that did not get through the mask shares nothing


def _root_per_neuron(
    vectors: Float[Tensor, "batch token width"], mask: Bool[Tensor, "batch token"] | None
) -> Float[Tensor, "batch token"]:
    shared = polysemanticity(vectors, mask) / vectors.shape[-1]
    # The root's slope is infinite at 0, where a masked or orthogonal token stands; it gets slope 0 instead.
    return torch.where(shared > 0, shared.where(shared > 0, 1.0).sqrt(), 0.0)
