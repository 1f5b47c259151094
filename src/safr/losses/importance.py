"""The importance loss, VMASK's information term, and their mean over texts."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from safr.errors import InputError
from safr.superposition import in_full_precision, shared_directions, vector_norms


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
        scale_free: Differs from the paper: scale-free importance reads $1 - C_i = P_i / (\lVert h_i \rVert^2 + P_i)$
            in place of the root, the share of its own direction that others take, which does not depend on the vectors'
            length.
        weights: How much each token matters, w; where it is negative, sharing is asked for. Default: 1.

    Returns:
        Mean over texts; at least 0 without weights, at most 1 if scale-free. A text without a content token adds 0.
        It can be differentiated once.
    """
    vectors = vectors.to(torch.promote_types(vectors.dtype, torch.float32))
    if mask is not None:
        vectors = torch.where(mask[..., None], vectors, 0.0)  # whatever stood there
    shared = _share_of_others(vectors) if scale_free else _root_per_neuron(vectors)  # (batch, token)
    return mean_over_texts(shared if weights is None else shared * weights, mask)


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
    return mean_over_texts(negative_entropy, mask)


def mean_over_texts(
    values: Float[Tensor, "batch token"], mask: Bool[Tensor, "batch token"] | None
) -> Float[Tensor, ""]:
    """Mean over texts of the mean over each text's content tokens; a text without any adds 0.

    Args:
        values: One value per token; those of tokens that don't count are ignored.
        mask: True where a token counts. Default: all count.
    """
    if mask is None:
        return (values.sum(dim=-1) / max(values.shape[-1], 1)).mean()
    return (torch.where(mask, values, 0.0).sum(dim=-1) / mask.sum(dim=-1).clamp_min(1)).mean()


def check_differentiated_once() -> None:
    """Refuse, in a backward pass, to be differentiated again: the closed form would count as a constant there."""
    if torch.is_grad_enabled():
        raise InputError("SAFR's losses can be differentiated once; keep them out of what create_graph=True reaches")


def _share_of_others(vectors: Float[Tensor, "batch token width"]) -> Float[Tensor, "batch token"]:
    own = vectors.square().sum(dim=-1)
    shared: Tensor = _Polysemanticity.apply(vectors)
    # A token that did not get through the mask shares nothing.
    return torch.where(own > 0, shared / torch.where(own > 0, own + shared, 1.0), 0.0)


def _root_per_neuron(vectors: Float[Tensor, "batch token width"]) -> Float[Tensor, "batch token"]:
    shared: Tensor = _Polysemanticity.apply(vectors) / vectors.shape[-1]
    # The root's slope is infinite at 0, where a masked or orthogonal token stands; it gets slope 0 instead.
    return torch.where(shared > 0, shared.where(shared > 0, 1.0).sqrt(), 0.0)


class _Polysemanticity(torch.autograd.Function):
    """Polysemanticity whose backward pass keeps the vectors and one matrix, T x T or T x E, and makes one product more.

    Autograd would keep the directions, the overlaps, and their squares, and needs two products.
    """

    @staticmethod
    def forward(ctx: Any, vectors: Tensor) -> Tensor:
        shared, overlap = shared_directions(vectors)
        ctx.save_for_backward(vectors, overlap, shared)
        return shared

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        check_differentiated_once()
        vectors, overlap, shared = ctx.saved_tensors
        with torch.autocast(vectors.device.type, enabled=False):
            return _gradient(vectors, overlap, shared, gradient)


def _gradient(vectors: Tensor, overlap: Tensor, shared: Tensor, gradient: Tensor) -> Tensor:
    """The gradient with respect to the vectors, from that with respect to their polysemanticity."""
    norm = vector_norms(vectors)
    scale = 2 * gradient[..., None] / norm
    if vectors.shape[-2] <= vectors.shape[-1]:
        # P_i = sum over j of O_ij^2 with O_ij = h^_i . h_j: the vectors get (s O + (s O)^T) h with s the scale,
        # less what lengthening h_i takes from P_i, which stands on the diagonal.
        scaled = overlap * scale
        both = scaled + scaled.mT
        both.diagonal(dim1=-2, dim2=-1).copy_(-(scale * shared[..., None] / norm)[..., 0])
        return both @ vectors
    # P_i = h^_i^T G h^_i - |h_i|^2 with G the sum of all h_j h_j^T, and O = h^ G.
    scale = torch.where(shared[..., None] > 0, scale / norm, 0.0)
    scaled = vectors * scale
    lengthening = scaled * (shared[..., None] + 2 * norm.square())
    return torch.addcmul(vectors @ (vectors.mT @ scaled), overlap, scale * norm) - lengthening
