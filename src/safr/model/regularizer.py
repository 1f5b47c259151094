"""The hooks that `attach` puts on a model: the mask on its embeddings, the losses on its output.

Nothing of the model's own is replaced, and `detach` takes all hooks off again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, cast

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.utils.generic import find_labels

import safr
from safr.config import Regularization
from safr.errors import InputError
from safr.model.content_mask import compute_content_mask, index_words
from safr.model.families import (
    bind_arguments,
    count_layers,
    find_feed_forward_layers,
    find_own_attention,
    get_encoder,
    lay_out_texts,
)
from safr.model.forward_pass import (
    HOOKS_LOCK,
    ForwardPass,
    PassRequest,
    SiteReader,
    close_pass,
    current_pass,
    open_pass,
    replay_checkpoints,
)
from safr.model.hub import is_hub_name
from safr.model.loss_terms import compute_loss_terms, make_site_readers
from safr.model.neuron_gate import check_top_k, keep_largest
from safr.model.resolve import resolve_layers
from safr.model.site_recorder import RECORDING_HOOKS, SiteRecorder
from safr.model.trainer_compat import OutsideLossCheck, batch_fraction, check_forward_arguments, hand_out_nothing
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
        """The last loss's parts, unweighted and detached: task, importance, interaction, information, and others."""
        self.texts = 0
        """Texts of the batch that `terms` are of."""
        self.batch_fraction: Tensor | float = 1.0
        """The part of the whole batch that they are of, where a Trainer accumulates several; 1 if it does not say."""
        self.has_default_warmup = False
        """Whether nobody has chosen the length of the warm-up, so that a Trainer's callback may shorten it."""
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
        self.outside_loss = OutsideLossCheck()
        self.recorder = SiteRecorder()
        self.hooked: dict[str, nn.Module] = {}
        """Modules that bear recording hooks, by their path."""
        self._add_hooks(model)
        part = get_encoder(model)
        self.reads_encoder = part is not model
        with HOOKS_LOCK:
            self.handles = [
                model.register_forward_pre_hook(self._begin, with_kwargs=True),
                part.register_forward_pre_hook(self._enter, with_kwargs=True),
                part.register_forward_hook(self._leave, always_call=True),
                model.register_forward_hook(self._finish, with_kwargs=True, always_call=True),
            ]

    def detach(self, model: PreTrainedModel) -> None:
        """Take all hooks off the model."""
        with HOOKS_LOCK:
            for handle in self.handles:
                handle.remove()
            _remove_hooks(model, self.recorder.key)

    def _add_hooks(self, model: PreTrainedModel) -> None:
        """Put the recording hooks on the model's layers, and again where adapters have taken a layer's place since."""
        if self.hooked and all(_get_module(model, path) is module for path, module in self.hooked.items()):
            return
        embeddings = get_encoder(model).get_input_embeddings()
        layers = find_feed_forward_layers(model, self.regularization.fc1)
        with HOOKS_LOCK:
            _remove_hooks(model, self.recorder.key)
            if self.regularization.gates_neurons:
                for module in self._find_gated(layers):
                    module.register_forward_pre_hook(self._gate)
            self.recorder.add_hooks(layers)  # after the gate, so that what is recorded is what goes on
            self.recorder.add_attention_hooks(model)
            embeddings.register_forward_hook(self._mask_embeddings, with_kwargs=True)
        hooked = {embeddings, *(module for pair in layers for module in pair if module is not None)}
        hooked |= {module.get_submodule("dropout") for module in find_own_attention(model)}
        self.hooked = {path: module for path, module in model.named_modules() if module in hooked}

    def _find_gated(self, layers: Sequence[tuple[nn.Module, nn.Module | None]]) -> list[nn.Module]:
        """The second feed-forward layers whose neurons are gated."""
        seconds = [second for _, second in layers if second is not None]
        if len(seconds) < len(layers):
            raise InputError(
                "`top_k` and `neuron_dropout` need to know the layer after FC1, which fc1= does not tell; "
                "leave them out"
            )
        if len(seconds) == self.hidden_layers:
            seconds = [seconds[layer] for layer in self.layers]
        elif len(self.layers) < self.hidden_layers:
            raise InputError("`top_k` and `neuron_dropout` need layers='all' in a model whose layers share weights")
        for second in seconds:
            # nn.Linear and GPT-2's Conv1D know how many neurons they read; for others the first pass checks it.
            neurons = getattr(second, "in_features", getattr(second, "nx", None))
            if neurons is not None and self.regularization.top_k is not None:
                check_top_k(self.regularization.top_k, neurons)
        return seconds

    def _gate(self, module: nn.Module, args: tuple) -> tuple | None:
        """Set neurons to 0: in training some by chance, and always those that are not among the largest."""
        forward_pass = current_pass()
        if forward_pass is not None and forward_pass.recorder is not self.recorder:  # another model, with this layer
            return None
        activations, *others = args
        settings = self.regularization
        if settings.neuron_dropout:
            activations = nn.functional.dropout(activations, settings.neuron_dropout, module.training)
        if settings.top_k is not None:
            activations = keep_largest(activations, settings.top_k, training=module.training)
        return (activations, *others)

    def _begin(self, model: nn.Module, args: tuple, options: dict[str, Any]) -> None:
        """Open a pass, or join the one that a trace has opened, and ask for what the losses read."""
        arguments = bind_arguments(model, args, options)
        check_forward_arguments(model, arguments, self.vmask, self.label_names)
        self._add_hooks(cast("PreTrainedModel", model))
        has_labels = any(arguments.get(name) is not None for name in self.label_names)
        needs_gradient = model.training and torch.is_grad_enabled()
        readers: dict[str, SiteReader] = {}
        if has_labels or needs_gradient:
            readers = make_site_readers(self.regularization, self.layers, needs_gradient=needs_gradient)
        if needs_gradient:
            self.outside_loss.check_last()
        traced = current_pass()
        # What an interrupted pass has left, and a trace of another model, are not this one's.
        if traced is None or not traced.request.is_trace or traced.recorder is not self.recorder:
            traced = ForwardPass(PassRequest())
        request = replace(
            traced.request,
            readers=readers,
            has_labels=has_labels,
            needs_gradient=needs_gradient,
            returns_attention=self._returns_attention(model, arguments),
            batch_fraction=self._batch_fraction(arguments),
        )
        forward_pass = ForwardPass(request, traced.record, recorder=self.recorder)
        if needs_gradient:
            replay_checkpoints(model, forward_pass)
        open_pass(forward_pass)

    def _returns_attention(self, model: nn.Module, arguments: Mapping[str, Any]) -> bool:
        """Whether the output is to hold attention weights, as it did before SAFR was put on."""
        asked = arguments.get("output_attentions")
        asked = getattr(model.config, "output_attentions", False) if asked is None else asked
        return bool(asked) and self.attention_before == "eager"

    def _batch_fraction(self, arguments: Mapping[str, Any]) -> Tensor | float:
        """The part of the whole batch that a pass sees, where a Trainer accumulates several."""
        labels, items = arguments.get("labels"), arguments.get("num_items_in_batch")
        if labels is None or items is None:
            return 1.0
        return batch_fraction(labels, items, self.shifts_labels)

    def _enter(self, part: nn.Module, args: tuple, options: dict[str, Any]) -> None:
        """The recorded part begins; while text is generated an encoder is called without the model around it."""
        arguments, forward_pass = bind_arguments(part, args, options), current_pass()
        if forward_pass is None:
            forward_pass = ForwardPass(PassRequest(is_encoder_alone=True), recorder=self.recorder)
            open_pass(forward_pass)
        if forward_pass.recorder is not self.recorder:  # of another model, which shares this part
            return
        record = forward_pass.record
        record.layout = lay_out_texts(cast("PreTrainedModel", part), arguments)
        if self.regularization.padding == "mask":
            record.maskable = compute_content_mask(arguments, self.special_ids)
            # A trace may have been told what counts; what an interrupted pass has left behind is none of this one's.
            if record.content_mask is None or not forward_pass.request.is_trace:
                record.content_mask = record.maskable
        record.attended = compute_content_mask(arguments, ())
        forward_pass.is_inside = True

    def _leave(self, part: nn.Module, args: tuple, output: Any) -> None:
        if (forward_pass := current_pass()) is not None and forward_pass.recorder is self.recorder:
            forward_pass.is_inside = False
            if forward_pass.request.is_encoder_alone:
                close_pass()

    def _mask_embeddings(self, module: nn.Module, args: tuple, options: dict[str, Any], output: Any) -> Tensor | None:
        ids = args[0] if args else options["input"]
        if current_pass() is None:
            # A decoder may look its tokens up in the same embeddings; it is not what is explained.
            if self.vmask is None or self.reads_encoder:
                return None
            mask = compute_content_mask({"input_ids": ids}, self.special_ids)
            counted = mask if self.regularization.padding == "mask" else None
            return self.vmask(output, counted, index_words(ids, self.pieces)).vectors
        recorded = self.recorder.record_embedding(ids, output)
        forward_pass = self.recorder.recording_pass()
        if recorded is None or forward_pass is None or self.vmask is None:
            return None
        layout, embeddings = recorded
        ids, record = layout.to_rows(ids, "ids"), forward_pass.record
        # A GPU would have to stop to find equal ids; who asks for the embeddings' gradient wants each one's own; and
        # what another hook has done to the rows of the table may differ from token to token.
        alike = isinstance(module, nn.Embedding) and next(iter(module._forward_hooks.values())) == self._mask_embeddings
        shared = forward_pass.request.needs_gradient or not torch.is_grad_enabled()
        repeats = ids if alike and ids.device.type == "cpu" and shared else None
        masked = self.vmask(embeddings, record.maskable, index_words(ids, self.pieces), repeats)
        record.keep = masked.keep
        forward_pass.report("vmask", masked.vectors)
        return layout.from_rows(masked.vectors, output)

    def _finish(self, model: nn.Module, args: tuple, options: dict[str, Any], output: Any) -> Any:
        """Add the weighted losses to the output's loss, which holds the task's alone until here."""
        forward_pass = current_pass()
        if forward_pass is None or forward_pass.recorder is not self.recorder:
            return None
        close_pass()
        request = forward_pass.request
        if output is None:  # the forward pass has failed
            forward_pass.release()
            return None
        if not (request.has_labels or request.needs_gradient):
            forward_pass.release()
            return hand_out_nothing(output)
        if self.vmask is not None and forward_pass.record.keep is None:
            raise InputError("the model did not look up its input_ids in its embeddings, so nothing was masked")
        terms = compute_loss_terms(self.regularization, self.hidden_layers, forward_pass)
        forward_pass.release()
        if request.needs_gradient and not request.is_trace:
            self.steps += 1
        strength = request.batch_fraction * self._strength()
        weights = self.regularization.loss_weights
        penalty: Any = strength * sum(weights[name] * term for name, term in terms.items())
        task = _get_loss(output) if request.has_labels else None
        self.terms = {name: term.detach() for name, term in {"task": task, **terms}.items() if term is not None}
        layout = forward_pass.record.layout
        self.texts, self.batch_fraction = 1 if layout is None else layout.texts, request.batch_fraction
        if not terms:
            return None
        if task is None:
            return self.outside_loss.hand_out(output, penalty)
        if isinstance(output, tuple):
            return (task + penalty, *output[1:])
        output["loss"] = task + penalty
        return output

    def _strength(self) -> Tensor | float:
        """Share of the weights in force: rises linearly from 0 to 1 during warm-up."""
        if not self.regularization.warmup_steps:
            return 1.0
        return (self.steps / self.regularization.warmup_steps).clamp(max=1.0)


def get_regularizer(model: nn.Module) -> Regularizer | None:
    """What `attach` has put on a model, if anything."""
    regularizer = getattr(model, "safr", None)
    return regularizer if isinstance(regularizer, Regularizer) else None


SETTINGS = "safr"
"""Where a model's config, and so every `config.json` that is written of it, holds what SAFR on it was set to."""


def write_settings(model: PreTrainedModel, regularizer: Regularizer) -> None:
    """Write what SAFR on a model is set to into the model's config, so that whatever saves the model saves it too."""
    name = model.config.name_or_path or ""
    settings = {
        "version": safr.__version__,
        "base_model": name if is_hub_name(name) else None,
        "special_ids": list(regularizer.special_ids),
        "regularization": asdict(regularizer.regularization),
    }
    setattr(model.config, SETTINGS, settings)


def check_mask_present(model: nn.Module) -> None:
    """Refuse a model that was saved with SAFR's mask or gate on it and loaded without: it would predict something else.

    Raises:
        InputError: Its config says that a mask or a gate was on it, and there is none.
    """
    settings = getattr(model.config, SETTINGS, None)
    regularization = settings.get("regularization") if isinstance(settings, dict) else None
    if not isinstance(regularization, dict) or get_regularizer(model) is not None:
        return
    for name, part in (("vmask", "word mask"), ("top_k", "gate of neurons")):
        if regularization.get(name):
            raise InputError(
                f"this model was saved with SAFR on it and loaded without its {part}; load it by safr.load(FOLDER), or "
                f"run `del model.config.safr` to continue without the {part}"
            )


def get_explaining_site(model: nn.Module) -> str:
    """Site whose capacity explains what a model predicts: the one it was attached with, else the first layer's FC1."""
    regularizer = get_regularizer(model)
    return "fc1.0" if regularizer is None else regularizer.regularization.site


def special_ids_of_model(model: nn.Module) -> tuple[int, ...]:
    """Ids that never count: what `attach` was told, else what the model's config names."""
    if (regularizer := get_regularizer(model)) is not None:
        return regularizer.special_ids
    names = ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id")
    values = [getattr(model.config, name, None) for name in names]
    ids = [number for value in values for number in (value if isinstance(value, list) else [value])]
    return tuple(sorted({number for number in ids if number is not None}))


def _get_module(model: nn.Module, path: str) -> nn.Module | None:
    """`get_submodule` without its checks, which cost as much as a layer of a small model."""
    module: nn.Module | None = model
    for name in path.split("."):
        module = None if module is None else module._modules.get(name)
    return module


def _remove_hooks(model: nn.Module, key: str) -> None:
    """Take a recorder's hooks off whatever bears them, also copies that adapters have made of a module."""
    ours = {*RECORDING_HOOKS, Regularizer._mask_embeddings, Regularizer._gate}

    def is_ours(hook: Any) -> bool:
        owner = getattr(hook, "__self__", None)
        recorder = owner.recorder if isinstance(owner, Regularizer) else owner
        return getattr(hook, "__func__", hook) in ours and getattr(recorder, "key", None) == key

    for module in model.modules():
        for hooks in (module._forward_hooks, module._forward_pre_hooks):
            for number in [number for number, hook in hooks.items() if is_ours(hook)]:
                del hooks[number]
                module._forward_hooks_with_kwargs.pop(number, None)
                module._forward_pre_hooks_with_kwargs.pop(number, None)


def _get_loss(output: Any) -> Tensor | None:
    return output[0] if isinstance(output, tuple) else output.get("loss")
