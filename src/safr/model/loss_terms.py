"""Computes the loss terms: from each site while the model runs, and their means at the end of the pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from safr.config import Regularization
from safr.errors import InputError
from safr.losses import importance_loss, information_loss, interaction_loss
from safr.losses.blocked_attention import BlockedAttention
from safr.losses.interaction import PROBES, blocked_interaction_loss, count_visible_pairs
from safr.losses.neurons import NeuronLoss
from safr.model.attention import received_attention
from safr.model.forward_pass import ForwardPass, SiteReader
from safr.model.resolve import find_neuron_losses

# Differs from the paper: interaction on long texts is read from some heads and texts in training, drawn anew.
ALL_HEADS, ALL_TEXTS, EXACT = 128, 256, 1024
"""Tokens up to which `interaction_estimator="auto"` reads all heads, a quarter of them in all texts, and an eighth of
them in a quarter of the texts; up to there it reads exactly, since random vectors are noisier than fewer heads and
texts at the same cost (docs/speed.md)."""


def make_site_readers(
    settings: Regularization, layers: Sequence[int], *, needs_gradient: bool
) -> dict[str, SiteReader]:
    """Readers of the losses whose weight is not 0, by site and layer.

    Args:
        settings: The regularization, with nothing left to `auto`.
        layers: The layers that it chooses, counted from 0.
        needs_gradient: Whether the pass is a training step, for which some layers may be drawn.
    """
    readers: dict[str, SiteReader] = {}
    layers_of_neurons = layers
    if settings.importance:
        readers |= {site: partial(_read_importance, settings, site) for site in settings.importance_sites}
    if settings.interaction:
        if needs_gradient and settings.interaction_layers is not None:
            layers = [layers[n] for n in torch.randperm(len(layers))[: settings.interaction_layers].tolist()]
        readers |= {f"attention.{layer}": partial(_read_interaction, settings) for layer in layers}
    if settings.importance and settings.token_weighting == "attention":
        for layer in {site.partition(".")[2] for site in settings.importance_sites}:
            name = f"attention.{layer}"
            readers[name] = partial(_note_received_attention, layer, readers.get(name))
    if losses := find_neuron_losses(settings):
        for number in layers_of_neurons:
            name = f"fc1_out.{number}"
            readers[name] = partial(_read_neurons, losses, number, readers.get(name))
    return readers


def compute_loss_terms(settings: Regularization, hidden_layers: int, forward_pass: ForwardPass) -> dict[str, Tensor]:
    """The losses whose weight is not 0, as means over the sites that were read.

    Args:
        settings: The regularization, with nothing left to `auto`.
        hidden_layers: How many layers the model has.
        forward_pass: The pass, at its end.

    Raises:
        InputError: The model has shown a site another number of times than it has layers.
    """
    terms: dict[str, Tensor] = {}
    record = forward_pass.record
    sites = {name.partition(".")[0] for name in forward_pass.request.readers if "." in name}
    forward_pass.check_layers(sites, hidden_layers, "this model" if record.layout is None else record.layout.model_name)
    if settings.importance:
        if unseen := [site for site in settings.importance_sites if site not in record.loss_values]:
            raise InputError(
                f"the model has not shown {unseen[0]}, which the importance loss reads; pass it input_ids and no "
                "inputs_embeds, or choose other `importance_sites`"
            )
        values = [record.loss_values[site] for site in settings.importance_sites]
        terms["importance"] = torch.stack(values).mean()
    if settings.interaction:
        # A layer that was read for its received attention alone has left no value.
        values = [value for name, value in record.loss_values.items() if name.startswith("attention.")]
        terms["interaction"] = torch.stack(values).mean()
    if settings.information and record.keep is not None:
        terms["information"] = information_loss(record.keep, record.content_mask)
    for name in settings.neuron_loss_weights:
        values = [value for site, value in record.loss_values.items() if site.partition(".")[0] == name]
        terms[name] = torch.stack(values).mean()
    return terms


def _read_importance(
    settings: Regularization, site: str, forward_pass: ForwardPass, vectors: Tensor, _: Tensor | None
) -> Tensor:
    record, weights = forward_pass.record, None
    if settings.token_weighting == "keep":
        weights = record.keep
    elif settings.token_weighting == "attention":
        weights = record.received_attention[site.partition(".")[2]]
    if weights is not None:
        weights = _excess_over_mean(weights.detach(), record.content_mask)
    return importance_loss(vectors, record.content_mask, bool(settings.scale_free), weights)


def _read_interaction(
    settings: Regularization,
    forward_pass: ForwardPass,
    attention: Tensor | BlockedAttention,
    attention_mask: Tensor | None,
) -> Tensor:
    content_mask = forward_pass.record.content_mask
    all_visible = attention_mask is None or settings.padding == "count"
    if attention_mask is not None and attention_mask.shape[2] == 1:  # LayoutLM's, the same for every query
        attention_mask = attention_mask.expand(-1, -1, attention_mask.shape[3], -1)
    if isinstance(attention, Tensor):
        visible = None if attention_mask is None or all_visible else attention_mask == 0
        return interaction_loss(attention, content_mask, settings.exclude_self, visible)
    pairs = None if attention_mask is None or all_visible else _count_pairs(forward_pass, attention_mask)
    texts, heads, tokens = attention.query.shape[:3]
    if not forward_pass.request.needs_gradient:
        # Everything, the same each time, and nothing taken from whoever draws random numbers besides.
        automatic = settings.interaction_estimator == "auto"
        probes = PROBES if automatic and tokens > ALL_TEXTS else _choose_probes(settings, tokens)
        fixed = torch.Generator(attention.query.device).manual_seed(0)
        return blocked_interaction_loss(attention, content_mask, settings.exclude_self, pairs, probes, fixed)
    text_count, head_count = _choose_counts(settings, texts, heads, tokens)
    # Every head and text is as likely as any other, so that the mean over the drawn is that over all in expectation.
    if head_count < heads:
        drawn = torch.randperm(heads, device=attention.query.device)[:head_count]
        attention = attention.select_heads(drawn)
        pairs = pairs if pairs is None or pairs.shape[1] == 1 else pairs.index_select(1, drawn)
    if text_count < texts:
        drawn = torch.randperm(texts, device=attention.query.device)[:text_count]
        attention = attention.select_texts(drawn)
        content_mask = None if content_mask is None else content_mask.index_select(0, drawn)
        pairs = pairs if pairs is None or pairs.shape[0] == 1 else pairs.index_select(0, drawn)
    probes = _choose_probes(settings, tokens)
    return blocked_interaction_loss(attention, content_mask, settings.exclude_self, pairs, probes)


def _read_neurons(
    losses: Mapping[str, NeuronLoss],
    layer: int,
    reader: SiteReader | None,
    forward_pass: ForwardPass,
    activations: Tensor,
    attention_mask: Tensor | None,
) -> Tensor | None:
    """Compute the losses on a layer's neurons, and then what else reads them."""
    record = forward_pass.record
    if record.token_ids is None:
        raise InputError("`neuron_losses` need to know the tokens; pass the model input_ids and no inputs_embeds")
    mask = record.content_mask
    if mask is None:
        mask = torch.ones_like(record.token_ids, dtype=torch.bool)
    for name, loss in losses.items():
        record.loss_values[f"{name}.{layer}"] = loss(activations, record.token_ids, mask)
    return None if reader is None else reader(forward_pass, activations, attention_mask)


def _choose_counts(settings: Regularization, texts: int, heads: int, tokens: int) -> tuple[int, int]:
    """How many texts and heads a training step reads."""
    text_count, head_count = texts, heads
    if settings.interaction_estimator == "auto":
        if ALL_TEXTS < tokens <= EXACT:
            text_count, head_count = -(-texts // 4), -(-heads // 8)
        elif tokens > ALL_HEADS:
            head_count = -(-heads // 4)
    return text_count, settings.interaction_heads or head_count


def _choose_probes(settings: Regularization, tokens: int) -> int | None:
    """With how many random vectors attention is read, or None where it is read exactly."""
    estimator = settings.interaction_estimator
    return PROBES if estimator == "probes" or (estimator == "auto" and tokens > EXACT) else None


def _count_pairs(forward_pass: ForwardPass, attention_mask: Tensor) -> Tensor:
    """How many pairs are visible under an attention mask; layers share one, or two that take turns."""
    cache = forward_pass.caches.visible_pairs
    for cached_mask, pairs in cache:
        if cached_mask is attention_mask:
            return pairs
    cache.append((attention_mask, count_visible_pairs(attention_mask == 0, forward_pass.record.content_mask)))
    return cache[-1][1]


def _note_received_attention(
    layer: str,
    reader: SiteReader | None,
    forward_pass: ForwardPass,
    attention: Tensor | BlockedAttention,
    attention_mask: Tensor | None,
) -> Tensor | None:
    """Note how much attention every token receives from all that are no padding, special ones too."""
    record = forward_pass.record
    record.received_attention[layer] = received_attention(attention, record.attended)
    return None if reader is None else reader(forward_pass, attention, attention_mask)


def _excess_over_mean(
    weights: Float[Tensor, "batch token"], content_mask: Bool[Tensor, "batch token"] | None
) -> Float[Tensor, "batch token"]:
    """By how much a token's weight lies above the mean of its text, as a share of it."""
    if content_mask is None:
        content_mask = torch.ones_like(weights, dtype=torch.bool)
    counted = torch.where(content_mask, weights, 0.0)
    total = counted.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(counted.dtype).tiny)
    return counted * content_mask.sum(dim=-1, keepdim=True) / total - 1
