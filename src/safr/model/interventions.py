"""Interventions: forward passes in which the values of one site are replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any, cast

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from safr.errors import InputError
from safr.model.families import (
    bind_arguments,
    count_layers,
    find_feed_forward_layers,
    get_encoder,
    lay_out_texts,
    unwrap,
)
from safr.model.forward_pass import HOOKS_LOCK, TextLayout, own_block, removing
from safr.model.regularizer import get_regularizer
from safr.model.site_recorder import check_site_tensor

Intervention = Callable[[Tensor], Tensor]
"""Gives the values that take the place of a site's, (batch, token, width)."""


@contextmanager
def intervene(model: nn.Module, site: str, intervention: Intervention) -> Iterator[None]:
    """Replace the values of a site in every forward pass inside the block, and in no other thread's.

    Args:
        model: A model, with SAFR on it or not.
        site: `embedding`, which is what enters the layers, so behind VMASK where there is one; `fc1.N`, or `fc1_out.N`
            where the second feed-forward layer is known.
        intervention: Gives the new values from the old ones.

    Raises:
        InputError: Another site, or a layer that the model does not have; in a pass, a site that shows no tensor.
    """
    inner = unwrap(model)
    part = get_encoder(inner)
    name, _, layer = site.partition(".")
    if name == "embedding" and not layer:
        modules, wanted = [part.get_input_embeddings()], 0
    elif name in ("fc1", "fc1_out") and layer.isdecimal() and int(layer) < count_layers(inner):
        regularizer = get_regularizer(model)
        pairs = find_feed_forward_layers(inner, None if regularizer is None else regularizer.regularization.fc1)
        modules = [module for pair in pairs if (module := pair[name == "fc1_out"]) is not None]
        wanted = int(layer)
    else:
        modules, wanted = [], 0
    if not modules:
        last = count_layers(inner) - 1
        raise InputError(
            f"expected the site embedding, fc1.0 to fc1.{last}, or fc1_out.0 to fc1_out.{last} of a family that is "
            f"known, got '{site}'; others can't be changed"
        )
    calls: Iterator[int] | None = None
    layout: TextLayout | None = None
    handles: list[RemovableHandle] = []
    with own_block() as is_own, removing(handles):
        # In another thread's call the options are missing if this hook is taken off while that call begins.
        def restart_count(part: nn.Module, args: tuple, options: dict[str, Any] | None = None) -> None:
            nonlocal calls, layout
            if is_own():
                calls = count()
                layout = lay_out_texts(cast("PreTrainedModel", part), bind_arguments(part, args, options or {}))

        def replace_values(values: Any) -> Tensor | None:
            if not is_own():
                return None
            # A layer that the model goes through again, or a decoder's embeddings.
            if calls is None or next(calls) != wanted:
                return None
            check_site_tensor(values, site)
            if layout is None:
                return intervention(values)
            return layout.from_rows(intervention(layout.to_rows(values, site)), values)

        def replace_output(_: nn.Module, __: tuple, output: Any) -> Tensor | None:
            return replace_values(output)

        def replace_input(_: nn.Module, args: tuple) -> tuple | None:
            values = replace_values(args[0])
            return None if values is None else (values, *args[1:])

        with HOOKS_LOCK:
            handles.append(part.register_forward_pre_hook(restart_count, with_kwargs=True))
            for module in modules:
                if name == "fc1_out":
                    handles.append(module.register_forward_pre_hook(replace_input))
                else:
                    handles.append(module.register_forward_hook(replace_output))
        yield
