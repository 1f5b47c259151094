"""A model and texts in, attention per word out: what words receive, and what flows from them to where it is read."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from transformers import PreTrainedModel

from safr.attribution.scores import Scores, iter_traces, to_numpy
from safr.attribution.words import scores_per_word
from safr.data.batches import EncodedText
from safr.model.attention import received_attention


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
        for row, number in enumerate(batch.numbers):
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
        reading = _reading_weights(seen.attention[0], attended, batch.counting)
        reached = to_numpy((reading[:, None] @ flow)[:, 0])  # (batch, token)
        for row, number in enumerate(batch.numbers):
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


def _reading_weights(
    weights: Float[Tensor, "batch head query key"],
    attended: Bool[Tensor, "batch token"],
    counting: Bool[Tensor, "batch token"],
) -> Float[Tensor, "batch token"]:
    """How much of each token the prediction is read from; rows sum to 1 where there is any token."""
    if not weights.triu(diagonal=1).any():  # no token sees a later one
        later = attended.flip(-1).cumsum(dim=-1).flip(-1)
        return (attended & (later == 1)).float()
    first = torch.arange(attended.shape[1], device=attended.device) == 0
    special = (attended & ~counting)[:, :1]
    return torch.where(special, first.float(), attended / attended.sum(dim=-1, keepdim=True).clamp_min(1))
