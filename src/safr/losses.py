"""Vectors and attention weights in, the two SAFR losses out."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

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
    shared = _share_of_others(vectors, mask) if scale_free else _root_per_neuron(vectors, mask)  # (batch, token)
    if weights is not None:
        shared = shared * weights
    if mask is not None:
        shared = torch.where(mask, shared, 0.0)
    return (shared.sum(dim=-1) / _lengths(shared, mask)).mean()


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


@in_full_precision
def interaction_loss(
    attention: Float[Tensor, "batch head query key"],
    mask: Bool[Tensor, "batch token"] | None = None,
    exclude_self: bool = False,
    visible: Bool[Tensor, "#batch #head query key"] | None = None,
) -> Float[Tensor, ""]:
    r"""How little interference there is between tokens that attend to each other; lower is more sharing.

    $$\frac{1}{N M} \sum_n \sum_\alpha \frac{1}{T^2} \sum_{ij} A_{\alpha ij} (1 - I^{A_\alpha}_{ij}),
      \quad I^A = A A^\top$$

    Source: SAFR (Chang et al. 2025), section 3. Called without a mask on padded input and with `exclude_self` it is
    the sum that the authors' published code computes.

    Args:
        attention: Attention weights, rows over the keys; before dropout.
        mask: True where a token counts; the others' rows and columns are left out. Default: all count.
        exclude_self: Leave out i = j in I.
        visible: True where a query may see a key. Differs from the paper, whose every token sees every other: the
            number of visible pairs takes the place of T^2, so that a causal model's loss does not shrink. Default: all.

    Returns:
        Mean over texts and heads of a number in [0, 1], [0, 1 / T] where all is visible. A text without a counting
        token adds 0.
    """
    weights = attention.to(torch.promote_types(attention.dtype, torch.float32))
    counted = None if mask is None else mask[:, None, :, None] & mask[:, None, None, :]  # (batch, 1, query, key)
    if counted is not None:
        weights = torch.where(counted, weights, 0.0)
    overlap = weights @ weights.mT  # (batch, head, query, query)
    attended = (weights * (1 - overlap)).sum(dim=(-2, -1))  # (batch, head)
    if exclude_self:
        attended = attended + (weights * overlap).diagonal(dim1=-2, dim2=-1).sum(dim=-1)
    if visible is None:
        pairs = _lengths(attention[:, 0, :, 0], mask)[:, None].square()  # (batch, 1)
    else:
        seen = visible if counted is None else visible & counted
        pairs = seen.sum(dim=(-2, -1)).clamp_min(1)  # (batch, head) or with ones in their place
    return (attended / pairs).mean()


def information_loss(
    keep: Float[Tensor, "batch token"],
    mask: Bool[Tensor, "batch token"] | None = None,
) -> Float[Tensor, ""]:
    r"""Negative entropy of the keep probabilities: low when the mask stays undecided, so that it passes little on.

    $$\frac{1}{N} \sum_n \frac{1}{T} \sum_i [r_i \log r_i + (1 - r_i) \log (1 - r_i)]$$

    Source: VMASK (Chen and Ji 2020), eq. 7; weighted there by beta, off in SAFR.

    Args:
        keep: Keep probabilities r in [0, 1].
        mask: True where a token counts. Default: all count.

    Returns:
        Mean over texts, in [-log 2, 0], in nats.
    """
    probability = keep.to(torch.promote_types(keep.dtype, torch.float32))
    # The entropy's slope is infinite at 0 and 1; a probability that has rounded to either is settled and gets slope 0.
    open_ = (probability > 0) & (probability < 1)
    safe = probability.where(open_, 0.5)
    negative_entropy = torch.where(open_, safe * safe.log() + (1 - safe) * (1 - safe).log(), 0.0)
    if mask is not None:
        negative_entropy = torch.where(mask, negative_entropy, 0.0)
    return (negative_entropy.sum(dim=-1) / _lengths(negative_entropy, mask)).mean()


def _lengths(tokens: Float[Tensor, "batch token"], mask: Bool[Tensor, "batch token"] | None) -> Float[Tensor, " batch"]:
    """Counting tokens of each text, at least 1, so that an empty text divides 0 by 1."""
    if mask is None:
        return tokens.new_full(tokens.shape[:1], max(tokens.shape[1], 1), dtype=torch.float32)
    return mask.sum(dim=-1).clamp_min(1).to(torch.float32)
