"""Gating of neurons: only the largest activations of a token stay."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from safr.errors import InputError


def keep_largest(
    activations: Float[Tensor, "*batch neuron"], count: int, *, training: bool = True
) -> Float[Tensor, "*batch neuron"]:
    r"""The activations of the neurons that are largest in magnitude; the others are 0.

    Source: the TopK activation of Makhzani and Frey 2014, as in the sparse autoencoders of Gao et al. 2024. In
    training the gradient goes through to all neurons (straight through, Bengio et al. 2013), so that none is dead for
    ever. Otherwise it reaches those that stay alone, since only these say something about the output.

    Args:
        activations: Of the neurons.
        count: How many of them stay.
        training: Whether the gradient goes through to all.

    Raises:
        InputError: There are not more neurons than that.
    """
    check_top_k(count, activations.shape[-1])
    largest = activations.detach().abs().topk(count, dim=-1).indices
    is_small = torch.ones_like(activations, dtype=torch.bool).scatter(-1, largest, False)
    kept = activations.masked_fill(is_small, 0)
    return activations + (kept.detach() - activations.detach()) if training else kept


def check_top_k(count: int, neurons: int) -> None:
    """Raise an InputError unless fewer neurons stay than there are."""
    if count >= neurons:
        raise InputError(f"`top_k` must be below the number of neurons of FC1, {neurons}, got {count}")
