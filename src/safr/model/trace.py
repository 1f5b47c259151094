"""`Trace`, what one forward pass showed, and `trace`, which runs a model once and hands out what was recorded.

Attention is recorded by `attention.py`, vectors by the hooks of `families.py`, both into `forward_pass.py`'s record.

Axis names, one list for the whole project: `batch token query key head width neuron label layer`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from safr.errors import InputError
from safr.model.attention import ATTENTION_NAME as SAFR_ATTENTION
from safr.model.content_mask import compute_content_mask
from safr.model.families import (
    add_recording_hooks,
    check_visible_attention,
    find_feed_forward_layers,
    get_encoder,
    record_once,
    unwrap,
)
from safr.model.forward_pass import SITES, PassRecord, PassRequest, current_pass, recording
from safr.model.regularizer import get_regularizer, special_ids_of_model


@dataclass(frozen=True)
class Trace:
    """One forward pass over a batch, with only the sites that were asked for."""

    ids: Int[Tensor, "batch token"]
    """Token ids, padding included."""

    content_mask: Bool[Tensor, "batch token"]
    """True where a token counts: it is neither padding nor a special token such as [CLS]."""

    logits: Float[Tensor, "batch *token label"] | None
    """The model's output, of a language model for every token; None for a model without a head."""

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
    sites: Collection[str] = ("fc1",),
    *,
    content_mask: Bool[Tensor, "batch token"] | None = None,
    fc1: str | None = None,
) -> Trace:
    """Run a batch through a model, with SAFR on it or not, and keep what it shows at some sites.

    The model runs in the mode it is in, which `Trace.training` tells: call `model.eval()` first for an explanation.

    Args:
        model: The model.
        batch: What the model takes: `input_ids`, `attention_mask`, ...
        sites: Names of `safr.model.forward_pass.SITES`, alone for every layer (`fc1`) or with one (`fc1.0`).
        content_mask: True where a token counts. Default: neither padding nor a special token that the model knows of.
        fc1: Wildcard of the first feed-forward layers' paths, for a model without SAFR whose family is not known.

    Raises:
        InputError: A site's name is not known, or the model does not show it.
    """
    if unknown := [site for site in sites if site.partition(".")[0] not in SITES]:
        raise InputError(f"unknown sites: {', '.join(unknown)}; known are {', '.join(SITES)}")
    if content_mask is None:
        content_mask = compute_content_mask(batch, special_ids_of_model(model))
    assert content_mask is not None
    regularizer, record = get_regularizer(model), PassRecord()
    if regularizer is None or regularizer.regularization.padding == "mask":
        record.content_mask = content_mask
    request = PassRequest(frozenset(sites), is_trace=True)
    with _recording_hooks(model, sites, fc1), recording(request, record):
        outputs = model(**batch)
    names = sorted(record.sites, key=_flow_order)
    attention = {int(name.partition(".")[2]): record.sites[name] for name in names if name.startswith("attention")}
    vectors = {name: record.sites[name] for name in names if not name.startswith("attention")}
    training = any(module.training for module in model.modules())
    return Trace(batch["input_ids"], content_mask, outputs.get("logits"), record.keep, attention, vectors, training)


@contextmanager
def _recording_hooks(model: nn.Module, sites: Collection[str], fc1: str | None) -> Iterator[None]:
    """Recording hooks for the length of a block, on a model that has none."""
    names = {site.partition(".")[0] for site in sites}
    inner = unwrap(model)
    if "attention" in names:
        check_visible_attention(inner)
    if get_regularizer(model) is not None:
        yield
        return
    part, before = get_encoder(inner), inner.config._attn_implementation
    handles = [
        part.get_input_embeddings().register_forward_hook(lambda _, args, output: record_once("embedding", output)),
        part.register_forward_pre_hook(lambda *_: _set_inside(True)),
        part.register_forward_hook(lambda *_: _set_inside(False)),
    ]
    try:
        if names & {"fc1", "fc1_out", "fc2"}:
            handles += add_recording_hooks(find_feed_forward_layers(inner, fc1))
        if "attention" in names:
            inner.set_attn_implementation(SAFR_ATTENTION)
        yield
    finally:
        for handle in handles:
            handle.remove()
        if inner.config._attn_implementation != before:
            inner.set_attn_implementation(before)


def _set_inside(is_inside: bool) -> None:
    if (forward_pass := current_pass()) is not None:
        forward_pass.is_inside = is_inside


def _flow_order(name: str) -> tuple[int, int]:
    site, _, layer = name.partition(".")
    return SITES.index(site), int(layer or 0)
