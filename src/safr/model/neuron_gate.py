"""Gating of neurons: only the largest activations of a token stay."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from safr.errors import InputError


def keep_largest(activations: Float[Tensor, "*batch neuron"], count: int) -> Float[Tensor, "*batch neuron"]:
    r"""The activations of the neurons that are largest in magnitude; the others are 0.

    Source: the TopK activation of Makhzani and Frey 2014, as in the sparse autoencoders of Gao et al. 2024. The
    gradient goes through to all neurons (straight through, Bengio et al. 2013), so that none is dead for ever.

    Args:
        activations: Of the neurons.
        count: How many of them stay.

    Raises:
        InputError: There are not more neurons than that.
    """
    check_top_k(count, activations.shape[-1])
    largest = activations.detach().abs().topk(count, dim=-1).indices
    kept = torch.zeros_like(activations).scatter(-1, largest, activations.detach().gather(-1, largest))
    return activations + (kept - activations.detach())


def check_top_k(count: int, neurons: int) -> None:
    """Raise an InputError unless fewer neurons stay than there are."""
    if count >= neurons:
        raise InputError(f"`top_k` must be below the number of neurons of FC1, {neurons}, got {count}")
