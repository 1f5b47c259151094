"""The interaction loss, of attention weights or of the queries and keys that make them.

The gradient is in closed form and computed with the value, block by block: with S the sum of all A_ij (A A^T)_ij,
dS/dA = A A^T + A A + A^T A. From queries and keys nothing is kept for the backward pass but two T x size matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from safr.losses.blocked_attention import BlockedAttention
from safr.losses.importance import check_differentiated_once, mean_or_zero
from safr.superposition import check_floats, check_mask, in_full_precision

PROBES = 8
"""Random vectors for every head of a text; how far they leave the gradient from the exact one: docs/speed.md."""


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
        visible: True where a query may see a key. Differs from the paper: causal pairs, since every token sees every
            other one there. The number of visible pairs replaces T^2, so that the loss of a causal model does not
            shrink. Default: all.

    Returns:
        Mean over texts and heads of a number in [0, 1], [0, 1 / T] where all is visible. A text without a content
        token adds 0, and no text at all gives 0. It is computed in float32 at least. If an attention weight that counts
        is NaN or infinite, the loss is not a number. The loss can be differentiated once.

    Raises:
        TypeError: An argument is no tensor of the type that it has to be.
        ValueError: The shapes don't fit.
    """
    check_floats("attention", attention, "batch, head, query, key")
    if attention.shape[2] != attention.shape[3]:
        raise ValueError(f"attention must have as many queries as keys, got {tuple(attention.shape)}")
    check_mask("mask", mask, (attention.shape[0], attention.shape[2]), "token of attention")
    _check_visible(visible, attention.shape)
    weights = attention.to(torch.promote_types(attention.dtype, torch.float32))
    if mask is not None:
        weights = torch.where(_mask_pairs(mask), weights, 0.0)
    needed = weights.requires_grad and torch.is_grad_enabled()
    total: Tensor = _OfWeights.apply(weights, exclude_self, needed)
    pairs = _count_all_pairs(weights, mask) if visible is None else count_visible_pairs(visible, mask)
    return mean_or_zero(total / pairs)


def blocked_interaction_loss(
    heads: BlockedAttention,
    mask: Bool[Tensor, "batch token"] | None = None,
    exclude_self: bool = False,
    pairs: Float[Tensor, "#batch #head"] | None = None,
    probes: int | None = None,
    generator: torch.Generator | None = None,
) -> Float[Tensor, ""]:
    r"""The interaction loss of the attention that queries and keys make, without holding that attention.

    With `probes` the sum over pairs is estimated, without bias:
    $\sum_{ij} A_{ij} (A A^\top)_{ij} = E_z \langle A z, A (A z) \rangle$ for z of random signs (Hutchinson 1990). The
    cost is then $T^2$ times the probes, and not $T^3$.

    Args:
        heads: Queries, keys, and what is added to their scores.
        mask: See `interaction_loss`.
        exclude_self: See `interaction_loss`.
        pairs: How many pairs of a text are visible, from `count_visible_pairs`. Default: all.
        probes: Random vectors for every head of a text. Default: none, the exact sum.
        generator: Where the random vectors come from. Default: torch's own, on the heads' device.

    Returns:
        What `interaction_loss` returns, or in expectation. The heads' bias gets no gradient. NaN where the attention
        is, as after a NaN in a key that is seen, or scores that float32 can't hold; the query of a token that does not
        count may hold anything.

    Raises:
        TypeError: An argument is no tensor of the type that it has to be.
        ValueError: The shapes don't fit, or there are less than one probe.
    """
    _check_heads(heads, mask, pairs, probes)
    loss: Tensor = _sum_over_heads(heads.query, heads.key, heads, mask, exclude_self, pairs, probes, generator)
    return loss


@in_full_precision
def _sum_over_heads(
    query: Tensor,
    key: Tensor,
    heads: BlockedAttention,
    mask: Tensor | None,
    exclude_self: bool,
    pairs: Tensor | None,
    probes: int | None,
    generator: torch.Generator | None,
) -> Tensor:
    heads = heads.to_full_precision()
    pairs = _count_all_pairs(heads.query, mask) if pairs is None else pairs.to(heads.query.dtype)
    share = 1 / pairs.expand(heads.query.shape[:2])
    share = share / share.numel()
    needed = (heads.query.requires_grad or heads.key.requires_grad) and torch.is_grad_enabled()
    loss: Tensor = _OfHeads.apply(heads.query, heads.key, heads, mask, share, exclude_self, probes, generator, needed)
    return loss


def count_visible_pairs(
    visible: Bool[Tensor, "#batch #head query key"], mask: Bool[Tensor, "batch token"] | None = None
) -> Float[Tensor, "#batch #head"]:
    """How many pairs of content tokens are visible, at least 1.

    Args:
        visible: True where a query may see a key.
        mask: True where a token counts. Default: all count.

    Raises:
        TypeError: `visible` or `mask` holds no truth values.
        ValueError: The shapes don't fit.
    """
    _check_visible(visible, None)
    if mask is not None:
        texts = visible.shape[0] if visible.shape[0] > 1 or not isinstance(mask, Tensor) else mask.shape[0]
        check_mask("mask", mask, (texts, visible.shape[2]), "token of visible")
    counted = visible if mask is None else visible & _mask_pairs(mask)
    return counted.sum(dim=(-2, -1), dtype=torch.int32).clamp_min(1).float()


class _OfWeights(torch.autograd.Function):
    """Sum over pairs of A_ij (1 - (A A^T)_ij), (batch, head)."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, exclude_self: bool, gradient_needed: bool) -> Tensor:
        if not gradient_needed:
            return _sum_pairs(weights, exclude_self)
        total, gradient = _sum_pairs_and_gradient(weights, exclude_self, weights.new_ones(()))
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        check_differentiated_once()
        (of_weights,) = ctx.saved_tensors
        return gradient[..., None, None] * of_weights, None, None


class _OfHeads(torch.autograd.Function):
    """The loss, from queries and keys; `share` (batch, head) is what a head's sum over pairs counts."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        heads: BlockedAttention,
        mask: Tensor | None,
        share: Tensor,
        exclude_self: bool,
        probes: int | None,
        generator: torch.Generator | None,
        gradient_needed: bool,
    ) -> Tensor:
        loss = query.new_zeros(())
        if gradient_needed:
            of_query, of_key = torch.empty_like(query), torch.zeros_like(key)
        scale = heads.scale
        # The queries are scaled here, so that T x T scores need not be.
        scaled = query.detach() * heads.scale
        if mask is not None:
            scaled = torch.where(
                mask[:, None, :, None], scaled, 0.0
            )  # 0 times the NaN of a row that is left out is NaN
        heads = replace(heads, query=scaled, key=key.detach().contiguous(), scale=1.0)
        for texts, of_heads in heads.iter_parts():
            part = heads.select_part(texts, of_heads)
            content_mask = None if mask is None else mask[texts, None].to(query.dtype)  # (batch, 1, token)
            if probes is None:
                total, of_scores = _sum_exactly(part, content_mask, exclude_self, gradient_needed)
            else:
                total, of_scores = _sum_by_probes(part, content_mask, exclude_self, probes, generator)
            loss += (total * share[texts, of_heads]).sum()
            if gradient_needed:
                for rows, gradient in of_scores:
                    of_query[texts, of_heads, rows] = gradient @ part.key
                    of_key[texts, of_heads] += gradient.mT @ part.query[:, :, rows]
        if gradient_needed:
            ctx.save_for_backward(of_query.mul_(share[..., None, None] * scale), of_key.mul_(share[..., None, None]))
        return loss

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        check_differentiated_once()
        of_query, of_key = ctx.saved_tensors
        return gradient * of_query, gradient * of_key, *[None] * 7


def _sum_exactly(
    part: BlockedAttention, content_mask: Tensor | None, exclude_self: bool, gradient_needed: bool
) -> tuple[Tensor, Iterator[tuple[slice, Tensor]]]:
    """The sum over pairs, and its gradient with respect to some rows of the scores after others."""
    weights = part.compute_weights()  # (batch, head, query, key)
    pairs = weights.new_ones(()) if content_mask is None else content_mask[..., None] * content_mask[..., None, :]
    counted = weights if content_mask is None else weights * pairs
    if not gradient_needed:
        return _sum_pairs(counted, exclude_self), iter(())
    total, gradient = _sum_pairs_and_gradient(counted, exclude_self, pairs)
    return total, iter([(slice(None), _backward_through_softmax(gradient, weights))])


def _sum_by_probes(
    part: BlockedAttention,
    content_mask: Tensor | None,
    exclude_self: bool,
    probes: int,
    generator: torch.Generator | None,
) -> tuple[Tensor, Iterator[tuple[slice, Tensor]]]:
    """The same, estimated: rows of the probes' images are (batch, head, probe, token), which multiplies faster."""
    blocks, weights = part.row_blocks(), _weights_of_rows(part)
    shape = (*part.query.shape[:2], probes, part.query.shape[2])
    signs = torch.randint(0, 2, shape, generator=generator, dtype=part.query.dtype, device=part.query.device)
    signs = signs.mul_(2).sub_(1)
    counted = torch.ones_like(signs[:, :, :1])  # as a row of numbers: 1 where a token counts
    if content_mask is not None:
        signs, counted = signs * content_mask[:, :, None], counted * content_mask[:, :, None]

    rows_to_map = torch.cat([signs, counted], dim=2)  # the last row's image: what a token gives to those that count
    image = torch.cat([rows_to_map @ weights(rows).mT for rows in blocks], dim=-1)
    total = (image[:, :, -1] * counted[:, :, 0]).sum(dim=-1)
    once = image[:, :, :-1] * counted  # A z
    twice, back = [], torch.zeros_like(once)
    for rows in blocks:
        twice.append(once @ weights(rows).mT)  # A A z
        back += once[..., rows] @ weights(rows)  # A^T A z
    again = torch.cat(twice, dim=-1) * counted
    total = total - (once * again).sum(dim=(-2, -1)) / probes
    # dS/dA = (A u + A^T u) z^T + u u^T with u = A z, of which the sum over probes is one product.
    left = torch.cat([(again + back * counted) / -probes, once / -probes, counted], dim=2)
    right = torch.cat([signs, once, counted], dim=2)
    if exclude_self:
        total = total + sum(_sum_self_terms(weights(rows), rows, counted)[0] for rows in blocks)

    def of_scores() -> Iterator[tuple[slice, Tensor]]:
        for rows in blocks:
            gradient = left[..., rows].mT @ right  # (batch, head, rows, key)
            if exclude_self:
                gradient += _sum_self_terms(weights(rows), rows, counted)[1]
            yield rows, _backward_through_softmax(gradient, weights(rows))

    return total, of_scores()


def _weights_of_rows(part: BlockedAttention) -> Callable[[slice], Tensor]:
    """The weights of some rows: computed again where all of them are more than a block, else kept."""
    if len(part.row_blocks()) == 1:
        weights = part.compute_weights()
        return lambda rows: weights
    return lambda rows: part.select_rows(rows).compute_weights()


def _sum_pairs(weights: Tensor, exclude_self: bool) -> Tensor:
    overlap = weights @ weights.mT
    if exclude_self:
        overlap.diagonal(dim1=-2, dim2=-1).zero_()
    return (weights * (1 - overlap)).sum(dim=(-2, -1))


def _sum_pairs_and_gradient(weights: Tensor, exclude_self: bool, pairs: Tensor) -> tuple[Tensor, Tensor]:
    """The sum over pairs, (batch, head), and its gradient, (batch, head, query, key), in two products.

    The weights are 0 where `pairs`, which broadcasts to them, is 0, and so is the gradient.
    """
    flat = weights.flatten(0, 1)
    steep = (flat @ (flat + flat.mT)).baddbmm_(flat.mT, flat).view(weights.shape)
    if exclude_self:
        steep -= 2 * weights.diagonal(dim1=-2, dim2=-1)[..., None] * weights
        steep.diagonal(dim1=-2, dim2=-1).sub_(weights.square().sum(dim=-1))
    # What is subtracted is of third degree in the weights, so its gradient holds its value three times over (Euler).
    total = weights.sum(dim=(-2, -1)) - (weights * steep).sum(dim=(-2, -1)) / 3
    return total, torch.sub(pairs, steep, out=steep)


def _sum_self_terms(weights: Tensor, rows: slice, content_mask: Tensor) -> tuple[Tensor, Tensor]:
    """The terms i = j of some rows, A_ii (A A^T)_ii: their sum, and its gradient with respect to those rows."""
    counted = weights * content_mask[..., rows].mT * content_mask
    itself = counted[..., rows].diagonal(dim1=-2, dim2=-1)  # (batch, head, rows)
    lengths = counted.square().sum(dim=-1)
    gradient = 2 * itself[..., None] * counted
    gradient[..., rows].diagonal(dim1=-2, dim2=-1).add_(lengths)
    return (itself * lengths).sum(dim=-1), gradient


def _backward_through_softmax(gradient: Tensor, weights: Tensor) -> Tensor:
    """The gradient with respect to the scores, from that with respect to the weights."""
    return torch.ops.aten._softmax_backward_data(gradient, weights, -1, weights.dtype)


def _check_visible(visible: Tensor | None, shape: Sequence[int] | None) -> None:
    if visible is None:
        return
    if isinstance(visible, Tensor) and visible.ndim != 4:
        raise ValueError(f"visible must have the shape (batch, head, query, key), got {tuple(visible.shape)}")
    fits = tuple(shape) if shape is not None else tuple(getattr(visible, "shape", ()))
    if isinstance(visible, Tensor):
        fits = tuple(1 if one == 1 else size for one, size in zip(visible.shape[:2], fits[:2], strict=True)) + fits[2:]
    check_mask("visible", visible, fits, "pair of attention")


def _check_heads(heads: BlockedAttention, mask: Tensor | None, pairs: Tensor | None, probes: int | None) -> None:
    check_floats("query", heads.query, "batch, head, query, size")
    check_floats("key", heads.key, "batch, head, key, size")
    texts, counted_heads, tokens, _ = heads.query.shape
    if tokens != heads.key.shape[2]:
        raise ValueError(f"expected as many queries as keys, got {tokens} and {heads.key.shape[2]}")
    if heads.query.shape != heads.key.shape:
        raise ValueError(
            f"query and key must have the same shape, got {tuple(heads.query.shape)} and {tuple(heads.key.shape)}"
        )
    check_mask("mask", mask, (texts, tokens), "token of query")
    if pairs is not None and (
        pairs.ndim != 2 or pairs.shape[0] not in (1, texts) or pairs.shape[1] not in (1, counted_heads)
    ):
        raise ValueError(f"pairs must have the shape {(texts, counted_heads)}, got {tuple(pairs.shape)}")
    if probes is not None and probes < 1:
        raise ValueError(f"probes must be at least 1, got {probes}; None sums exactly")


def _mask_pairs(mask: Bool[Tensor, "batch token"]) -> Bool[Tensor, "batch 1 token token"]:
    return mask[:, None, :, None] & mask[:, None, None, :]


def _count_all_pairs(like: Tensor, mask: Tensor | None) -> Tensor:
    """T^2 of every text, at least 1, (batch, 1) or (1, 1)."""
    tokens = like.new_full((1, 1), like.shape[2]) if mask is None else mask.sum(dim=-1, keepdim=True)
    return tokens.square().clamp_min(1).to(like.dtype)
