"""A model and texts in; whether what capacity and interference point to causes the prediction, out.

Three interventions, each with what chance would do beside it:

- ablation: the FC1 neurons allocated to a word are set to zero, or to their mean, at all tokens; beside it as many
  neurons that are not its own.
- patching: the FC1 vectors of one word alone are taken from the same text with another word in its place.
- pairs: two words are deleted together; what that costs beyond the sum of both alone is their interaction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from safr.attribution.gradients import log_odds
from safr.attribution.removing import class_log_odds
from safr.attribution.scores import answers, as_array, model_batches, traced
from safr.attribution.words import by_word, pairs_by_word
from safr.data.batches import Batch, EncodedText
from safr.evaluation.correlation import rank_correlations
from safr.evaluation.faithfulness import Values
from safr.model.interventions import Change, changed
from safr.model.tracing import trace
from safr.superposition import capacity, interference

PAIRS = 20
"""Pairs of words that are deleted together, drawn from each text."""

MEANINGS = {
    "allocated": "effect of setting a word's own neurons to zero, mean over words",
    "random": "effect of setting as many neurons that are not its own to zero",
    "capacity_allocated": "rank correlation of words' capacity with the effect of their own neurons",
    "capacity_random": "rank correlation of words' capacity with the effect of as many others",
    "allocated_mean": "as allocated, with neurons set to their mean over all words",
    "random_mean": "as random, with neurons set to their mean",
    "capacity_allocated_mean": "as capacity_allocated, with neurons set to their mean",
    "capacity_random_mean": "as capacity_random, with neurons set to their mean",
    "patched": "effect of taking a word's FC1 vectors from the text with another word in its place",
    "capacity_patched": "rank correlation of words' capacity with the effect of patching them",
    "interference_interaction": "rank correlation of two words' interference with their interaction, sizes both",
}
"""What each number says. An effect is the size of the change of the predicted class's log-odds, whatever its sign."""


@dataclass(frozen=True)
class Shown:
    """What FC1 shows of one text."""

    capacity: NDArray[np.float64]
    """Capacity of each word, (word,)."""
    interference: NDArray[np.float64]
    """Interference of every two words, (word, word)."""
    size: NDArray[np.float64]
    """How far each neuron is from 0 at each word, (word, neuron)."""
    total: NDArray[np.float64]
    """Sum of the vectors of all words' tokens, (neuron,)."""
    tokens: int
    """How many tokens that were."""

    def allocated(self) -> NDArray[np.bool_]:
        """Which neurons are each word's own, (word, neuron): every neuron goes to the word that moves it most."""
        return self.size.argmax(axis=0) == np.arange(len(self.size))[:, None]


@dataclass(frozen=True)
class Watched:
    """Predictions whose changes are watched."""

    model: PreTrainedModel
    texts: Sequence[EncodedText]
    """Encoded texts, each with two words or more."""
    classes: NDArray[np.int64]
    """The class that is predicted for each text."""
    site: str
    """FC1 of the layer that is intervened on, as `fc1.0`."""

    @cached_property
    def whole(self) -> NDArray[np.float64]:
        """Log-odds of each text's class without any change, (text,)."""
        return class_log_odds(self.model, self.texts, self.classes)


def cause(watched: Watched, stand_in: int | None = None, seed: int = 0) -> Values:
    """What becomes of predictions under interventions on neurons, vectors and pairs of words; see `MEANINGS`.

    Args:
        watched: The model, its texts, and the layer.
        stand_in: Id that takes a word's place for patching. Default: nothing is patched.
        seed: Seed of the random neurons and pairs.

    Returns:
        By the names of `MEANINGS`, (text,).
    """
    draw = np.random.default_rng(seed)
    shown = show(watched.model, watched.texts, watched.site)
    own = [each.capacity for each in shown]
    mean = np.sum([each.total for each in shown], axis=0) / sum(each.tokens for each in shown)
    allocated = [each.allocated() for each in shown]
    neurons = {"allocated": allocated, "random": [_as_many_others(each, draw) for each in allocated]}
    found: Values = {}
    for name, masks in neurons.items():
        for ending, value in (("", np.zeros_like(mean)), ("_mean", mean)):
            effects = ablation_effects(watched, masks, value)
            found[name + ending] = np.array([each.mean() for each in effects])
            found[f"capacity_{name}{ending}"] = rank_correlations(own, effects)
    if stand_in is not None:
        effects = patching_effects(watched, stand_in)
        found["patched"] = np.array([each.mean() for each in effects])
        found["capacity_patched"] = rank_correlations(own, effects)
    pairs = [_drawn_pairs(len(text.words), draw) for text in watched.texts]
    overlaps = [np.abs(each.interference[some[:, 0], some[:, 1]]) for each, some in zip(shown, pairs, strict=True)]
    found["interference_interaction"] = rank_correlations(overlaps, interactions(watched, pairs))
    return found


def show(model: PreTrainedModel, texts: Sequence[EncodedText], site: str) -> list[Shown]:
    """What FC1 shows of every text."""
    found: dict[int, Shown] = {}
    for batch, seen in traced(model, texts, [site]):
        vectors, counting = seen.vectors[site].float(), seen.counting
        capacities, overlaps = (as_array(measure(vectors, counting)) for measure in (capacity, interference))
        totals = as_array(torch.where(counting[..., None], vectors, 0.0).sum(dim=1))
        sizes = as_array(vectors.abs())
        for row, number in enumerate(batch.numbers):
            text = texts[number]
            found[number] = Shown(
                by_word(text, capacities[row]),
                pairs_by_word(text, overlaps[row]),
                by_word(text, sizes[row]),
                totals[row].astype(np.float64),
                int(counting[row].sum()),
            )
    return [found[number] for number in range(len(texts))]


def ablation_effects(
    watched: Watched, neurons: Sequence[NDArray[np.bool_]], value: NDArray[np.float64]
) -> list[NDArray[np.float64]]:
    """Effect of setting some neurons of FC1, before its activation, to a value at all tokens of a text.

    Args:
        watched: The model, its texts, and the layer.
        neurons: For every text some sets of neurons, (set, neuron).
        value: What each neuron is set to, (neuron,).

    Returns:
        For every text, (set,).
    """
    masks = torch.from_numpy(np.concatenate(neurons)).to(watched.model.device)
    fixed = torch.from_numpy(value).to(watched.model.device)

    def change(batch: Batch) -> Change:
        rows = masks[list(batch.numbers)][:, None]  # (batch, 1, neuron)
        return lambda vectors: torch.where(rows, fixed.to(vectors), vectors)

    return _effects(watched, [len(each) for each in neurons], change)


def patching_effects(watched: Watched, stand_in: int) -> list[NDArray[np.float64]]:
    """Effect of taking one word's FC1 vectors from the same text with another word in its place, for every word.

    Args:
        watched: The model, its texts, and the layer.
        stand_in: Id that takes the place of the word's tokens.

    Returns:
        For every text, (word,).
    """
    places = [(text, word) for text in watched.texts for word in range(len(text.words))]

    def change(batch: Batch) -> Change:
        ids = batch.inputs["input_ids"]
        patched = torch.zeros_like(ids, dtype=torch.bool)
        for row, number in enumerate(batch.numbers):
            text, word = places[number]
            patched[row, [place for place, owner in enumerate(text.word_of_token) if owner == word]] = True
        replaced = batch.inputs | {"input_ids": ids.masked_fill(patched, stand_in)}
        with torch.inference_mode():
            taken = trace(watched.model, replaced, [watched.site], counting=batch.counting).site(watched.site)
        return lambda vectors: torch.where(patched[..., None], taken, vectors)

    return _effects(watched, [len(text.words) for text in watched.texts], change)


def interactions(watched: Watched, pairs: Sequence[NDArray[np.int64]]) -> list[NDArray[np.float64]]:
    r"""Size of what deleting two words does beyond what both do alone.

    $$|f(x) - f(x \setminus i) - f(x \setminus j) + f(x \setminus ij)|$$

    with f the log-odds.

    Args:
        watched: The model and its texts.
        pairs: For every text some pairs of words, (pair, 2).

    Returns:
        For every text, (pair,).
    """
    sizes = []
    for text, chosen, some, before in zip(watched.texts, watched.classes, pairs, watched.whole, strict=True):
        sets = [set(words) for i, j in some.tolist() for words in ((i,), (j,), (i, j))]
        left = [text.without(words) for words in sets]
        alone, other, both = class_log_odds(watched.model, left, np.full(len(left), chosen)).reshape(-1, 3).T
        sizes.append(np.abs(before - alone - other + both))
    return sizes


def _effects(watched: Watched, counts: Sequence[int], change: Callable[[Batch], Change]) -> list[NDArray[np.float64]]:
    """Effects of some changes of each text, `counts` of them; `change` makes those of a batch of (text, change)."""
    owners = np.repeat(np.arange(len(watched.texts)), counts)
    after = np.zeros(len(owners))
    for batch in model_batches(watched.model, [watched.texts[owner] for owner in owners.tolist()]):
        numbers = list(batch.numbers)
        with torch.inference_mode(), changed(watched.model, watched.site, change(batch)):
            logits: Tensor = answers(watched.model, watched.model(**batch.inputs).get("logits"), batch)
        chosen = torch.from_numpy(watched.classes[owners[numbers]]).to(logits.device)
        after[numbers] = as_array(log_odds(logits, chosen))
    return np.split(np.abs(watched.whole[owners] - after), np.cumsum(counts)[:-1])


def _as_many_others(own: NDArray[np.bool_], draw: np.random.Generator) -> NDArray[np.bool_]:
    """For each set of neurons as many that are not in it, or all others where there are fewer, (set, neuron)."""
    order = np.where(own, np.inf, draw.random(own.shape)).argsort(axis=1).argsort(axis=1)
    counts = np.minimum(own.sum(axis=1), (~own).sum(axis=1))
    return order < counts[:, None]


def _drawn_pairs(words: int, draw: np.random.Generator) -> NDArray[np.int64]:
    """Some of the pairs of words, or all where there are few, (pair, 2)."""
    pairs = np.stack(np.triu_indices(words, k=1), axis=1)
    return draw.permutation(pairs)[:PAIRS]
