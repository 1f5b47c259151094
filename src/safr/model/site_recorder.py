"""The hooks that record what a model's sites show: embeddings, FC1, FC2, and attention that a family computes itself.

What goes through transformers' attention interface is recorded in `attention.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from safr.errors import InputError
from safr.model.attention import check_tokens, to_additive
from safr.model.families import MASKED_BY_PAIRS, bind_arguments, find_own_attention
from safr.model.forward_pass import HOOKS_LOCK, ForwardPass, TextLayout, recording_pass


class SiteRecorder:
    """Hooks that report what a model's sites show to the pass that is open, if it is this recorder's."""

    def __init__(self) -> None:
        self.key = uuid4().hex
        """Tells its hooks from those of another model that shares modules; copies that adapters make keep it."""

    def add_hooks(self, layers: Sequence[tuple[nn.Module, nn.Module | None]]) -> list[RemovableHandle]:
        """Put the recording hooks on feed-forward layers; returns the handles to remove them."""
        handles = []
        with HOOKS_LOCK:
            for first, second in layers:
                handles.append(first.register_forward_hook(self.record_fc1))
                if second is not None:
                    handles.append(second.register_forward_pre_hook(self.record_fc1_out))
                    handles.append(second.register_forward_hook(self.record_fc2))
        return handles

    def add_attention_hooks(self, model: PreTrainedModel) -> list[RemovableHandle]:
        """Put the recording hooks on what computes attention itself, if anything; returns their handles."""
        handles = []
        with HOOKS_LOCK:
            for module in find_own_attention(model):
                if model.config.model_type in MASKED_BY_PAIRS:
                    handles.append(module.register_forward_pre_hook(self.note_attention_mask, with_kwargs=True))
                handles.append(module.get_submodule("dropout").register_forward_pre_hook(self.record_attention))
        return handles

    def recording_pass(self) -> ForwardPass | None:
        """The open pass, if it is this recorder's and the part of the model that it records runs now."""
        forward_pass = recording_pass()
        return forward_pass if forward_pass is not None and forward_pass.recorder is self else None

    def record_fc1(self, module: nn.Module, args: tuple, output: Any) -> None:
        """What the first feed-forward layer puts out."""
        # Differs from the paper: FC1 before the activation is what its figures show (their interference is negative
        # too, which ReLU's outputs cannot have); its text does not say.
        self._record_layer("fc1", output)

    def record_fc1_out(self, module: nn.Module, args: tuple) -> None:
        """What the second feed-forward layer gets."""
        self._record_layer("fc1_out", args[0])

    def record_fc2(self, module: nn.Module, args: tuple, output: Any) -> None:
        """What the second feed-forward layer puts out."""
        self._record_layer("fc2", output)

    def note_attention_mask(self, module: nn.Module, args: tuple, options: dict[str, Any] | None = None) -> None:
        """Note what is added to the scores of the attention that comes next."""
        # In another thread's call the options are missing if this hook is taken off while that call is under way.
        if (forward_pass := self._pass_that_wants("attention")) is not None and options is not None:
            forward_pass.attention_mask = bind_arguments(module, args, options).get("attention_mask")

    def record_attention(self, module: nn.Module, args: tuple) -> None:
        """The attention weights that a dropout gets."""
        wanted = self._pass_that_wants("attention")
        if (forward_pass := self.recording_pass()) is None:
            return
        name, (weights, *_) = forward_pass.next_layer("attention"), args
        if wanted is not None:
            mask, forward_pass.attention_mask = forward_pass.attention_mask, None
            check_tokens(weights, forward_pass.record.layout, name)
            forward_pass.report(name, weights, None if mask is None else to_additive(mask, weights.dtype, None))

    def record_embedding(self, ids: Tensor, vectors: Any) -> tuple[TextLayout, Tensor] | None:
        """Record the embeddings of the batch's tokens.

        Returns:
            The layout and the embeddings as (text, token, width); None where nothing is recorded, or where something
            else than the batch's tokens is looked up after them, such as GPT-2's token types.

        Raises:
            InputError: What is looked up are not the tokens of the batch.
        """
        forward_pass = self.recording_pass()
        if forward_pass is None or (layout := forward_pass.record.layout) is None:
            return None
        if forward_pass.next_layer("embedding") != "embedding.0":
            return None
        check_site_tensor(vectors, "embedding")
        rows, given = layout.to_rows(ids, "ids"), forward_pass.record.ids
        if given is not None and not torch.equal(rows, given.reshape(rows.shape)):
            raise InputError(
                f"{layout.model_name} looks up something other than the batch's input_ids in its embeddings, so its "
                "vectors can't be read; pass no token_type_ids, or another number of texts than of tokens"
            )
        forward_pass.record.token_ids = rows
        vectors = layout.to_rows(vectors, "embedding")
        forward_pass.report("embedding", vectors)
        return layout, vectors

    def _pass_that_wants(self, site: str) -> ForwardPass | None:
        """The open pass, if the next layer of a kind of site is asked for."""
        forward_pass = self.recording_pass()
        return forward_pass if forward_pass is not None and forward_pass.wants_next(site) else None

    def _record_layer(self, site: str, vectors: Any) -> None:
        if (forward_pass := self.recording_pass()) is None:
            return
        name, layout = forward_pass.next_layer(site), forward_pass.record.layout
        if forward_pass.request.wants(name):
            check_site_tensor(vectors, name)
            forward_pass.report(name, vectors if layout is None else layout.to_rows(vectors, name))


def check_site_tensor(values: Any, site: str) -> None:
    """Refuse what is no tensor, such as I-BERT's vectors, which come with their scale.

    Raises:
        InputError: It is no tensor.
    """
    if not isinstance(values, Tensor):
        raise InputError(
            f"expected one tensor at {site}, got a {type(values).__name__}; this model can't be read there"
        )


RECORDING_HOOKS = (
    SiteRecorder.record_fc1,
    SiteRecorder.record_fc1_out,
    SiteRecorder.record_fc2,
    SiteRecorder.note_attention_mask,
    SiteRecorder.record_attention,
)
"""The hooks that `add_hooks` and `add_attention_hooks` put on."""
