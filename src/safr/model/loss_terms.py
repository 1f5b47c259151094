"""Settings and a pass under way in, what the losses read at each site, and their values, out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from safr.config import Regularization
from safr.errors import InputError
from safr.losses import importance_loss, information_loss, interaction_loss
from safr.losses.blocked_attention import BlockedAttention
from safr.losses.interaction import PROBES, blocked_interaction_loss, count_visible_pairs
from safr.model.attention import received_attention
from safr.model.forward_pass import ForwardPass, SiteReader

ALL_HEADS, ALL_TEXTS, EXACT = 128, 256, 1024
"""Tokens up to which `interaction_estimator="auto"` reads all heads, a quarter of them in all texts, and an eighth of
them in a quarter of the texts; up to there it reads exactly, since random vectors are noisier than fewer heads and
texts at the same cost (docs/speed.md)."""


def make_site_readers(settings: Regularization, layers: Sequence[int], now: ForwardPass) -> dict[str, SiteReader]:
    """What the losses whose weight is not 0 read, site by site.

    Args:
        settings: The settled regularization.
        layers: The layers that it chooses, counted from 0.
        now: The pass that will be read.
    """
    found: dict[str, SiteReader] = {}
    if settings.importance:
        found |= {site: partial(_importance, settings, now, site) for site in settings.importance_sites}
    if settings.interaction:
        if now.gradient and settings.interaction_layers is not None:
            layers = [layers[n] for n in torch.randperm(len(layers))[: settings.interaction_layers].tolist()]
        found |= {f"attention.{layer}": partial(_interaction, settings, now) for layer in layers}
    if settings.importance and settings.token_weighting == "attention":
        for layer in {site.partition(".")[2] for site in settings.importance_sites}:
            name = f"attention.{layer}"
            found[name] = partial(_received, now, layer, found.get(name))
    return found


def compute_loss_terms(settings: Regularization, hidden_layers: int, now: ForwardPass) -> dict[str, Tensor]:
    """The losses whose weight is not 0, each the mean over the sites that were read.

    Args:
        settings: The settled regularization.
        hidden_layers: How many layers the model has.
        now: The pass, at its end.

    Raises:
        InputError: The model has shown a site another number of times than it has layers.
    """
    terms: dict[str, Tensor] = {}
    for site in {name.partition(".")[0] for name in now.readers if "." in name}:
        if now.seen[site] != hidden_layers:
            raise InputError(
                f"this model has shown {now.seen[site]} times {site}, but has {hidden_layers} layers, so that "
                "a layer's number can't be told; choose others by importance_sites=, interaction=0 or fc1="
            )
    if settings.importance:
        terms["importance"] = torch.stack([now.read[site] for site in settings.importance_sites]).mean()
    if settings.interaction:
        # A layer that was read for its received attention alone has left no value.
        read = [value for name, value in now.read.items() if name.startswith("attention.")]
        terms["interaction"] = torch.stack(read).mean()
    if settings.information and now.keep is not None:
        terms["information"] = information_loss(now.keep, now.content_mask)
    return terms


def _importance(settings: Regularization, now: ForwardPass, site: str, vectors: Tensor) -> Tensor:
    weights = None
    if settings.token_weighting == "keep":
        weights = now.keep
    elif settings.token_weighting == "attention":
        weights = now.received[site.partition(".")[2]]
    if weights is not None:
        weights = _above_mean(weights.detach(), now.content_mask)
    return importance_loss(vectors, now.content_mask, bool(settings.scale_free), weights)


def _interaction(
    settings: Regularization, now: ForwardPass, attention: Tensor | BlockedAttention, mask: Tensor | None
) -> Tensor:
    if isinstance(attention, Tensor):
        visible = None if mask is None or settings.padding == "count" else mask == 0
        return interaction_loss(attention, now.content_mask, settings.exclude_self, visible)
    pairs = None if mask is None or settings.padding == "count" else _pairs(now, mask)
    content_mask = now.content_mask
    texts, heads, tokens = attention.query.shape[:3]
    if not now.gradient:  # everything, the same each time, and nothing taken from whoever draws random numbers besides
        automatic = settings.interaction_estimator == "auto"
        probes = PROBES if automatic and tokens > ALL_TEXTS else _probes(settings, tokens)
        fixed = torch.Generator(attention.query.device).manual_seed(0)
        return blocked_interaction_loss(attention, content_mask, settings.exclude_self, pairs, probes, fixed)
    some_texts, some_heads = _how_many(settings, texts, heads, tokens)
    # Every head and text is as likely as any other, so that the mean over the drawn is that over all in expectation.
    if some_heads < heads:
        drawn = torch.randperm(heads, device=attention.query.device)[:some_heads]
        attention = attention.of_heads(drawn)
        pairs = pairs if pairs is None or pairs.shape[1] == 1 else pairs.index_select(1, drawn)
    if some_texts < texts:
        drawn = torch.randperm(texts, device=attention.query.device)[:some_texts]
        attention = attention.of_texts(drawn)
        content_mask = None if content_mask is None else content_mask.index_select(0, drawn)
        pairs = pairs if pairs is None or pairs.shape[0] == 1 else pairs.index_select(0, drawn)
    return blocked_interaction_loss(attention, content_mask, settings.exclude_self, pairs, _probes(settings, tokens))


def _how_many(settings: Regularization, texts: int, heads: int, tokens: int) -> tuple[int, int]:
    """How many texts and heads a training step reads."""
    some_texts, some_heads = texts, heads
    if settings.interaction_estimator == "auto":
        if ALL_TEXTS < tokens <= EXACT:
            some_texts, some_heads = -(-texts // 4), -(-heads // 8)
        elif tokens > ALL_HEADS:
            some_heads = -(-heads // 4)
    return some_texts, settings.interaction_heads or some_heads


def _probes(settings: Regularization, tokens: int) -> int | None:
    """With how many random vectors they are read, if any."""
    chosen = settings.interaction_estimator
    return PROBES if chosen == "probes" or (chosen == "auto" and tokens > EXACT) else None


def _pairs(now: ForwardPass, mask: Tensor) -> Tensor:
    """How many pairs see each other under an attention mask; layers share one, or two that take turns."""
    for known, pairs in now.pairs:
        if known is mask:
            return pairs
    now.pairs.append((mask, count_visible_pairs(mask == 0, now.content_mask)))
    return now.pairs[-1][1]


def _received(
    now: ForwardPass, layer: str, reader: SiteReader | None, attention: Tensor | BlockedAttention, mask: Tensor | None
) -> Tensor | None:
    """Note how much attention each token receives from all that are no padding, special ones too."""
    now.received[layer] = received_attention(attention, now.attended)
    return None if reader is None else reader(attention, mask)


def _above_mean(
    weights: Float[Tensor, "batch token"], content_mask: Bool[Tensor, "batch token"] | None
) -> Float[Tensor, "batch token"]:
    """By how much each token's weight lies above the mean of its text, as a share of it."""
    if content_mask is None:
        content_mask = torch.ones_like(weights, dtype=torch.bool)
    counted = torch.where(content_mask, weights, 0.0)
    total = counted.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(counted.dtype).tiny)
    return counted * content_mask.sum(dim=-1, keepdim=True) / total - 1
