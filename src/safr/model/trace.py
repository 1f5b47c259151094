"""`Trace`, what one forward pass showed, and `trace`, which runs a model once and hands out what was recorded.

Attention is recorded by `attention.py`, vectors by the hooks of `site_recorder.py`, both into the record of
`forward_pass.py`.

Axis names, one list for the whole project: `batch token query key head width neuron label layer`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from safr.errors import InputError
from safr.model.attention import ATTENTION_NAME as SAFR_ATTENTION
from safr.model.content_mask import compute_content_mask
from safr.model.families import (
    check_readable,
    check_visible_attention,
    complete_batch,
    count_layers,
    find_feed_forward_layers,
    get_encoder,
    keeping_attention_type,
    lay_out_texts,
    unwrap,
)
from safr.model.forward_pass import (
    HOOKS_LOCK,
    SITES,
    PassRecord,
    PassRequest,
    current_pass,
    recording,
    removing,
)
from safr.model.regularizer import check_mask_present, get_regularizer, special_ids_of_model
from safr.model.site_recorder import SiteRecorder


@dataclass(frozen=True)
class Trace:
    """One forward pass over a batch, with only the sites that were asked for."""

    ids: Int[Tensor, "batch token"]
    """Token ids, padding included."""

    content_mask: Bool[Tensor, "batch token"]
    """True where a token counts: it is neither padding nor a special token such as [CLS]."""

    logits: Float[Tensor, "batch *token label"] | None
    """The model's output, of a language model for every token, of a model that finds answers for every token as their
    first and as their last; None for a model without a head."""

    keep: Float[Tensor, "batch token"] | None
    """VMASK's keep probabilities in [0, 1], before any sampling; None for a model without VMASK."""

    attention: Mapping[int, Float[Tensor, "batch head query key"]]
    """Attention weights by layer, before dropout."""

    vectors: Mapping[str, Float[Tensor, "batch token width"]]
    """Vectors by site: `embedding`, `vmask`, `fc1.0` (before the activation), `fc1_out.0` (after it), `fc2.0`, ..."""

    training: bool = False
    """Whether any part of the model was in training mode, so that dropout and the mask's samples are in the numbers."""

    def site(self, name: str) -> Float[Tensor, "batch token width"]:
        """The vectors recorded at one site; an InputError lists the recorded ones if there are none."""
        if name not in self.vectors:
            raise InputError(f"no vectors at site '{name}'; recorded are: {', '.join(self.vectors) or 'none'}")
        return self.vectors[name]


def trace(
    model: nn.Module,
    batch: Mapping[str, Tensor],
    sites: str | Collection[str] = ("fc1",),
    *,
    content_mask: Bool[Tensor, "batch token"] | None = None,
    fc1: str | None = None,
) -> Trace:
    """Run a batch through a model, with SAFR on it or not, and keep what it shows at some sites.

    The model runs in the mode it is in, which `Trace.training` tells: call `model.eval()` first for an explanation.

    Args:
        model: The model.
        batch: What the model takes: `input_ids`, `attention_mask`, ... An encoder-decoder that writes text gets its
            decoder's start token where no `decoder_input_ids` are given.
        sites: Names of `safr.model.forward_pass.SITES`, alone for every layer (`fc1`) or with one (`fc1.0`); one or
            several.
        content_mask: True where a token counts. Default: neither padding nor a special token that the model knows of.
        fc1: Wildcard of the first feed-forward layers' paths, for a model without SAFR whose family is not known.

    Raises:
        InputError: A site's name is not known, the model does not show it, or shows it so that a vector's token or
            layer can't be told; or the batch is none of this model's.
    """
    sites = (sites,) if isinstance(sites, str) else tuple(sites)
    if unknown := [site for site in sites if str(site).partition(".")[0] not in SITES]:
        raise InputError(f"unknown sites: {', '.join(map(str, unknown))}; known are {', '.join(SITES)}")
    inner = unwrap(model)
    regularizer = get_regularizer(model)
    if fc1 is not None and regularizer is not None and fc1 != regularizer.regularization.fc1:
        raise InputError(
            f"SAFR on this model reads fc1={regularizer.regularization.fc1!r}, got fc1={fc1!r}; leave it out"
        )
    _check_batch(inner, batch)
    if content_mask is None:
        content_mask = compute_content_mask(batch, special_ids_of_model(model))
    elif content_mask.dtype != torch.bool:
        raise InputError(f"`content_mask` must be True and False, got {content_mask.dtype}; pass content_mask.bool()")
    assert content_mask is not None
    layout = lay_out_texts(inner, batch)
    assert layout is not None
    ids = batch["input_ids"]
    # Then the shape of what the embeddings look up doesn't tell whether it is the batch's tokens.
    unclear = layout.texts == layout.tokens > 1 or "token_type_ids" in batch
    record = PassRecord(layout=layout, ids=ids.flatten(0, -2) if unclear and ids.dim() > 1 else None)
    if regularizer is None or regularizer.regularization.padding == "mask":
        record.content_mask = content_mask
    request = PassRequest(frozenset(sites), is_trace=True)
    recorder = SiteRecorder() if regularizer is None else regularizer.recorder
    with (
        keeping_attention_type(inner),
        _recording_hooks(model, sites, fc1, recorder),
        recording(request, record, recorder) as forward_pass,
    ):
        outputs = model(**complete_batch(inner, batch))
    layered = {site.partition(".")[0] for site in sites} - {"embedding", "vmask"}
    # Where fc1= names FC1 alone, the layer behind it is not known.
    layered -= {site for site in ("fc1_out", "fc2") if not record.layer_counts[site]}
    forward_pass.check_layers(layered, count_layers(inner), type(inner).__name__)
    names = sorted(record.sites, key=_flow_order)
    attention = {int(name.partition(".")[2]): record.sites[name] for name in names if name.startswith("attention")}
    vectors = {name: record.sites[name] for name in names if not name.startswith("attention")}
    training = any(module.training for module in model.modules())
    return Trace(ids, content_mask, read_output_logits(outputs), record.keep, attention, vectors, training)


def read_output_logits(outputs: Mapping[str, Any]) -> Float[Tensor, "batch *token label"] | None:
    """The logits in a model's output; of a model that finds answers those of their first and of their last token."""
    if outputs.get("start_logits") is not None:
        return torch.stack([outputs["start_logits"], outputs["end_logits"]], dim=-1)
    return outputs.get("logits")


def _check_batch(model: PreTrainedModel, batch: Mapping[str, Tensor]) -> None:
    """Refuse what is no batch of this model's tokens. Values are looked at on a CPU only, for a GPU would have to stop.

    Raises:
        InputError: There are no `input_ids`, they are no tensor, lie on another device, or are no tokens of the model.
    """
    ids = batch.get("input_ids") if isinstance(batch, Mapping) else None
    if ids is None:
        raise InputError("expected a batch with input_ids, got none; pass what the tokenizer gives, as tensors")
    for name, values in batch.items():
        if isinstance(values, list | tuple):
            raise InputError(f"expected {name} as a tensor, got a list; call the tokenizer with return_tensors='pt'")
    check_readable(model)
    check_mask_present(model)
    weight = cast("Tensor", get_encoder(model).get_input_embeddings().weight)
    if ids.device != weight.device:
        raise InputError(f"the batch is on {ids.device} and the model on {weight.device}; move the batch to the model")
    if ids.device.type == "cpu" and ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < weight.shape[0]:
        worst = int(ids.max()) if int(ids.min()) >= 0 else int(ids.min())
        raise InputError(
            f"expected token ids from 0 to {weight.shape[0] - 1:,}, the model's vocabulary, got {worst:,}; is it "
            "another model's tokenizer?"
        )


@contextmanager
def _recording_hooks(
    model: nn.Module, sites: Collection[str], fc1: str | None, recorder: SiteRecorder
) -> Iterator[None]:
    """Recording hooks for the length of a block, on a model that has none. They answer to the recorder's pass alone."""
    names = {site.partition(".")[0] for site in sites}
    inner = unwrap(model)
    if "attention" in names:
        check_visible_attention(inner)
    if get_regularizer(model) is not None:
        yield
        return
    part, handles = get_encoder(inner), list[RemovableHandle]()

    # In another thread's call the options are missing if this hook is taken off while that call is under way.
    def record_embedding(_: nn.Module, args: tuple, *options_and_output: Any) -> None:
        *options, output = options_and_output
        if args or options:
            recorder.record_embedding(args[0] if args else options[0]["input"], output)

    def set_inside(is_inside: bool) -> None:
        if (forward_pass := current_pass()) is not None and forward_pass.recorder is recorder:
            forward_pass.is_inside = is_inside

    layers = find_feed_forward_layers(inner, fc1) if names & {"fc1", "fc1_out", "fc2"} else []
    borrows = "attention" in names and inner._can_set_attn_implementation()
    with removing(handles), borrowing_attention(inner) if borrows else nullcontext():
        with HOOKS_LOCK:
            handles += recorder.add_hooks(layers)
            handles += recorder.add_attention_hooks(inner) if "attention" in names else []
            handles += [
                part.get_input_embeddings().register_forward_hook(record_embedding, with_kwargs=True),
                part.register_forward_pre_hook(lambda *_: set_inside(True)),
                part.register_forward_hook(lambda *_: set_inside(False)),
            ]
        yield


_borrowed: dict[int, tuple[Any, Any, int]] = {}
"""By a config's identity: the config, the attention implementation it had, and how many traces have set SAFR's."""


@contextmanager
def borrowing_attention(model: PreTrainedModel) -> Iterator[None]:
    """SAFR's attention implementation for the length of a block; the last of several gives a model its own back."""
    parts = [part for part in model.modules() if isinstance(part, PreTrainedModel)]
    configs = {id(config): config for part in parts for config in _list_configs(part.config)}
    try:
        with HOOKS_LOCK:
            for key, config in configs.items():
                _, before, count = _borrowed.get(key, (config, config._attn_implementation, 0))
                _borrowed[key] = config, before, count + 1
            model.set_attn_implementation(SAFR_ATTENTION)
        yield
    finally:
        with HOOKS_LOCK:
            for key in configs:
                config, before, count = _borrowed.pop(key)
                if count > 1:
                    _borrowed[key] = config, before, count - 1
                else:
                    config._attn_implementation_internal = before


def _list_configs(config: Any) -> list[Any]:
    """A config and those inside it, each of which names its own attention implementation."""
    inside = [getattr(config, name, None) for name in config.sub_configs]
    return [config, *(each for part in inside if part is not None for each in _list_configs(part))]


def _flow_order(name: str) -> tuple[int, int]:
    site, _, layer = name.partition(".")
    return SITES.index(site), int(layer or 0)
