"""Interventions: forward passes in which the values of one site are replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

from torch import Tensor, nn

from safr.errors import InputError
from safr.model.families import count_layers, find_feed_forward_layers, get_encoder, unwrap
from safr.model.regularizer import get_regularizer

Intervention = Callable[[Tensor], Tensor]
"""Gives the values that take the place of a site's, (batch, token, width)."""


@contextmanager
def intervene(model: nn.Module, site: str, intervention: Intervention) -> Iterator[None]:
    """Replace the values of a site in every forward pass inside the block.

    Args:
        model: A model, with SAFR on it or not.
        site: `embedding`, which is what enters the layers, so behind VMASK where there is one; or `fc1.N`.
        intervention: Gives the new values from the old ones.

    Raises:
        InputError: Another site, or a layer that the model does not have.
    """
    inner = unwrap(model)
    part = get_encoder(inner)
    name, _, layer = site.partition(".")
    if name == "embedding" and not layer:
        modules, wanted = [part.get_input_embeddings()], 0
    elif name == "fc1" and layer.isdecimal() and int(layer) < count_layers(inner):
        regularizer = get_regularizer(model)
        pairs = find_feed_forward_layers(inner, None if regularizer is None else regularizer.regularization.fc1)
        modules, wanted = [first for first, _ in pairs], int(layer)
    else:
        raise InputError(
            f"expected the site embedding or fc1.0 to fc1.{count_layers(inner) - 1}, got '{site}'; others can't be "
            "changed"
        )
    calls, sizes = count(), [0]

    def restart_count(*_: object) -> None:
        nonlocal calls
        calls = count()

    def note_size(_: nn.Module, __: tuple, output: Tensor) -> None:
        sizes[0] = output.shape[0]

    def replace_values(_: nn.Module, __: tuple, output: Tensor) -> Tensor | None:
        if next(calls) != wanted:  # a layer that the model goes through again, or a decoder's embeddings
            return None
        # OPT runs its feed-forward layers on one long row.
        return intervention(output.view(sizes[0], -1, output.shape[-1])).view_as(output)

    handles = [
        part.register_forward_pre_hook(restart_count),
        part.get_input_embeddings().register_forward_hook(note_size),
        *(module.register_forward_hook(replace_values) for module in modules),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
