"""The importance loss, VMASK's information term, and their mean over texts."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from safr.errors import InputError
from safr.superposition import (
    check_floats,
    check_mask,
    check_shape,
    in_full_precision,
    measure_own,
    place_beside_others,
    share_directions,
    shortest,
    size_in_text,
    split_sizes,
    take_directions,
)


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
        weights: How much each token matters, w. A negative weight asks the token to share. Default: 1.

    Returns:
        Mean over texts, in float32 at least; at least 0 without weights, at most 1 if scale-free. A text without a
        content token adds 0, and without any text the loss is 0. If the vector or the weight of a content token holds a
        NaN or an infinity, the loss and its gradient are NaN. The loss can be differentiated once.

        Vectors may have any length. If one vector of a text is more than $10^9$ times as long as another, the gradient
        of the shorter one is finite but too small. In the scale-free form, the gradient is infinite or NaN if 1 over
        the vector's length is too large for the type. The same may happen to a token whose weight is above 1/64 of the
        largest number of the type.

    Raises:
        TypeError: An argument is no tensor of the type that it has to be.
        ValueError: The shapes don't fit.
    """
    check_floats("vectors", vectors, "batch, token, width")
    check_mask("mask", mask, vectors.shape[:-1], "token of vectors")
    if weights is not None:
        check_floats("weights", weights, "batch, token")
        check_shape("weights", weights, vectors.shape[:-1], "token of vectors")
    vectors = vectors.to(torch.promote_types(vectors.dtype, torch.float32))
    if vectors.numel() == 0:
        return vectors.sum()
    if mask is not None:
        vectors = torch.where(mask[..., None], vectors, 0.0)  # whatever stood there
        weights = weights if weights is None else torch.where(mask, weights, 0.0)
    if scale_free:
        shared = _share_of_others(vectors)  # (batch, token)
        return _weighted_mean(shared, mask, weights)
    roots, longest = _RootPerNeuron.apply(vectors)
    return _weighted_mean(roots, mask, weights, longest)


def information_loss(
    keep: Float[Tensor, "batch token"],
    mask: Bool[Tensor, "batch token"] | None = None,
) -> Float[Tensor, ""]:
    r"""Negative entropy of the keep probabilities: low when the mask stays undecided, and so lets little through.

    $$\frac{1}{N} \sum_n \frac{1}{T} \sum_i [r_i \log r_i + (1 - r_i) \log (1 - r_i)]$$

    Source: VMASK (Chen and Ji 2020), eq. 7; weighted there by beta, off in SAFR.

    Args:
        keep: Keep probabilities r in [0, 1].
        mask: True where a token counts. Default: all count.

    Returns:
        Mean over texts, in [-log 2, 0], in nats, in float32 at least; 0 where there is no text. NaN where r of a token
        that counts is NaN or not in [0, 1].

    Raises:
        TypeError: An argument is no tensor of the type that it has to be.
        ValueError: The shapes don't fit.
    """
    check_floats("keep", keep, "batch, token")
    check_mask("mask", mask, keep.shape, "token of keep")
    probability = keep.to(torch.promote_types(keep.dtype, torch.float32))
    # The entropy's slope is infinite at 0 and 1; a probability that has rounded to either is settled and gets slope 0.
    settled = (probability == 0) | (probability == 1)
    if mask is not None:
        settled = settled | ~mask
    safe = torch.where(settled, 0.5, probability)
    negative_entropy = torch.where(settled, 0.0, safe * safe.log() + (1 - safe) * (1 - safe).log())
    return mean_over_texts(negative_entropy, mask)


def mean_over_texts(
    values: Float[Tensor, "batch token"], mask: Bool[Tensor, "batch token"] | None
) -> Float[Tensor, ""]:
    """Mean over texts of the mean over each text's content tokens; a text without any adds 0, and no text gives 0.

    Args:
        values: One value per token; those of tokens that don't count are ignored.
        mask: True where a token counts. Default: all count.
    """
    if mask is None:
        return mean_or_zero(values.sum(dim=-1) / max(values.shape[-1], 1))
    return mean_or_zero(torch.where(mask, values, 0.0).sum(dim=-1) / mask.sum(dim=-1).clamp_min(1))


def mean_or_zero(values: Tensor) -> Float[Tensor, ""]:
    """Mean of all values; of none it is 0, where torch's own is NaN."""
    return values.mean() if values.numel() else values.sum()


def _weighted_mean(
    values: Float[Tensor, "batch token"],
    mask: Bool[Tensor, "batch token"] | None,
    weights: Float[Tensor, "batch token"] | None,
    unit: Float[Tensor, ""] | float = 1.0,
) -> Float[Tensor, ""]:
    if weights is None:
        return mean_over_texts(values, mask) * unit
    # The sum of large weights may be beyond the type where their mean is not. A power of two costs no digit.
    weights = weights.to(values.dtype)
    count = torch.where(weights.abs().amax() > 1, 2.0 ** values.numel().bit_length(), 1.0)
    return mean_over_texts(values * (weights / count), mask) * unit * count


def check_differentiated_once() -> None:
    """Refuse, in a backward pass, to be differentiated again: the closed form would count as a constant there."""
    if torch.is_grad_enabled():
        raise InputError(
            "SAFR's losses can be differentiated only once; keep them out of what create_graph=True reaches"
        )


def _share_of_others(vectors: Float[Tensor, "batch token width"]) -> Float[Tensor, "batch token"]:
    scaled, roots = split_sizes(vectors)
    lengths = scaled.square().sum(dim=-1)
    sizes = None if vectors.shape[-2] <= vectors.shape[-1] else size_in_text(roots)
    own = measure_own(lengths, sizes)
    shared: Tensor = _Polysemanticity.apply(scaled, roots)
    # A token that did not get through the mask shares nothing.
    return torch.where(lengths == 0, 0.0, shared / torch.where(lengths == 0, 1.0, own + shared))


class _Polysemanticity(torch.autograd.Function):
    """Polysemanticity in a token's unit whose backward pass keeps one matrix, T x T or T x E, and makes one product.

    Autograd would keep the directions, the overlaps, and their squares, and needs two products.
    """

    @staticmethod
    def forward(ctx: Any, scaled: Tensor, roots: Tensor) -> Tensor:
        directions, norms = take_directions(scaled)
        others, factors, _ = place_beside_others(scaled, roots)
        shared, overlap = share_directions(directions, norms, others, factors)
        # Beside so much a token's own length is nothing, and infinity divided by infinity would be NaN.
        shared = shared.clamp_max(shortest(shared.dtype) ** -3)
        ctx.save_for_backward(scaled, roots, norms, overlap, shared)
        return shared

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        check_differentiated_once()
        scaled, roots, norms, overlap, shared = ctx.saved_tensors
        with torch.autocast(scaled.device.type, enabled=False):
            others, factors, sizes = place_beside_others(scaled, roots)
            if sizes is None:
                return _gradient(others, norms, overlap, shared, gradient, factors), None
            norms = (norms * sizes).clamp_min(shortest(norms.dtype))
            return _gradient(others, norms, overlap, shared, gradient) * sizes, None


class _RootPerNeuron(torch.autograd.Function):
    """Roots of polysemanticity per neuron in units of the batch's largest size, and that size.

    What is done for the range of numbers only is undone in the backward pass here: there the sizes cancel.
    """

    @staticmethod
    def forward(ctx: Any, vectors: Tensor) -> tuple[Tensor, Tensor]:
        scaled, roots_of_sizes = split_sizes(vectors)
        directions, norms = take_directions(scaled)
        sizes, largest = size_in_text(roots_of_sizes), roots_of_sizes.amax(dim=-2).square()  # (batch, 1)
        in_text = scaled * sizes
        shared, overlap = share_directions(directions, norms, in_text)
        per_neuron = shared / vectors.shape[-1]
        # The root's slope is infinite at 0, where a masked or orthogonal token stands; it gets slope 0 instead.
        least = shortest(shared.dtype) ** 3
        root = torch.where(per_neuron < least, 0.0, torch.where(per_neuron < least, 1.0, per_neuron).sqrt())
        longest = largest.amax()
        norms = torch.where(norms == 0, 1.0, (norms * sizes).clamp_min(shortest(norms.dtype)))
        ctx.save_for_backward(in_text, norms, overlap, shared, root, longest)
        ctx.mark_non_differentiable(longest)
        return root * (largest / longest), longest

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor | None) -> Tensor:
        check_differentiated_once()
        in_text, norms, overlap, shared, root, longest = ctx.saved_tensors
        with torch.autocast(in_text.device.type, enabled=False):
            slope = gradient / longest / torch.where(root == 0, 1.0, 2 * root)
            slope = torch.where(root == 0, 0.0, slope) / in_text.shape[-1]
            return _gradient(in_text, norms, overlap, shared, slope)


def _gradient(
    vectors: Tensor,
    norms: Tensor,
    overlap: Tensor,
    shared: Tensor,
    gradient: Tensor,
    factors: Sequence[Tensor] = (),
) -> Tensor:
    """The gradient with respect to the vectors, from that with respect to their polysemanticity."""
    norms = torch.where(norms == 0, 1.0, norms)
    scale = 2 * gradient[..., None] / norms
    if vectors.shape[-2] <= vectors.shape[-1]:
        # P_i = sum over j of O_ij^2 with O_ij = h^_i . h_j: the vectors get (s O + (s O)^T) h with s the scale,
        # less what lengthening h_i takes from P_i, which stands on the diagonal.
        scaled = functools.reduce(torch.mul, factors, overlap * scale)
        both = scaled + scaled.mT
        both.diagonal(dim1=-2, dim2=-1).copy_(-(scale * shared[..., None] / norms)[..., 0])
        return both @ vectors
    # P_i = h^_i^T G h^_i - |h_i|^2 with G the sum of all h_j h_j^T, and O = h^ G.
    scale = torch.where(shared[..., None] == 0, 0.0, scale / norms)
    scaled = vectors * scale
    lengthening = scaled * (shared[..., None] + 2 * norms.square())
    return torch.addcmul(vectors @ (vectors.mT @ scaled), overlap, scale * norms) - lengthening
