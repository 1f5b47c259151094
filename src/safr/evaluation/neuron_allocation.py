"""A model and texts in; what FC1 shows of every word, and which of its neurons are whose, out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from safr.attribution.words import pairs_per_word, scores_per_word
from safr.data.encoding import EncodedText
from safr.inference import iter_traces, to_numpy
from safr.superposition import capacity, interference


@dataclass(frozen=True)
class NeuronAllocation:
    """What FC1 shows of one text, before its activation."""

    capacity: NDArray[np.float64]
    """Capacity of each word, (word,)."""
    interference: NDArray[np.float64]
    """Interference of every two words, (word, word)."""
    highest: NDArray[np.float64]
    """The highest value that each neuron has at a word's tokens, (word, neuron)."""
    lowest: NDArray[np.float64]
    """The lowest, (word, neuron)."""
    total: NDArray[np.float64]
    """Sum of the vectors of all words' tokens, (neuron,)."""
    tokens: int
    """How many tokens that were."""

    def allocated(self, mean: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which neurons are each word's own, (word, neuron): every one goes to the word that moves it most.

        Args:
            mean: Each neuron's mean over all words, which it is moved from, (neuron,).
        """
        moved = np.maximum(self.highest - mean, mean - self.lowest)  # (word, neuron)
        return moved.argmax(axis=0) == np.arange(len(moved))[:, None]


def record_allocation(model: PreTrainedModel, texts: Sequence[EncodedText], site: str) -> list[NeuronAllocation]:
    """What FC1 shows of every text.

    Args:
        model: A model in evaluation mode.
        texts: Encoded texts, each with a word.
        site: FC1 of a layer, as `fc1.0`.
    """
    found: dict[int, NeuronAllocation] = {}
    for batch, seen in iter_traces(model, texts, [site]):
        vectors, content_mask = seen.vectors[site].float(), seen.content_mask
        capacities, overlaps = (to_numpy(measure(vectors, content_mask)) for measure in (capacity, interference))
        totals = to_numpy(torch.where(content_mask[..., None], vectors, 0.0).sum(dim=1))
        values = to_numpy(vectors)
        for row, number in enumerate(batch.indices):
            text = texts[number]
            found[number] = NeuronAllocation(
                scores_per_word(text, capacities[row]),
                pairs_per_word(text, overlaps[row]),
                scores_per_word(text, values[row]),
                -scores_per_word(text, -values[row]),
                totals[row].astype(np.float64),
                int(content_mask[row].sum()),
            )
    return [found[number] for number in range(len(texts))]


def mean_neuron_values(shown: Sequence[NeuronAllocation]) -> NDArray[np.float64]:
    """Mean of every neuron over all words' tokens, (neuron,)."""
    return np.sum([each.total for each in shown], axis=0) / sum(each.tokens for each in shown)


def draw_control_neurons(own: NDArray[np.bool_], draw: np.random.Generator) -> NDArray[np.bool_]:
    """For each set of neurons as many drawn from those that are not in it, (set, neuron); none where there are too few.

    Args:
        own: Sets of neurons, (set, neuron).
        draw: Draws them.
    """
    order = np.where(own, np.inf, draw.random(own.shape)).argsort(axis=1).argsort(axis=1)
    counts = own.sum(axis=1)
    enough = counts <= (~own).sum(axis=1)
    return (order < counts[:, None]) & enough[:, None]
