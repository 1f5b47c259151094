"""What the losses on neurons share: their checks, sums over equal tokens, and the mean over the neurons that count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from safr.superposition import check_floats, check_mask, check_shape

NeuronLoss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""A loss of activations (batch, token, neuron), token ids (batch, token) and a mask of the tokens that count."""


def prepare_activations(
    activations: Any, mask: Any
) -> tuple[Float[Tensor, "batch token neuron"], Bool[Tensor, "batch token"]]:
    """The activations in float32 at least and 0 where a token does not count, and a mask that is always there.

    Raises:
        TypeError: An argument is no tensor of the type that it has to be.
        ValueError: The shapes don't fit.
    """
    check_floats("activations", activations, "batch, token, neuron")
    check_mask("mask", mask, activations.shape[:-1], "token of activations")
    activations = activations.to(torch.promote_types(activations.dtype, torch.float32))
    if mask is None:
        mask = torch.ones(activations.shape[:-1], dtype=torch.bool, device=activations.device)
    return torch.where(mask[..., None], activations, 0.0), mask


def prepare_rows(
    activations: Any, tokens: Any, mask: Any
) -> tuple[Float[Tensor, "row neuron"], Int[Tensor, " row"], Bool[Tensor, " row"]]:
    """The prepared activations with nothing below 0, the ids and the mask, a row for each token.

    Raises:
        TypeError: An argument is no tensor of the type that it has to be.
        ValueError: The shapes don't fit.
    """
    activations, mask = prepare_activations(activations, mask)
    if not isinstance(tokens, Tensor) or tokens.is_floating_point():
        kind = str(tokens.dtype) if isinstance(tokens, Tensor) else type(tokens).__name__
        raise TypeError(f"tokens must be a tensor of whole numbers, one id for each token, got {kind}")
    check_shape("tokens", tokens, activations.shape[:-1], "token of activations")
    return activations.clamp_min(0).flatten(0, 1), tokens.flatten(), mask.flatten()


def divide_by_largest(
    rows: Float[Tensor, "row neuron"],
) -> tuple[Float[Tensor, "row neuron"], Bool[Tensor, " neuron"]]:
    """Each neuron in units of its largest activation, so that no square leaves the type, and which neurons are dead."""
    largest = rows.detach().abs().amax(dim=0) if len(rows) else rows.new_zeros(rows.shape[1])
    is_dead = largest == 0
    return rows / torch.where(is_dead, 1.0, largest), is_dead


def sum_by_token(
    rows: Float[Tensor, "row neuron"], tokens: Int[Tensor, " row"], mask: Bool[Tensor, " row"]
) -> tuple[Float[Tensor, "row neuron"], Float[Tensor, ""]]:
    """Sums over the rows of equal tokens, and how many different tokens count.

    A GPU would have to stop to tell how many different tokens there are, so there are as many sums as rows; those that
    stand for no token are 0.

    Args:
        rows: 0 where a token does not count.
        tokens: Ids of the tokens.
        mask: True where a token counts.
    """
    ordered, order = tokens.sort()
    is_new = torch.ones_like(ordered)
    is_new[1:] = (ordered[1:] != ordered[:-1]).to(is_new.dtype)
    place = torch.empty_like(order).scatter_(0, order, is_new.cumsum(0) - 1)
    counts = rows.new_zeros(len(rows)).index_add(0, place, mask.to(rows.dtype))
    return torch.zeros_like(rows).index_add(0, place, rows), (counts > 0).sum().to(rows.dtype)


def mean_over_live(values: Float[Tensor, " neuron"], is_live: Bool[Tensor, " neuron"]) -> Float[Tensor, ""]:
    """Mean over the neurons that count; 0 without any."""
    return torch.where(is_live, values, 0.0).sum() / is_live.sum().clamp_min(1)
