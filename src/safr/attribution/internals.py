"""A model and texts in, attention per word out: what words receive, and what flows from them to where it is read."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from safr.attribution.words import Scores, scores_per_word
from safr.data.batches import Batch
from safr.data.encoding import EncodedText
from safr.errors import InputError
from safr.inference import iter_traces, text_logits, to_numpy
from safr.model.attention import received_attention
from safr.model.regularizer import get_explaining_site
from safr.model.trace import Trace
from safr.superposition import capacity


def attention_received(model: PreTrainedModel, texts: Sequence[EncodedText], layer: int = -1) -> Scores:
    """Attention that each word receives at one layer: the mean over heads, summed over all tokens that attend.

    Args:
        model: A model in evaluation mode.
        texts: Encoded texts.
        layer: Counted from 0, or from the end where negative.
    """
    scores = {}
    for batch, seen in iter_traces(model, texts, ("attention",)):
        weights = seen.attention[sorted(seen.attention)[layer]]
        received = to_numpy(received_attention(weights, batch.inputs["attention_mask"].bool()))
        for row, number in enumerate(batch.indices):
            scores[number] = scores_per_word(texts[number], received[row])
    return [scores[number] for number in range(len(texts))]


def attention_rollout(model: PreTrainedModel, texts: Sequence[EncodedText]) -> Scores:
    r"""Attention rollout: how much of each word reaches the place where the prediction is read, through all layers.

    $$R = \bar A_L \cdots \bar A_1, \quad \bar A = (A + I) / 2$$

    with A the mean over heads. The prediction is read at the last token where attention looks back alone, at the first
    where that is a special one ([CLS]), else at all tokens alike.

    Source: Abnar and Zuidema 2020 (ACL), section 3.

    Args:
        model: A model in evaluation mode.
        texts: Encoded texts.
    """
    scores = {}
    for batch, seen in iter_traces(model, texts, ("attention",)):
        attended = batch.inputs["attention_mask"].bool()
        flow = compute_rollout([seen.attention[layer] for layer in sorted(seen.attention)])
        reading = _reading_weights(seen.attention[0], attended, batch.content_mask)
        reached = to_numpy((reading[:, None] @ flow)[:, 0])  # (batch, token)
        for row, number in enumerate(batch.indices):
            scores[number] = scores_per_word(texts[number], reached[row])
    return [scores[number] for number in range(len(texts))]


def compute_rollout(attention: Sequence[Float[Tensor, "batch head query key"]]) -> Float[Tensor, "batch query key"]:
    """How much of each key's input reaches each query's output, from the first layer's attention to the last's."""
    flow = None
    for weights in attention:
        mixed = weights.float().mean(dim=1)
        mixed = (mixed + torch.eye(mixed.shape[-1], device=mixed.device)) / 2
        flow = mixed if flow is None else mixed @ flow
    assert flow is not None
    return flow


@dataclass(frozen=True)
class InternalScores:
    """What one forward pass says about a text's words."""

    prediction: int
    """The class, or for a language model the next token, with the highest logit."""

    keep: NDArray[np.float64] | None
    """VMASK's keep probability of each word in [0, 1]; None without VMASK."""

    capacity: dict[str, NDArray[np.float64]]
    """Capacity of each word in [0, 1], by site."""

    attention: NDArray[np.float64] | None = None
    """Attention that each word receives from all tokens, a mean over heads; None where it was not asked for."""


def internal_scores(
    model: PreTrainedModel, texts: Sequence[EncodedText], sites: Collection[str] = ("fc1",)
) -> list[InternalScores]:
    """Score every word of every text.

    Args:
        model: A model in evaluation mode.
        texts: Encoded texts.
        sites: Where capacity is computed; see `safr.model.forward_pass.SITES`. With `attention.N` among them, what words receive
            at that layer is told too.

    Returns:
        One entry per text, in the texts' order.
    """
    scored: dict[int, InternalScores] = {}
    for batch, seen in iter_traces(model, texts, sites):
        predictions = text_logits(model, seen.logits, batch).argmax(dim=-1).tolist()
        capacities = {site: to_numpy(capacity(vectors, seen.content_mask)) for site, vectors in seen.vectors.items()}
        keep = None if seen.keep is None else to_numpy(seen.keep)
        received = _received(batch, seen)
        for row, number in enumerate(batch.indices):
            text = texts[number]
            scored[number] = InternalScores(
                predictions[row],
                None if keep is None else scores_per_word(text, keep[row]),
                {site: scores_per_word(text, values[row]) for site, values in capacities.items()},
                None if received is None else scores_per_word(text, received[row]),
            )
    return [scored[number] for number in range(len(texts))]


def capacity_scores(model: PreTrainedModel, texts: Sequence[EncodedText], site: str | None = None) -> Scores:
    """Capacity of each word at a site, by default the one that explains the model; one forward pass."""
    site = get_explaining_site(model) if site is None else site
    scored = internal_scores(model, texts, [site])
    if any(site not in text.capacity for text in scored):
        raise InputError(
            f"no capacity at site {site!r}; expected embedding, vmask, or a layer's, as fc1.0, fc1_out.0, fc2.0"
        )
    return [text.capacity[site] for text in scored]


def keep_scores(model: PreTrainedModel, texts: Sequence[EncodedText]) -> Scores:
    """VMASK's keep probability of each word.

    Raises:
        InputError: The model has no VMASK.
    """
    found = [text.keep for text in internal_scores(model, texts, ())]
    if any(each is None for each in found):
        raise InputError("the method keep needs a model with VMASK, this one has none; leave it out")
    return [each for each in found if each is not None]


def _reading_weights(
    weights: Float[Tensor, "batch head query key"],
    attended: Bool[Tensor, "batch token"],
    content_mask: Bool[Tensor, "batch token"],
) -> Float[Tensor, "batch token"]:
    """How much of each token the prediction is read from; rows sum to 1 where there is any token."""
    if not weights.triu(diagonal=1).any():  # no token sees a later one
        later = attended.flip(-1).cumsum(dim=-1).flip(-1)
        return (attended & (later == 1)).float()
    first = torch.arange(attended.shape[1], device=attended.device) == 0
    special = (attended & ~content_mask)[:, :1]
    return torch.where(special, first.float(), attended / attended.sum(dim=-1, keepdim=True).clamp_min(1))


def _received(batch: Batch, seen: Trace) -> NDArray[np.float32] | None:
    """Attention that each token receives at the last recorded layer, from all tokens that are no padding."""
    if not seen.attention:
        return None
    return to_numpy(received_attention(seen.attention[max(seen.attention)], batch.inputs["attention_mask"].bool()))
