"""What SAFR keeps on a model and does when it runs: the mask on its embeddings, the losses on its output.

Nothing of the model's own is replaced: all of it are hooks, which `detach` takes off again.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Collection, Mapping
from typing import Any, cast

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.utils.generic import find_labels

from safr.config import Regularization
from safr.errors import InputError
from safr.model.content_mask import compute_content_mask
from safr.model.families import (
    RECORDING_HOOKS,
    add_recording_hooks,
    count_layers,
    find_feed_forward_layers,
    get_encoder,
    record_once,
)
from safr.model.forward_pass import ForwardPass, close_pass, current_pass, open_pass, recording_pass, replay_checkpoints
from safr.model.loss_terms import compute_loss_terms, make_site_readers
from safr.model.resolve import resolve_layers
from safr.model.trainer_compat import batch_fraction, regularize_label_smoothing
from safr.model.vmask import VMASK


class Regularizer(nn.Module):
    """What `attach` puts on a model as `model.safr`: the mask, the settings, and the hooks that compute the losses."""

    steps: Tensor
    pieces: Tensor | None

    def __init__(
        self,
        model: PreTrainedModel,
        regularization: Regularization,
        special_ids: Collection[int],
        pieces: Bool[Tensor, "2 word"] | None,
    ) -> None:
        super().__init__()
        embeddings = get_encoder(model).get_input_embeddings()
        weight = cast("Tensor", embeddings.weight)
        self.regularization = regularization
        self.special_ids = tuple(sorted(special_ids))
        self.hidden_layers = count_layers(model)
        self.layers = resolve_layers(regularization, model)
        self.attention_before = model.config._attn_implementation
        self.terms: dict[str, Tensor] = {}
        """The last loss's parts, unweighted and detached: task, importance, interaction, information."""
        self.vmask: VMASK | None = None
        if regularization.vmask:
            self.vmask = VMASK(weight.shape[1], regularization.vmask_width).to(weight)
            if self.regularization.vmask_keep is not None:
                self.vmask.open_to(self.regularization.vmask_keep, weight)
        self.register_buffer("steps", torch.zeros((), dtype=torch.long, device=weight.device))
        # Which ids continue a word, and which close one so that nothing continues it.
        self.register_buffer("pieces", None if pieces is None else pieces.to(weight.device))
        self.shifts_labels = type(model).__name__ in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()
        self.label_names = find_labels(type(model))
        self.reached: dict[str, bool] | None = None
        """Where the last loss was computed outside the model: whether it reached the outputs, and the regularizers."""
        self.watched: dict[str, nn.Module] = {}
        self._watch(model)
        part = get_encoder(model)
        self.reads_encoder = part is not model
        self.handles = [
            model.register_forward_pre_hook(self._begin, with_kwargs=True),
            part.register_forward_pre_hook(self._enter, with_kwargs=True),
            part.register_forward_hook(self._leave, always_call=True),
            model.register_forward_hook(self._finish, with_kwargs=True, always_call=True),
        ]

    def detach(self, model: PreTrainedModel) -> None:
        """Take all hooks off the model."""
        for handle in self.handles:
            handle.remove()
        _take_off_recording(model)

    def _watch(self, model: PreTrainedModel) -> None:
        """Put the recording hooks on the model's layers, and again where adapters have taken a layer's place since."""
        if self.watched and all(_module_at(model, path) is module for path, module in self.watched.items()):
            return
        _take_off_recording(model)
        embeddings = get_encoder(model).get_input_embeddings()
        layers = find_feed_forward_layers(model, self.regularization.fc1)
        add_recording_hooks(layers)
        embeddings.register_forward_hook(self._mask_embeddings, with_kwargs=True)
        there = {embeddings, *(module for pair in layers for module in pair if module is not None)}
        self.watched = {path: module for path, module in model.named_modules() if module in there}

    def _begin(self, model: nn.Module, args: tuple, options: dict[str, Any]) -> None:
        """Open a pass, or join the one that a trace has opened, and say what the losses will read."""
        given = _given(model, args, options)
        self._refuse_unsupported(model, given)
        self._watch(cast("PreTrainedModel", model))
        now = current_pass()
        if now is None or not now.joinable:
            now = ForwardPass(frozenset())
        labels = given.get("labels")
        now.labelled = any(given.get(name) is not None for name in self.label_names)
        now.gradient = model.training and torch.is_grad_enabled()
        if now.labelled or now.gradient:
            now.readers = make_site_readers(self.regularization, self.layers, now)
        if now.gradient:
            self._refuse_lost()
            replay_checkpoints(model, now)
        if labels is not None and given.get("num_items_in_batch") is not None:
            now.share = batch_fraction(labels, given["num_items_in_batch"], self.shifts_labels)
        open_pass(now)

    def _enter(self, part: nn.Module, args: tuple, options: dict[str, Any]) -> None:
        """The recorded part begins; while text is generated an encoder is called without the model around it."""
        given, now = _given(part, args, options), current_pass()
        if now is None:
            now = ForwardPass(frozenset(), alone=True)
            open_pass(now)
        # A trace may have been told what counts; what an interrupted pass has left behind is none of this one's.
        if self.regularization.padding == "mask" and not (now.joinable and now.content_mask is not None):
            now.content_mask = compute_content_mask(given, self.special_ids)
        now.attended = compute_content_mask(given, ())
        now.inside = True

    def _leave(self, part: nn.Module, args: tuple, output: Any) -> None:
        if (now := current_pass()) is not None:
            now.inside = False
            if now.alone:
                close_pass()

    def _refuse_unsupported(self, model: nn.Module, given: Mapping[str, Any]) -> None:
        """What would train something else than the settings say, without a word."""
        if getattr(model, "_is_replica", False):
            raise InputError("SAFR can't run under DataParallel, which copies its hooks; start one process per GPU")
        if given.get("encoder_outputs") is not None and any(given.get(name) is not None for name in self.label_names):
            raise InputError("expected input_ids, got encoder_outputs, whose encoder SAFR has not seen at work")
        if self.vmask is None:
            return
        if given.get("inputs_embeds") is not None:
            raise InputError(
                "expected input_ids, got inputs_embeds, which would go past VMASK; attach with vmask=False"
            )
        frozen = not all(weight.requires_grad for weight in self.vmask.parameters())
        if frozen and model.training and torch.is_grad_enabled() and hasattr(model, "peft_config"):
            raise InputError(
                "the adapters have frozen VMASK with the rest of the model; call model.safr.requires_grad_(True) "
                "before the optimizer is made, or attach SAFR after them"
            )

    def _refuse_lost(self) -> None:
        """A backward pass that reached the outputs and not the regularizers has lost them without a word."""
        reached, self.reached = self.reached, None  # said once: the next pass may be one that is mended
        if reached is not None and reached["outputs"] and not reached["regularization"]:
            raise InputError(
                "the last training loss was computed outside the model and left SAFR's regularizers out; "
                "add `outputs.regularization` to it (with return_dict=True), or pass labels to the model"
            )

    def _mask_embeddings(
        self, module: nn.Module, args: tuple, options: dict[str, Any], output: Tensor
    ) -> Tensor | None:
        now = recording_pass()
        record_once("embedding", output)
        # A decoder may look its tokens up in the same embeddings; it is not what is explained.
        if self.vmask is None or (self.reads_encoder and now is None):
            return None
        ids = args[0] if args else options["input"]
        content_mask = None
        if self.regularization.padding == "mask":
            content_mask = (
                now.content_mask if now is not None else compute_content_mask({"input_ids": ids}, self.special_ids)
            )
        # A GPU would have to stop to find equal ids; who asks for the embeddings' gradient wants each one's own; and
        # what another hook has done to the rows of the table may differ from token to token.
        alike = isinstance(module, nn.Embedding) and next(iter(module._forward_hooks.values())) == self._mask_embeddings
        shared = now is not None and (now.gradient or not torch.is_grad_enabled())
        repeats = ids if alike and ids.device.type == "cpu" and shared else None
        masked = self.vmask(output, content_mask, self._words(ids), repeats)
        if now is not None:
            now.keep = masked.keep
        record_once("vmask", masked.vectors)
        return masked.vectors

    def _words(self, ids: Int[Tensor, "batch token"]) -> Int[Tensor, "batch token"] | None:
        """Number of each token's word; special tokens are words of their own, and so are ids that are new since."""
        if self.pieces is None:
            return None
        known = ids < self.pieces.shape[1]
        continues, closes = self.pieces[:, ids.where(known, 0)] & known  # (batch, token) each
        begins = ~continues
        begins[:, 1:] |= closes[:, :-1]
        begins[:, 0] = True
        return begins.cumsum(dim=-1) - 1

    def _finish(self, model: nn.Module, args: tuple, options: dict[str, Any], output: Any) -> Any:
        """Add the weighted losses to the output's loss, which holds the task's alone until here."""
        now = current_pass()
        close_pass()
        if now is None:
            return None
        if output is None or not (now.labelled or now.gradient):  # None: the forward pass has failed
            now.let_go()
            return None
        if self.vmask is not None and now.keep is None:
            raise InputError("the model has not looked its input_ids up in its embeddings, so that nothing was masked")
        terms = compute_loss_terms(self.regularization, self.hidden_layers, now)
        now.let_go()
        if now.gradient and not now.joinable:
            self.steps += 1
        strength = now.share * self._strength()
        penalty = strength * sum(getattr(self.regularization, name) * term for name, term in terms.items())
        task = _loss(output) if now.labelled else None
        self.terms = {name: term.detach() for name, term in {"task": task, **terms}.items() if term is not None}
        if not terms:
            return None
        if task is None:
            return self._hand_over(output, penalty)
        if isinstance(output, tuple):
            return (task + penalty, *output[1:])
        output["loss"] = task + penalty
        return output

    def _hand_over(self, output: Any, penalty: Tensor) -> Any:
        """Leave the regularizers to whoever computes the loss outside the model."""
        if penalty.requires_grad:
            reached = self.reached = {"outputs": False, "regularization": False}
            penalty.register_hook(lambda _: reached.update(regularization=True))
            for each in output if isinstance(output, tuple) else output.values():
                if isinstance(each, Tensor) and each.requires_grad:
                    each.register_hook(lambda _: reached.update(outputs=True))
        if isinstance(output, tuple):
            return output
        regularize_label_smoothing()
        kind: Any = type(output)
        return _with_regularization(kind)(**output, regularization=penalty)

    def _strength(self) -> Tensor | float:
        """Share of the weights in force: rises linearly from 0 to 1 during warm-up."""
        if not self.regularization.warmup_steps:
            return 1.0
        return (self.steps / self.regularization.warmup_steps).clamp(max=1.0)


@functools.cache
def _with_regularization(kind: Any) -> Any:
    """The same kind of output with one more field, which DistributedDataParallel can take apart and put together."""
    field = ("regularization", Tensor | None, None)
    return dataclasses.make_dataclass(kind.__name__, [field], bases=(kind,))


def _module_at(model: nn.Module, path: str) -> nn.Module | None:
    """`get_submodule` without its checks, which cost as much as a layer of a small model."""
    found: nn.Module | None = model
    for name in path.split("."):
        found = None if found is None else found._modules.get(name)
    return found


def _take_off_recording(model: nn.Module) -> None:
    """Take the recording hooks off whatever bears them, also copies that adapters have made of a module."""
    ours = {*RECORDING_HOOKS, Regularizer._mask_embeddings}
    for module in model.modules():
        for hooks in (module._forward_hooks, module._forward_pre_hooks):
            for number in [number for number, hook in hooks.items() if getattr(hook, "__func__", hook) in ours]:
                del hooks[number]
                module._forward_hooks_with_kwargs.pop(number, None)


def get_regularizer(model: nn.Module) -> Regularizer | None:
    """What `attach` has put on a model, if anything."""
    found = getattr(model, "safr", None)
    return found if isinstance(found, Regularizer) else None


def get_explaining_site(model: nn.Module) -> str:
    """Site whose capacity explains what a model predicts: the one it was attached with, else the first layer's FC1."""
    attached = get_regularizer(model)
    return "fc1.0" if attached is None else attached.regularization.site


def special_ids_of_model(model: nn.Module) -> tuple[int, ...]:
    """Ids that never count: what `attach` was told, else what the model's config names."""
    if (attached := get_regularizer(model)) is not None:
        return attached.special_ids
    names = ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id")
    named = [getattr(model.config, name, None) for name in names]
    flat = [each for value in named for each in (value if isinstance(value, list) else [value])]
    return tuple(sorted({each for each in flat if each is not None}))


def _given(model: nn.Module, args: tuple, options: dict[str, Any]) -> dict[str, Any]:
    """What a forward pass was given, by the names of its parameters."""
    given = inspect.signature(model.forward).bind_partial(*args, **options).arguments
    return {**given, **given.get("kwargs", {})}


def _loss(output: Any) -> Tensor | None:
    return output[0] if isinstance(output, tuple) else output.get("loss")
