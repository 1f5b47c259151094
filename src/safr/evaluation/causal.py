"""Causal metrics: whether the prediction depends on the neurons, words and pairs that SAFR's metrics point to.

They compare capacity and interference with the effects of three interventions:

- ablation: the FC1 neurons allocated to a word (see `NeuronAllocation.allocated`) are set to zero, or to their mean, at
  all tokens. As a control, the same is done with as many random neurons that are not allocated to the word. Beside
  capacity, the relevance of the ablated neurons is compared with the effect.
- patching: the FC1 vectors of one word alone are taken from the same text with another word in its place.
- pairs: two words are deleted together. Their interaction is the effect beyond the sum of both effects alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from transformers import PreTrainedModel

from safr.attribution.relevance import has_rules, neuron_relevance
from safr.data.batches import Batch
from safr.data.encoding import EncodedText
from safr.evaluation.faithfulness import MetricValues
from safr.evaluation.neuron_allocation import draw_control_neurons, mean_neuron_values, record_allocation
from safr.evaluation.statistics import rank_correlations
from safr.inference import (
    batch_logits,
    drop_rest,
    evaluation_mode,
    has_exclusive_classes,
    iter_logits,
    iter_model_batches,
    log_odds,
    text_log_odds,
    to_numpy,
)
from safr.model.interventions import Intervention, intervene
from safr.model.trace import trace
from safr.processes import share_texts

PAIRS_PER_TEXT = 20
"""Random pairs of words that are deleted together in one text, at most."""

CAUSAL_METRICS = {
    "own": "effect of setting a word's own neurons to zero, mean over words",
    "others": "effect of setting as many other neurons to zero, drawn at random",
    "own_minus_others": "own minus others",
    "capacity_own": "rank correlation of words' capacity with the effect of their own neurons",
    "capacity_others": "rank correlation of words' capacity with the effect of as many others",
    "capacity_own_minus_others": "capacity_own minus capacity_others: what capacity knows beyond the number of neurons",
    "relevance_own": "rank correlation of the size of these neurons' relevance with the effect of a word's own neurons",
    "relevance_others": "rank correlation of the size of these neurons' relevance with the effect of as many others",
    "relevance_minus_capacity_own": "relevance_own minus capacity_own",
    "own_mean": "as own, with neurons set to their mean over all words",
    "others_mean": "as others, with neurons set to their mean",
    "own_minus_others_mean": "own_mean minus others_mean",
    "capacity_own_mean": "as capacity_own, with neurons set to their mean",
    "capacity_others_mean": "as capacity_others, with neurons set to their mean",
    "capacity_own_minus_others_mean": "capacity_own_mean minus capacity_others_mean",
    "patched": "effect of replacing a word's FC1 vectors by those of the text with another word in its place",
    "capacity_patched": "rank correlation of words' capacity with the effect of patching them",
    "interference_interaction": "rank correlation of the absolute interference of two words with their absolute "
    "interaction",
}
"""Descriptions by metric name.

An effect is the size of the change in the predicted class's log-odds, whatever its sign. A word is left out of `own`
and `others` if no neuron is allocated to it, or more than half of all neurons, since then there are too few others.
"""

CAUSAL_CORRELATIONS = frozenset(
    {f"capacity_{effect}" for effect in ("own", "others", "own_mean", "others_mean", "patched")}
    | {"relevance_own", "relevance_others", "interference_interaction"}
)
"""The metrics that lie in [-1, 1]; effects have no bounds."""


@dataclass(frozen=True)
class CausalSetup:
    """A model, its texts, and the layer that is intervened on."""

    model: PreTrainedModel
    texts: Sequence[EncodedText]
    """Encoded texts of two words or more."""
    classes: Int[np.ndarray, " text"]
    """The predicted class of every text, (text,)."""
    site: str
    """FC1 of the layer that is intervened on, as `fc1.0`."""

    @cached_property
    def whole(self) -> Float[np.ndarray, " text"]:
        """Log-odds of the predicted class without any intervention, (text,)."""
        return text_log_odds(self.model, self.texts, self.classes)


def causal_effects(setup: CausalSetup, stand_in: int | None = None, seed: int = 0) -> MetricValues:
    """Effects of interventions on neurons, vectors and pairs of words, by the names of `CAUSAL_METRICS`.

    Args:
        setup: The model, its texts, and the layer.
        stand_in: Id that takes a word's place for patching. Default: nothing is patched.
        seed: Seed of the random neurons and pairs.

    Returns:
        By metric, (text,). The metrics of patching are missing where nothing is patched, and those of relevance where
        the model computes something that has no rule.
    """
    generator = np.random.default_rng(seed)
    allocations = record_allocation(setup.model, setup.texts, setup.site)
    capacities = [allocation.capacity for allocation in allocations]
    mean = mean_neuron_values(allocations)
    own_neurons = [allocation.allocated(mean) for allocation in allocations]
    other_neurons = [draw_control_neurons(neurons, generator) for neurons in own_neurons]
    metrics: MetricValues = {}
    for ending, value in (("", np.zeros_like(mean)), ("_mean", mean)):
        # What a neuron adds is what setting it to zero takes away; to set it to its mean takes away another amount.
        with_relevance = not ending and has_rules(setup.model)
        ablation_metrics = _compare_ablations(
            setup, own_neurons, other_neurons, value, capacities, with_relevance=with_relevance
        )
        metrics |= {name + ending: values for name, values in ablation_metrics.items()}
    if stand_in is not None:
        effects = patching_effects(setup, stand_in)
        metrics["patched"] = np.array([word_effects.mean() for word_effects in effects])
        metrics["capacity_patched"] = rank_correlations(capacities, effects)
    pairs = [_draw_pairs(len(text.words), generator) for text in setup.texts]
    overlaps = [
        np.abs(allocation.interference[text_pairs[:, 0], text_pairs[:, 1]])
        for allocation, text_pairs in zip(allocations, pairs, strict=True)
    ]
    metrics["interference_interaction"] = rank_correlations(overlaps, interaction_effects(setup, pairs))
    return metrics


def ablation_effects(
    setup: CausalSetup, neurons: Sequence[Bool[np.ndarray, "_ neuron"]], value: Float[np.ndarray, " neuron"]
) -> list[Float[np.ndarray, " _"]]:
    """Effect of setting a set of FC1's neurons, before the activation, to fixed values at all tokens of a text.

    Args:
        setup: The model, its texts, and the layer.
        neurons: For every text, sets of neurons, (set, neuron).
        value: The values that neurons are set to, (neuron,).

    Returns:
        For every text, (set,).
    """
    after = _predict_ablated(setup.model, setup.texts, setup.classes, neurons, setup.site, value)
    return [np.abs(whole - odds) for whole, odds in zip(setup.whole, after, strict=True)]


@share_texts("texts", "classes", "neurons")
def _predict_ablated(
    model: PreTrainedModel,
    texts: Sequence[EncodedText],
    classes: Int[np.ndarray, " text"],
    neurons: Sequence[Bool[np.ndarray, "_ neuron"]],
    site: str,
    value: Float[np.ndarray, " neuron"],
) -> list[Float[np.ndarray, " _"]]:
    """Log-odds with every set of neurons ablated, for every text (set,)."""
    masks = torch.from_numpy(np.concatenate(neurons)).to(model.device)
    replacement = torch.from_numpy(value).to(model.device)

    def make_intervention(batch: Batch) -> Intervention:
        batch_masks = masks[list(batch.indices)][:, None]  # (batch, 1, neuron)
        return lambda vectors: torch.where(batch_masks, replacement.to(vectors), vectors)

    counts = [len(text_neurons) for text_neurons in neurons]
    return _predict_changed(CausalSetup(model, texts, classes, site), counts, make_intervention)


def relevance_of_neurons(
    setup: CausalSetup, neurons: Sequence[Bool[np.ndarray, "_ neuron"]]
) -> list[Float[np.ndarray, " _"]]:
    """Relevance of sets of FC1's neurons, summed over all tokens of a text, for the predicted class.

    What is explained is the class's logit less that of the likeliest other class, which with two classes are the
    log-odds; where several classes can be right, and of a regression model, it is the logit alone.

    Args:
        setup: The model, its texts, and the layer.
        neurons: For every text, sets of neurons, (set, neuron).

    Returns:
        For every text, (set,); above 0 where they speak for the class.

    Raises:
        InputError: The model computes something that has no rule; see `neuron_relevance`.
    """
    return _sum_relevance(setup.model, setup.texts, setup.classes, neurons, setup.site)


@share_texts("texts", "classes", "neurons")
def _sum_relevance(
    model: PreTrainedModel,
    texts: Sequence[EncodedText],
    classes: Int[np.ndarray, " text"],
    neurons: Sequence[Bool[np.ndarray, "_ neuron"]],
    site: str,
) -> list[Float[np.ndarray, " _"]]:
    rivals = _find_rivals(model, texts, classes)
    found = neuron_relevance(model, texts, site, classes, rivals)
    return [sets @ values.sum(axis=0, dtype=np.float64) for sets, values in zip(neurons, found, strict=True)]


def _find_rivals(
    model: PreTrainedModel, texts: Sequence[EncodedText], classes: Int[np.ndarray, " text"]
) -> NDArray[np.int64] | None:
    """The likeliest class of every text beside the given one; None where classes don't exclude each other."""
    rivals = np.zeros(len(texts), dtype=np.int64)
    for batch, logits in iter_logits(model, texts):
        numbers = list(batch.indices)
        logits = drop_rest(model, logits)
        if not has_exclusive_classes(model, logits):
            return None
        chosen = torch.from_numpy(classes[numbers]).to(logits.device)
        rivals[numbers] = logits.scatter(1, chosen[:, None], -torch.inf).argmax(dim=-1).cpu().numpy()
    return rivals


def patching_effects(setup: CausalSetup, stand_in: int) -> list[Float[np.ndarray, " _"]]:
    """Effect of taking the FC1 vectors of one word from the same text with another word in its place, for every word.

    Args:
        setup: The model, its texts, and the layer.
        stand_in: Id that takes the place of the word's tokens.

    Returns:
        For every text, (word,).
    """
    after = _predict_patched(setup.model, setup.texts, setup.classes, setup.site, stand_in)
    return [np.abs(whole - odds) for whole, odds in zip(setup.whole, after, strict=True)]


@share_texts("texts", "classes")
def _predict_patched(
    model: PreTrainedModel,
    texts: Sequence[EncodedText],
    classes: Int[np.ndarray, " text"],
    site: str,
    stand_in: int,
) -> list[Float[np.ndarray, " _"]]:
    """Log-odds with every word patched, for every text (word,)."""
    patches = [(text, word) for text in texts for word in range(len(text.words))]

    def make_intervention(batch: Batch) -> Intervention:
        ids = batch.inputs["input_ids"]
        patched = torch.zeros_like(ids, dtype=torch.bool)  # (batch, token)
        for row, number in enumerate(batch.indices):
            text, word = patches[number]
            patched[row, [token for token, owner in enumerate(text.word_of_token) if owner == word]] = True
        inputs = batch.inputs | {"input_ids": ids.masked_fill(patched, stand_in)}
        with evaluation_mode(model), torch.inference_mode():
            patch = trace(model, inputs, [site], content_mask=batch.content_mask).site(site)
        return lambda vectors: torch.where(patched[..., None], patch, vectors)

    counts = [len(text.words) for text in texts]
    return _predict_changed(CausalSetup(model, texts, classes, site), counts, make_intervention)


def interaction_effects(setup: CausalSetup, pairs: Sequence[Int[np.ndarray, "_ 2"]]) -> list[Float[np.ndarray, " _"]]:
    r"""Size of the interaction of two words: the effect of deleting both beyond the sum of their effects alone.

    $$|f(x) - f(x \setminus i) - f(x \setminus j) + f(x \setminus ij)|$$

    with f the log-odds.

    Args:
        setup: The model and its texts.
        pairs: For every text, pairs of words, (pair, 2).

    Returns:
        For every text, (pair,).
    """
    shortened = [
        text.without(words)
        for text, text_pairs in zip(setup.texts, pairs, strict=True)
        for i, j in text_pairs.tolist()
        for words in ((i,), (j,), (i, j))
    ]
    counts = [len(text_pairs) for text_pairs in pairs]
    odds = text_log_odds(setup.model, shortened, np.repeat(setup.classes, np.multiply(counts, 3))).reshape(-1, 3)
    interactions = np.repeat(setup.whole, counts) - odds[:, 0] - odds[:, 1] + odds[:, 2]
    return np.split(np.abs(interactions), np.cumsum(counts)[:-1])


def _compare_ablations(
    setup: CausalSetup,
    own_neurons: Sequence[NDArray[np.bool_]],
    other_neurons: Sequence[NDArray[np.bool_]],
    value: NDArray[np.float64],
    capacities: Sequence[NDArray[np.float64]],
    *,
    with_relevance: bool,
) -> MetricValues:
    """Metrics of setting words' own neurons to a value, and as many others."""
    metrics: MetricValues = {}
    masks = [neurons.any(axis=1) for neurons in other_neurons]  # words that there are enough other neurons for
    compared_capacities = [word_capacity[mask] for word_capacity, mask in zip(capacities, masks, strict=True)]
    sums: dict[str, Sequence[NDArray[np.float64]]] = {}
    if with_relevance:  # of both at once: a pass each way tells the relevance of all neurons
        both = [np.concatenate(sets) for sets in zip(own_neurons, other_neurons, strict=True)]
        own, others = zip(*(np.split(values, 2) for values in relevance_of_neurons(setup, both)), strict=True)
        sums = {"own": own, "others": others}
    for name, neurons in (("own", own_neurons), ("others", other_neurons)):
        effects = ablation_effects(setup, neurons, value)
        effects = [word_effects[mask] for word_effects, mask in zip(effects, masks, strict=True)]
        metrics[name] = np.array([word_effects.mean() if len(word_effects) else np.nan for word_effects in effects])
        metrics[f"capacity_{name}"] = rank_correlations(compared_capacities, effects)
        if with_relevance:
            sizes = [np.abs(values[mask]) for values, mask in zip(sums[name], masks, strict=True)]
            metrics[f"relevance_{name}"] = rank_correlations(sizes, effects)
    if with_relevance:
        metrics["relevance_minus_capacity_own"] = metrics["relevance_own"] - metrics["capacity_own"]
    for name in ("own", "capacity_own"):
        metrics[f"{name}_minus_others"] = metrics[name] - metrics[name.replace("own", "others")]
    return metrics


def _predict_changed(
    setup: CausalSetup, counts: Sequence[int], make_intervention: Callable[[Batch], Intervention]
) -> list[NDArray[np.float64]]:
    """Log-odds of the predicted class under several interventions on every text, (intervention,).

    Args:
        setup: The model, its texts, and the layer.
        counts: Number of interventions on every text.
        make_intervention: Makes the intervention for a batch; `batch.indices` count interventions, text after text.
    """
    owners = np.repeat(np.arange(len(setup.texts)), counts)
    after = np.zeros(len(owners))
    for batch in iter_model_batches(setup.model, [setup.texts[owner] for owner in owners.tolist()]):
        numbers = list(batch.indices)
        with torch.inference_mode(), intervene(setup.model, setup.site, make_intervention(batch)):
            logits = batch_logits(setup.model, batch)
        classes = torch.from_numpy(setup.classes[owners[numbers]]).to(logits.device)
        after[numbers] = to_numpy(log_odds(setup.model, logits, classes))
    return np.split(after, np.cumsum(counts)[:-1])


def _draw_pairs(words: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Random pairs of words, (pair, 2): `PAIRS_PER_TEXT` of them, or all where there are fewer."""
    pairs = np.stack(np.triu_indices(words, k=1), axis=1)
    return generator.permutation(pairs)[:PAIRS_PER_TEXT]
