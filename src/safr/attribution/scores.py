"""A model and texts in; capacity at every site, keep probability and prediction per word out, in one forward pass."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from safr.attribution.words import scores_per_word
from safr.data.batches import Batch, EncodedText, iter_batches
from safr.errors import InputError
from safr.model.attention import received_attention
from safr.model.tracing import trace
from safr.superposition import capacity
from safr.traces import Trace

Scores = list[NDArray[np.float64]]
"""One score per word, for every text."""


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
        sites: Where capacity is computed; see `safr.traces.SITES`. With `attention.N` among them, what words receive
            at that layer is told too.

    Returns:
        One entry per text, in the texts' order.
    """
    scored: dict[int, InternalScores] = {}
    for batch, seen in iter_traces(model, texts, sites):
        predictions = text_logits(model, seen.logits, batch).argmax(dim=-1).tolist()
        capacities = {site: to_numpy(capacity(vectors, seen.counting)) for site, vectors in seen.vectors.items()}
        keep = None if seen.keep is None else to_numpy(seen.keep)
        received = _received(batch, seen)
        for row, number in enumerate(batch.numbers):
            text = texts[number]
            scored[number] = InternalScores(
                predictions[row],
                None if keep is None else scores_per_word(text, keep[row]),
                {site: scores_per_word(text, values[row]) for site, values in capacities.items()},
                None if received is None else scores_per_word(text, received[row]),
            )
    return [scored[number] for number in range(len(texts))]


def _received(batch: Batch, seen: Trace) -> NDArray[np.float32] | None:
    """Attention that each token receives at the last recorded layer, from all tokens that are no padding."""
    if not seen.attention:
        return None
    return to_numpy(received_attention(seen.attention[max(seen.attention)], batch.inputs["attention_mask"].bool()))


def iter_traces(
    model: PreTrainedModel, texts: Sequence[EncodedText], sites: Collection[str]
) -> Iterator[tuple[Batch, Trace]]:
    """Run texts through a model batch by batch, without gradients; yields each batch with what it showed."""
    for batch in iter_model_batches(model, texts):
        with torch.inference_mode():
            seen = trace(model, batch.inputs, sites, counting=batch.counting)
        yield batch, seen


def iter_logits(
    model: PreTrainedModel, texts: Sequence[EncodedText]
) -> Iterator[tuple[Batch, Float[Tensor, "batch label"]]]:
    """Run texts through a model batch by batch, without gradients; yields each batch with what the model answers."""
    for batch in iter_model_batches(model, texts):
        with torch.inference_mode():
            logits = text_logits(model, model(**batch.inputs).get("logits"), batch)
        yield batch, logits


def predict(model: PreTrainedModel, texts: Sequence[EncodedText]) -> NDArray[np.int64]:
    """The class, or for a language model the next token, that each text gets, (text,)."""
    classes = np.zeros(len(texts), dtype=np.int64)
    for batch, logits in iter_logits(model, texts):
        classes[list(batch.numbers)] = logits.argmax(dim=-1).numpy(force=True)
    return classes


def iter_model_batches(model: PreTrainedModel, texts: Sequence[EncodedText]) -> Iterator[Batch]:
    """Batches as this model needs them: on its device, with its padding, or one text at a time where it has none."""
    config = model.config.get_text_config()
    alone = {"tokens_per_batch": 1} if config.pad_token_id is None else {}
    return iter_batches(
        texts,
        padding_id=config.pad_token_id or 0,
        padded_length=getattr(config, "padded_length", None),
        token_types=getattr(config, "type_vocab_size", 0)
        > 1,  # a model with one embedding for all, or none, has no use
        device=model.device,
        **alone,
    )


def text_logits(model: PreTrainedModel, logits: Tensor | None, batch: Batch) -> Float[Tensor, "batch label"]:
    """What the model makes of each text as a whole: a class's logits, or those of the token that would come next.

    Args:
        model: A classifier or a causal language model.
        logits: (batch, label), (batch, token, label) of a language model, or None of a model without a head.
        batch: What the model was given.

    Raises:
        InputError: The model has no head, or says something about each token, and not what comes next.
    """
    if logits is None:
        raise InputError(f"expected a model that classifies texts or goes on with them, got {type(model).__name__}")
    if logits.dim() == 2:
        return logits
    if logits.dim() != 3 or not model.can_generate() or model.config.is_encoder_decoder:
        raise InputError(
            f"expected a model that classifies texts or goes on with them, got {type(model).__name__}, whose logits "
            f"have the shape {tuple(logits.shape)}"
        )
    last = (batch.inputs["attention_mask"].sum(dim=-1) - 1).clamp_min(0)  # of a text without tokens, its padding
    return logits[torch.arange(len(last), device=last.device), last]


def class_probabilities(model: PreTrainedModel, logits: Float[Tensor, "batch label"]) -> Float[Tensor, "batch label"]:
    """Probability of each class or next token, as in transformers' own pipeline.

    Where classes don't exclude each other, each has a probability of its own.
    """
    return logits.float().softmax(dim=-1) if has_exclusive_classes(model, logits) else logits.float().sigmoid()


def has_exclusive_classes(model: PreTrainedModel, logits: Float[Tensor, "batch label"]) -> bool:
    """Whether only one class can be right, so that their probabilities sum to 1."""
    return logits.shape[-1] > 1 and model.config.problem_type != "multi_label_classification"


def to_numpy(values: Tensor) -> NDArray[np.float32]:
    """A tensor of any precision, on any device, as an array; numpy has no bfloat16."""
    return values.float().numpy(force=True)


def random_scores(texts: Sequence[EncodedText], seed: int | Sequence[int]) -> Scores:
    """A score in [0, 1) drawn for every word: the attribution that every other one has to beat."""
    draw = np.random.default_rng(seed)
    return [draw.random(len(text.words)) for text in texts]
