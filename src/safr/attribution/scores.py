"""A model and texts in; capacity at every site, keep probability and prediction per word out, in one forward pass."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from safr.attribution.words import by_word
from safr.data.batches import Batch, EncodedText, batches
from safr.model.attach import trace
from safr.superposition import capacity
from safr.traces import Trace

Scores = list[NDArray[np.float64]]
"""One score per word, for every text."""


@dataclass(frozen=True)
class ScoredText:
    """What one forward pass says about a text's words."""

    prediction: int
    """The class with the highest logit."""

    keep: NDArray[np.float64] | None
    """VMASK's keep probability of each word in [0, 1]; None without VMASK."""

    capacity: dict[str, NDArray[np.float64]]
    """Capacity of each word in [0, 1], by site."""


def score_words(
    model: PreTrainedModel, texts: Sequence[EncodedText], sites: Collection[str] = ("fc1",)
) -> list[ScoredText]:
    """Score every word of every text.

    Args:
        model: A model in evaluation mode.
        texts: Encoded texts.
        sites: Where capacity is computed; see `safr.traces.SITES`.

    Returns:
        One entry per text, in the texts' order.
    """
    scored: dict[int, ScoredText] = {}
    for batch, seen in traced(model, texts, sites):
        predictions = seen.logits.argmax(dim=-1).tolist()
        capacities = {
            site: capacity(vectors, seen.counting).numpy(force=True) for site, vectors in seen.vectors.items()
        }
        keep = None if seen.keep is None else seen.keep.numpy(force=True)
        for row, number in enumerate(batch.numbers):
            text = texts[number]
            scored[number] = ScoredText(
                predictions[row],
                None if keep is None else by_word(text, keep[row]),
                {site: by_word(text, values[row]) for site, values in capacities.items()},
            )
    return [scored[number] for number in range(len(texts))]


def traced(
    model: PreTrainedModel, texts: Sequence[EncodedText], sites: Collection[str]
) -> Iterator[tuple[Batch, Trace]]:
    """Run texts through a model batch by batch, without gradients; yields each batch with what it showed."""
    for batch in model_batches(model, texts):
        with torch.inference_mode():
            seen = trace(model, batch.inputs, sites, counting=batch.counting)
        yield batch, seen


def model_batches(model: PreTrainedModel, texts: Sequence[EncodedText]) -> Iterator[Batch]:
    """Batches as this model needs them: on its device, with its padding."""
    return batches(
        texts,
        padding_id=model.config.pad_token_id or 0,
        padded_length=getattr(model.config, "padded_length", None),
        device=model.device,
    )


def random_scores(texts: Sequence[EncodedText], seed: int) -> Scores:
    """A score in [0, 1) drawn for every word: the attribution that every other one has to beat."""
    draw = np.random.default_rng(seed)
    return [draw.random(len(text.words)) for text in texts]
