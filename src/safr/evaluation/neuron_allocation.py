"""FC1 recorded word by word: capacity, interference, and which neurons are allocated to which word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from transformers import PreTrainedModel

from safr.attribution.words import pairs_per_word, scores_per_word
from safr.data.encoding import EncodedText
from safr.inference import iter_traces, to_numpy
from safr.processes import share_texts
from safr.superposition import capacity, interference


@dataclass(frozen=True)
class NeuronAllocation:
    """Capacity, interference and neuron values of one text's words, from FC1 before its activation."""

    capacity: Float[np.ndarray, " word"]
    """Capacity of words, (word,)."""
    interference: Float[np.ndarray, "word word"]
    """Interference of pairs of words, (word, word)."""
    highest: Float[np.ndarray, "word neuron"]
    """Highest value of a neuron over a word's tokens, (word, neuron)."""
    lowest: Float[np.ndarray, "word neuron"]
    """Lowest value of a neuron over a word's tokens, (word, neuron)."""
    total: Float[np.ndarray, " neuron"]
    """Sum of the vectors of all words' tokens, (neuron,)."""
    tokens: int
    """Number of the words' tokens, over which `total` is summed."""

    def allocated(self, mean: Float[np.ndarray, " neuron"]) -> Bool[np.ndarray, "word neuron"]:
        """Which neurons are allocated to which word, (word, neuron): True for the word that moves the neuron most.

        Args:
            mean: Mean of every neuron over all words' tokens, from which words move it, (neuron,).
        """
        distances = np.maximum(self.highest - mean, mean - self.lowest)  # (word, neuron)
        return distances.argmax(axis=0) == np.arange(len(distances))[:, None]


@share_texts("texts")
def record_allocation(model: PreTrainedModel, texts: Sequence[EncodedText], site: str) -> list[NeuronAllocation]:
    """Capacity, interference and neuron values at FC1, one entry per text in the texts' order.

    Args:
        model: A model; it runs in evaluation mode.
        texts: Encoded texts of at least one word.
        site: FC1 of a layer, as `fc1.0`.
    """
    allocations: dict[int, NeuronAllocation] = {}
    for batch, trace in iter_traces(model, texts, [site]):
        vectors, content_mask = trace.vectors[site].float(), trace.content_mask
        capacities, overlaps = (to_numpy(measure(vectors, content_mask)) for measure in (capacity, interference))
        totals = to_numpy(torch.where(content_mask[..., None], vectors, 0.0).sum(dim=1))
        values = to_numpy(vectors)
        for row, number in enumerate(batch.indices):
            text = texts[number]
            allocations[number] = NeuronAllocation(
                scores_per_word(text, capacities[row]),
                pairs_per_word(text, overlaps[row]),
                scores_per_word(text, values[row]),
                -scores_per_word(text, -values[row]),
                totals[row].astype(np.float64),
                int(content_mask[row].sum()),
            )
    return [allocations[number] for number in range(len(texts))]


def mean_neuron_values(allocations: Sequence[NeuronAllocation]) -> Float[np.ndarray, " neuron"]:
    """Mean of every neuron over the tokens of all texts' words, (neuron,)."""
    totals = [allocation.total for allocation in allocations]
    return np.sum(totals, axis=0) / sum(allocation.tokens for allocation in allocations)


def draw_control_neurons(
    neurons: Bool[np.ndarray, "set neuron"], generator: np.random.Generator
) -> Bool[np.ndarray, "set neuron"]:
    """For every set of neurons, as many random neurons outside the set, (set, neuron); none where there are too few.

    Args:
        neurons: Sets of neurons, (set, neuron).
        generator: Source of randomness.
    """
    order = np.where(neurons, np.inf, generator.random(neurons.shape)).argsort(axis=1).argsort(axis=1)
    counts = neurons.sum(axis=1)
    enough = counts <= (~neurons).sum(axis=1)
    return (order < counts[:, None]) & enough[:, None]
