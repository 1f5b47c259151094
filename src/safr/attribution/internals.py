"""Attribution from one forward pass: received attention, attention rollout, capacity, and VMASK's keep probability."""

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
from safr.data.splits import Label
from safr.errors import InputError
from safr.inference import get_task, iter_traces, list_labels, text_logits, to_numpy
from safr.model.attention import received_attention
from safr.model.regularizer import get_explaining_site
from safr.model.trace import Trace
from safr.processes import share_texts
from safr.superposition import capacity


def attention_received(model: PreTrainedModel, texts: Sequence[EncodedText], layer: int = -1) -> Scores:
    """Attention that every word receives at one layer: the mean over heads, summed over all tokens that attend.

    Args:
        model: A model; it runs in evaluation mode.
        texts: Encoded texts.
        layer: Number of the layer from 0, or from the end where negative.
    """
    scores = {}
    for batch, trace in iter_traces(model, texts, ("attention",)):
        weights = trace.attention[sorted(trace.attention)[layer]]
        received = to_numpy(received_attention(weights, batch.inputs["attention_mask"].bool()))
        for row, number in enumerate(batch.indices):
            scores[number] = scores_per_word(texts[number], received[row])
    return [scores[number] for number in range(len(texts))]


def attention_rollout(model: PreTrainedModel, texts: Sequence[EncodedText]) -> Scores:
    r"""Attention rollout: how much of every word reaches, through all layers, the tokens where the prediction is read.

    $$R = \bar A_L \cdots \bar A_1, \quad \bar A = (A + I) / 2$$

    with A the mean over heads. Where the prediction is read depends on the model: at the last token if attention only
    looks back, at the first token if that is a special one ([CLS]), and otherwise at all tokens alike.

    Source: Abnar and Zuidema 2020 (ACL), section 3.

    Args:
        model: A model; it runs in evaluation mode.
        texts: Encoded texts.
    """
    scores = {}
    for batch, trace in iter_traces(model, texts, ("attention",)):
        attended = batch.inputs["attention_mask"].bool()
        flow = compute_rollout([trace.attention[layer] for layer in sorted(trace.attention)])
        reading_weights = _compute_reading_weights(trace.attention[0], attended, batch.content_mask)
        reached = to_numpy((reading_weights[:, None] @ flow)[:, 0])  # (batch, token)
        for row, number in enumerate(batch.indices):
            scores[number] = scores_per_word(texts[number], reached[row])
    return [scores[number] for number in range(len(texts))]


def compute_rollout(attention: Sequence[Float[Tensor, "batch head query key"]]) -> Float[Tensor, "batch query key"]:
    """How much of a key's input at the first layer reaches a query's output at the last.

    Args:
        attention: Attention weights by layer, the first layer first.
    """
    flow = None
    for weights in attention:
        mixed = weights.float().mean(dim=1)  # (batch, query, key)
        mixed = (mixed + torch.eye(mixed.shape[-1], device=mixed.device)) / 2
        flow = mixed if flow is None else mixed @ flow
    assert flow is not None
    return flow


@dataclass(frozen=True)
class InternalScores:
    """Scores of a text's words and its prediction, from one forward pass."""

    prediction: Label
    """What the model says in the form of the data's labels."""

    keep: Float[np.ndarray, " word"] | None
    """VMASK's keep probabilities in [0, 1], (word,); None without VMASK."""

    capacity: dict[str, Float[np.ndarray, " word"]]
    """Capacity in [0, 1] by site, (word,)."""

    attention: Float[np.ndarray, " word"] | None = None
    """Attention that words receive from all tokens, mean over heads, (word,); None unless attention is recorded."""


@share_texts("texts")
def internal_scores(
    model: PreTrainedModel, texts: Sequence[EncodedText], sites: Collection[str] = ("fc1",)
) -> list[InternalScores]:
    """Scores of every word and the prediction, one entry per text in the texts' order.

    Args:
        model: A model; it runs in evaluation mode.
        texts: Encoded texts.
        sites: Where capacity is computed; see `safr.model.forward_pass.SITES`. With `attention.N` among them, the
            attention that words receive at layer N is computed too; of several such layers, at the last.
    """
    scores: dict[int, InternalScores] = {}
    task = get_task(model)
    for batch, trace in iter_traces(model, texts, sites):
        predictions = list_labels(task, text_logits(model, trace.logits, batch))
        # Capacity has the vectors' type, and in half precision many words would share one.
        capacities = {
            site: to_numpy(capacity(vectors.float(), trace.content_mask)) for site, vectors in trace.vectors.items()
        }
        keep = None if trace.keep is None else to_numpy(trace.keep)
        received = _compute_received_attention(batch, trace)
        for row, number in enumerate(batch.indices):
            text = texts[number]
            scores[number] = InternalScores(
                predictions[row],
                None if keep is None else scores_per_word(text, keep[row]),
                {site: scores_per_word(text, values[row]) for site, values in capacities.items()},
                None if received is None else scores_per_word(text, received[row]),
            )
    return [scores[number] for number in range(len(texts))]


def capacity_scores(model: PreTrainedModel, texts: Sequence[EncodedText], site: str | None = None) -> Scores:
    """Capacity of every word at a site, by default the site that explains the model.

    The cost is one forward pass per text.

    Raises:
        InputError: There is no capacity at this site.
    """
    site = get_explaining_site(model) if site is None else site
    scores = internal_scores(model, texts, [site])
    if any(site not in text_scores.capacity for text_scores in scores):
        raise InputError(
            f"no capacity at site {site!r}; expected embedding, vmask, or a layer's, such as fc1.0, fc1_out.0, fc2.0"
        )
    return [text_scores.capacity[site] for text_scores in scores]


def keep_scores(model: PreTrainedModel, texts: Sequence[EncodedText]) -> Scores:
    """VMASK's keep probability of every word.

    Raises:
        InputError: The model has no VMASK.
    """
    keep = [text_scores.keep for text_scores in internal_scores(model, texts, ())]
    if any(values is None for values in keep):
        raise InputError("the method keep needs a model with VMASK, which this one does not have; leave it out")
    return [values for values in keep if values is not None]


def _compute_reading_weights(
    weights: Float[Tensor, "batch head query key"],
    attended: Bool[Tensor, "batch token"],
    content_mask: Bool[Tensor, "batch token"],
) -> Float[Tensor, "batch token"]:
    """Share of the prediction that is read at every token; a row sums to 1 if it has any token."""
    if not weights.triu(diagonal=1).any():  # no token sees a later one
        remaining = attended.flip(-1).cumsum(dim=-1).flip(-1)  # tokens from here to the end
        return (attended & (remaining == 1)).float()
    first = torch.arange(attended.shape[1], device=attended.device) == 0
    special = (attended & ~content_mask)[:, :1]
    return torch.where(special, first.float(), attended / attended.sum(dim=-1, keepdim=True).clamp_min(1))


def _compute_received_attention(batch: Batch, trace: Trace) -> NDArray[np.float32] | None:
    """Attention that tokens receive at the last recorded layer from all tokens but padding, (batch, token)."""
    if not trace.attention:
        return None
    return to_numpy(received_attention(trace.attention[max(trace.attention)], batch.inputs["attention_mask"].bool()))
