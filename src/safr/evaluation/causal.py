"""A model and texts in; whether what capacity and interference point to causes the prediction, out.

Three interventions, each with what chance would do beside it:

- ablation: the FC1 neurons allocated to a word (see `Shown.allocated`) are set to zero, or to their mean, at all
  tokens; beside it as many neurons that are not its own.
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

from safr.data.batches import Batch
from safr.data.encoding import EncodedText
from safr.evaluation.faithfulness import MetricValues
from safr.evaluation.neuron_allocation import draw_control_neurons, mean_neuron_values, record_allocation
from safr.evaluation.statistics import rank_correlations
from safr.inference import iter_model_batches, log_odds, text_log_odds, text_logits, to_numpy
from safr.model.interventions import Intervention, intervene
from safr.model.trace import trace

PAIRS_PER_TEXT = 20
"""Pairs of words that are deleted together, drawn from each text."""

CAUSAL_METRICS = {
    "own": "effect of setting a word's own neurons to zero, mean over words",
    "others": "effect of setting as many drawn from the others to zero",
    "own_minus_others": "by how much the first is larger",
    "capacity_own": "rank correlation of words' capacity with the effect of their own neurons",
    "capacity_others": "rank correlation of words' capacity with the effect of as many others",
    "capacity_own_minus_others": "by how much the first is larger: what capacity knows beyond the number of neurons",
    "own_mean": "as own, with neurons set to their mean over all words",
    "others_mean": "as others, with neurons set to their mean",
    "own_minus_others_mean": "by how much the first is larger",
    "capacity_own_mean": "as capacity_own, with neurons set to their mean",
    "capacity_others_mean": "as capacity_others, with neurons set to their mean",
    "capacity_own_minus_others_mean": "by how much the first is larger",
    "patched": "effect of taking a word's FC1 vectors from the text with another word in its place",
    "capacity_patched": "rank correlation of words' capacity with the effect of patching them",
    "interference_interaction": "rank correlation of two words' interference with their interaction, sizes both",
}
"""What each number says. An effect is the size of the change of the predicted class's log-odds, whatever its sign.
Words that own no neuron, or more than half, for which there are not as many others, are left out of both."""

CAUSAL_CORRELATIONS = frozenset(
    {f"capacity_{what}" for what in ("own", "others", "own_mean", "others_mean", "patched")}
    | {"interference_interaction"}
)
"""Those that lie in [-1, 1]; effects have no bounds."""


@dataclass(frozen=True)
class CausalSetup:
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
        return text_log_odds(self.model, self.texts, self.classes)


def causal_effects(watched: CausalSetup, stand_in: int | None = None, seed: int = 0) -> MetricValues:
    """What becomes of predictions under interventions on neurons, vectors and pairs of words; see `CAUSAL_METRICS`.

    Args:
        watched: The model, its texts, and the layer.
        stand_in: Id that takes a word's place for patching. Default: nothing is patched.
        seed: Seed of the random neurons and pairs.

    Returns:
        By the names of `CAUSAL_METRICS`, (text,).
    """
    draw = np.random.default_rng(seed)
    shown = record_allocation(watched.model, watched.texts, watched.site)
    capacities = [each.capacity for each in shown]
    mean = mean_neuron_values(shown)
    own = [each.allocated(mean) for each in shown]
    others = [draw_control_neurons(each, draw) for each in own]
    found: MetricValues = {}
    for ending, value in (("", np.zeros_like(mean)), ("_mean", mean)):
        found |= {name + ending: values for name, values in _ablated(watched, own, others, value, capacities).items()}
    if stand_in is not None:
        effects = patching_effects(watched, stand_in)
        found["patched"] = np.array([each.mean() for each in effects])
        found["capacity_patched"] = rank_correlations(capacities, effects)
    pairs = [_drawn_pairs(len(text.words), draw) for text in watched.texts]
    overlaps = [np.abs(each.interference[some[:, 0], some[:, 1]]) for each, some in zip(shown, pairs, strict=True)]
    found["interference_interaction"] = rank_correlations(overlaps, interaction_effects(watched, pairs))
    return found


def _ablated(
    watched: CausalSetup,
    own: Sequence[NDArray[np.bool_]],
    others: Sequence[NDArray[np.bool_]],
    value: NDArray[np.float64],
    capacities: Sequence[NDArray[np.float64]],
) -> MetricValues:
    """What setting words' own neurons to a value does, and setting as many others."""
    found: MetricValues = {}
    compared = [each.any(axis=1) for each in others]  # words that there are as many other neurons for
    kept = [own_capacity[there] for own_capacity, there in zip(capacities, compared, strict=True)]
    for name, neurons in (("own", own), ("others", others)):
        effects = ablation_effects(watched, neurons, value)
        effects = [each[there] for each, there in zip(effects, compared, strict=True)]
        found[name] = np.array([each.mean() if len(each) else np.nan for each in effects])
        found[f"capacity_{name}"] = rank_correlations(kept, effects)
    for name in ("own", "capacity_own"):
        found[f"{name}_minus_others"] = found[name] - found[name.replace("own", "others")]
    return found


def ablation_effects(
    watched: CausalSetup, neurons: Sequence[NDArray[np.bool_]], value: NDArray[np.float64]
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

    def change(batch: Batch) -> Intervention:
        rows = masks[list(batch.indices)][:, None]  # (batch, 1, neuron)
        return lambda vectors: torch.where(rows, fixed.to(vectors), vectors)

    return _effects(watched, [len(each) for each in neurons], change)


def patching_effects(watched: CausalSetup, stand_in: int) -> list[NDArray[np.float64]]:
    """Effect of taking one word's FC1 vectors from the same text with another word in its place, for every word.

    Args:
        watched: The model, its texts, and the layer.
        stand_in: Id that takes the place of the word's tokens.

    Returns:
        For every text, (word,).
    """
    places = [(text, word) for text in watched.texts for word in range(len(text.words))]

    def change(batch: Batch) -> Intervention:
        ids = batch.inputs["input_ids"]
        patched = torch.zeros_like(ids, dtype=torch.bool)
        for row, number in enumerate(batch.indices):
            text, word = places[number]
            patched[row, [place for place, owner in enumerate(text.word_of_token) if owner == word]] = True
        replaced = batch.inputs | {"input_ids": ids.masked_fill(patched, stand_in)}
        with torch.inference_mode():
            taken = trace(watched.model, replaced, [watched.site], content_mask=batch.content_mask).site(watched.site)
        return lambda vectors: torch.where(patched[..., None], taken, vectors)

    return _effects(watched, [len(text.words) for text in watched.texts], change)


def interaction_effects(watched: CausalSetup, pairs: Sequence[NDArray[np.int64]]) -> list[NDArray[np.float64]]:
    r"""Size of what deleting two words does beyond what both do alone.

    $$|f(x) - f(x \setminus i) - f(x \setminus j) + f(x \setminus ij)|$$

    with f the log-odds.

    Args:
        watched: The model and its texts.
        pairs: For every text some pairs of words, (pair, 2).

    Returns:
        For every text, (pair,).
    """
    left = [
        text.without(words)
        for text, some in zip(watched.texts, pairs, strict=True)
        for i, j in some.tolist()
        for words in ((i,), (j,), (i, j))
    ]
    counts = [len(some) for some in pairs]
    odds = text_log_odds(watched.model, left, np.repeat(watched.classes, np.multiply(counts, 3))).reshape(-1, 3)
    joint = np.repeat(watched.whole, counts) - odds[:, 0] - odds[:, 1] + odds[:, 2]
    return np.split(np.abs(joint), np.cumsum(counts)[:-1])


def _effects(
    watched: CausalSetup, counts: Sequence[int], change: Callable[[Batch], Intervention]
) -> list[NDArray[np.float64]]:
    """Effects of some changes of each text, `counts` of them; `change` makes those of a batch of (text, change)."""
    owners = np.repeat(np.arange(len(watched.texts)), counts)
    after = np.zeros(len(owners))
    for batch in iter_model_batches(watched.model, [watched.texts[owner] for owner in owners.tolist()]):
        numbers = list(batch.indices)
        with torch.inference_mode(), intervene(watched.model, watched.site, change(batch)):
            logits: Tensor = text_logits(watched.model, watched.model(**batch.inputs).get("logits"), batch)
        chosen = torch.from_numpy(watched.classes[owners[numbers]]).to(logits.device)
        after[numbers] = to_numpy(log_odds(watched.model, logits, chosen))
    return np.split(np.abs(watched.whole[owners] - after), np.cumsum(counts)[:-1])


def _drawn_pairs(words: int, draw: np.random.Generator) -> NDArray[np.int64]:
    """Some of the pairs of words, or all where there are few, (pair, 2)."""
    pairs = np.stack(np.triu_indices(words, k=1), axis=1)
    return draw.permutation(pairs)[:PAIRS_PER_TEXT]
