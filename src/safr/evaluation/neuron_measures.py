"""What the neurons of a model mean: every measure of single neurons, from one run of the model over some texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from safr.attribution.neurons import get_neuron_site
from safr.data.encoding import EncodedText
from safr.data.splits import Text
from safr.errors import InputError
from safr.evaluation.activations import content_ids, iter_activations, sample_tokens
from safr.evaluation.class_selectivity import answers_to_one_class, gather_class_statistics
from safr.evaluation.monosemanticity import hoyer_sparsity, mean_over_neurons, permutation_null
from safr.evaluation.neuron_statistics import NeuronStatistics, check_present, rectify_activations, to_array
from safr.evaluation.sparse_autoencoder import (
    LATENTS_PER_NEURON,
    effective_features,
    train_sparse_autoencoder,
)
from safr.evaluation.statistics import SHARE, Estimate, bootstrap_mean, seed_mean
from safr.evaluation.word_vectors import word_vectors
from safr.inference import check_model, encode_unmarked

TOKEN_SHUFFLES = 5
"""Permutations of all tokens for the entropy by chance. Each takes as much memory as the measure itself."""

AUTOENCODERS = 3
"""Sparse autoencoders that are trained, each with a seed of its own."""


@dataclass(frozen=True)
class NeuronMeasures:
    """Measures of the neurons at one site of a model, with 95 % intervals.

    Means over neurons have intervals over neurons, and those over tokens intervals over texts. A mean is None where
    fewer than two neurons have a value, as where all are dead. How sparse neurons are has no value by chance: shuffling
    the tokens does not change it.
    """

    site: str
    """Where the neurons are, as in `fc1_out.0`."""
    neurons: int
    texts: int
    """How many texts there are that hold a token of a word."""
    tokens: int
    """How many tokens of words there are."""
    monosemanticity: Estimate | None
    """Monosemanticity score by token identity, mean over neurons."""
    monosemanticity_by_chance: float
    """What the score of any neuron is by chance."""
    token_entropy: Estimate | None
    """Entropy over the distinct tokens as a share of the greatest possible one, mean over neurons."""
    token_entropy_by_chance: float
    """Its mean when the tokens are shuffled; NaN where all neurons are dead."""
    active: Estimate
    """L0: how many neurons are active for a token, mean over tokens."""
    dead: Estimate
    """Share of the neurons that are never active."""
    neuron_sparsity: Estimate | None
    """Hoyer sparsity of a neuron over the tokens, mean over neurons."""
    token_sparsity: Estimate
    """Hoyer sparsity of a token over the neurons, mean over tokens; a token without an active neuron counts as 0."""
    class_separability: Estimate | None = None
    """Jensen-Shannon separability of a text's largest activations, mean over neurons. None without labels."""
    class_separability_by_chance: float | None = None
    """Its mean when the labels are shuffled. None without labels."""
    class_selectivity: Estimate | None = None
    """Class selectivity index of a text's largest activations, mean over neurons. None without labels."""
    class_selectivity_by_chance: float | None = None
    """Its mean when the labels are shuffled; NaN where all neurons are dead. None without labels."""
    single_class: Estimate | None = None
    """Share of the neurons, of those that are ever active, that answer to one class. None without labels."""
    single_class_by_chance: float | None = None
    """That share when the labels are shuffled; NaN where all neurons are dead. None without labels."""
    vector_monosemanticity: Estimate | None = None
    """Monosemanticity score by the cosines of words' vectors, mean over neurons. None without an encoder."""
    vector_monosemanticity_by_chance: float | None = None
    """What that score of any neuron is by chance. None without an encoder."""
    effective_features: Estimate | None = None
    """psi, effective features for each neuron: mean over autoencoders with its interval over their seeds. None where no
    autoencoder is asked for, or all neurons are constant, such as dead ones."""
    unexplained: float | None = None
    """Share of the variance that the autoencoders do not explain, mean over them."""
    by_neuron: Mapping[str, Float[np.ndarray, " neuron"]] = field(default_factory=dict, repr=False)
    """The measures of single neurons by their names above, (neuron,)."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, without those of single neurons; NaN becomes None."""
        values: dict[str, Any] = {}
        for entry in fields(self):
            if entry.name != "by_neuron":
                value = getattr(self, entry.name)
                value = value.to_dict() if isinstance(value, Estimate) else value
                values[entry.name] = None if isinstance(value, float) and np.isnan(value) else value
        return values


def measure_neurons(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[Text],
    labels: ArrayLike | Tensor | None = None,
    *,
    encoder: tuple[PreTrainedModel, PreTrainedTokenizerBase] | None = None,
    site: str | None = None,
    max_tokens: int | None = None,
    autoencoders: int = AUTOENCODERS,
    seed: int = 0,
) -> NeuronMeasures:
    """Every measure of a model's single neurons, from one run over some texts.

    Only tokens of words count. Two tokens are the same where the model reads the same id. The measures by class read
    the largest activation of each text. See `safr.evaluation.monosemanticity`, `safr.evaluation.class_selectivity` and
    `safr.evaluation.sparse_autoencoder` for the equations.

    Args:
        model: A model, with SAFR on it or not. It runs in evaluation mode and gets its own mode back.
        tokenizer: Its tokenizer.
        texts: At least two texts.
        labels: The class of each text. Default: nothing is measured by class.
        encoder: An independent encoder of texts, such as a MiniLM, and its tokenizer. The monosemanticity score is then
            also measured by the vectors of words that `safr.evaluation.word_vectors` gets from it.
        site: Where the neurons are, as in `fc1.0`. Default: behind the activation of the layer that explains the model.
        max_tokens: Longest text, in tokens. Default: what the model allows.
        autoencoders: How many sparse autoencoders are trained, which takes longer than all else. With 0, effective
            features are not measured; with 1, their interval has no width.
        seed: Of the shuffles and of the first autoencoder.

    Raises:
        InputError: There are fewer than two texts with words, not as many labels, missing ones, or those of one class
            only, or no such site; the activations are not finite; or the encoder does not fit, see `word_vectors`.
    """
    check_model(model)
    if autoencoders < 0:
        raise InputError(f"expected a number of autoencoders of at least 0, got {autoencoders}")
    classes = None
    if labels is not None:
        check_present(labels, "labels")
        classes = to_array(labels)
        if classes.shape != (len(texts),):
            raise InputError(f"expected {len(texts)} labels, one class for each text, got the shape {classes.shape}")
    encoded = encode_unmarked(model, tokenizer, texts, max_tokens)
    kept = [number for number, text in enumerate(encoded) if content_ids(text).size]
    if len(kept) < 2:
        raise InputError(f"measures of neurons need at least 2 texts with words, got {len(kept)}")
    encoded = [encoded[number] for number in kept]
    vectors = None if encoder is None else _token_vectors(*encoder, encoded)
    gathered = _gather(model, encoded, site or get_neuron_site(model), np.random.default_rng(seed), vectors)
    statistics, by_neuron = gathered.statistics, gathered.measure_single_neurons()
    by_class: dict[str, Any] = {}
    if classes is not None:
        by_class = _measure_by_class(gathered.largest, classes[kept], by_neuron, seed)
    by_vectors: dict[str, Any] = {}
    if gathered.similar is not None:
        by_neuron["vector_monosemanticity"] = gathered.similar.monosemanticity_score()
        by_vectors = {
            "vector_monosemanticity": _mean(by_neuron["vector_monosemanticity"], limits=(-1.0, 1.0)),
            "vector_monosemanticity_by_chance": gathered.similar.mean_similarity(),
        }
    by_features: dict[str, Any] = {}
    if autoencoders and (gathered.sample != gathered.sample[0]).any():
        by_features = _count_features(gathered.sample, range(seed, seed + autoencoders))
    return NeuronMeasures(
        site=gathered.site,
        neurons=len(statistics.lowest),
        texts=len(kept),
        tokens=statistics.tokens,
        monosemanticity=_mean(by_neuron["monosemanticity"]),
        monosemanticity_by_chance=statistics.mean_similarity(),
        token_entropy=_mean(by_neuron["token_entropy"]),
        token_entropy_by_chance=gathered.mean_shuffled_entropy(),
        active=bootstrap_mean(gathered.active, gathered.counts, limits=(0.0, float(len(statistics.lowest)))),
        dead=bootstrap_mean(statistics.active_share() == 0, limits=SHARE),
        neuron_sparsity=_mean(by_neuron["neuron_sparsity"]),
        token_sparsity=bootstrap_mean(gathered.token_sparsity, gathered.counts, limits=SHARE),
        by_neuron=by_neuron,
        **by_class,
        **by_vectors,
        **by_features,
    )


@dataclass
class _Gathered:
    """What one run of the model over the texts left behind; every array has the texts on its first axis."""

    site: str
    statistics: NeuronStatistics
    shuffled: list[NeuronStatistics]
    largest: Float[np.ndarray, "text neuron"]
    active: Float[np.ndarray, " text"]
    token_sparsity: Float[np.ndarray, " text"]
    counts: Int[np.ndarray, " text"]
    sample: Float[np.ndarray, "token neuron"]
    similar: NeuronStatistics | None
    """By the vectors of words; None without."""

    def measure_single_neurons(self) -> dict[str, Float[np.ndarray, " neuron"]]:
        return {
            "monosemanticity": self.statistics.monosemanticity_score(),
            "token_entropy": self.statistics.token_entropy(normalized=True),
            "active_share": self.statistics.active_share(),
            "neuron_sparsity": self.statistics.neuron_sparsity(),
        }

    def mean_shuffled_entropy(self) -> float:
        return _nan_mean(np.concatenate([shuffled.token_entropy(normalized=True) for shuffled in self.shuffled]))


def _gather(
    model: PreTrainedModel,
    texts: Sequence[EncodedText],
    site: str,
    rng: np.random.Generator,
    vectors: Sequence[Float[np.ndarray, "_ dimension"]] | None,
) -> _Gathered:
    ids = [content_ids(text) for text in texts]
    counts = np.array([len(row) for row in ids])
    shuffles = [_shuffle(ids, rng) for _ in range(TOKEN_SHUFFLES)]
    is_sampled = sample_tokens(counts, rng)
    statistics, shuffled = NeuronStatistics(), [NeuronStatistics() for _ in shuffles]
    similar = None if vectors is None else NeuronStatistics()
    largest: dict[int, NDArray] = {}
    active, sparsity, sample = np.zeros(len(texts)), np.zeros(len(texts)), list[NDArray]()
    for numbers, name, rows in iter_activations(model, texts, site):
        site, values = name, np.concatenate(rows)
        statistics.update(values, np.concatenate([ids[number] for number in numbers]))
        for one, shuffle in zip(shuffled, shuffles, strict=True):
            one.update(values, np.concatenate([shuffle[number] for number in numbers]))
        if similar is not None and vectors is not None:
            units = np.concatenate([vectors[number] for number in numbers])
            similar.update(values, np.zeros(len(values)), vectors=units)
        for number, row in zip(numbers, rows, strict=True):
            rectified = rectify_activations(row)
            largest[number] = rectified.max(axis=0)
            active[number] = np.count_nonzero(rectified, axis=1).mean()
            sparsity[number] = np.nan_to_num(hoyer_sparsity(rectified, axis=1)).mean()
            sample.append(row[is_sampled[number]])
    rows = [largest[number] for number in range(len(texts))]
    return _Gathered(
        site, statistics, shuffled, np.stack(rows), active, sparsity, counts, np.concatenate(sample), similar
    )


def _token_vectors(
    encoder: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[EncodedText]
) -> list[Float[np.ndarray, "_ dimension"]]:
    """The vector of each token's word."""
    return [
        vectors[[word for word in text.word_of_token if word is not None]]
        for text, vectors in zip(texts, word_vectors(encoder, tokenizer, texts), strict=True)
    ]


def _measure_by_class(
    largest: Float[np.ndarray, "text neuron"], classes: NDArray, by_neuron: dict[str, NDArray], seed: int
) -> dict[str, Any]:
    null = permutation_null(_class_measures, largest, classes, seed=seed)
    separability, selectivity, single_class = null.observed
    by_neuron |= {"class_separability": separability, "class_selectivity": selectivity}
    return {
        "class_separability": _mean(separability),
        "class_separability_by_chance": _nan_mean(null.null[0]),
        "class_selectivity": _mean(selectivity),
        "class_selectivity_by_chance": _nan_mean(null.null[1]),
        "single_class": _mean(single_class),
        "single_class_by_chance": _nan_mean(null.null[2]),
    }


def _class_measures(largest: Float[np.ndarray, "text neuron"], classes: NDArray) -> Float[np.ndarray, "measure neuron"]:
    """Class separability, class selectivity index, and whether each neuron answers to one class."""
    statistics = gather_class_statistics(largest, classes)
    index = statistics.class_selectivity_index()
    return np.stack([statistics.class_separability(), index, answers_to_one_class(index)])


def _count_features(sample: Float[np.ndarray, "token neuron"], seeds: Sequence[int]) -> dict[str, Any]:
    first = train_sparse_autoencoder(sample, seed=seeds[0])
    others = [train_sparse_autoencoder(sample, active=first.active, seed=seed) for seed in seeds[1:]]
    counted = [effective_features(sample, autoencoder) for autoencoder in (first, *others)]
    ratios = [count.ratio for count in counted]
    mean = seed_mean(ratios, most=LATENTS_PER_NEURON) if others else Estimate(ratios[0], ratios[0], ratios[0])
    return {"effective_features": mean, "unexplained": float(np.mean([count.unexplained for count in counted]))}


def _mean(values: Float[np.ndarray, " neuron"], limits: tuple[float, float] = SHARE) -> Estimate | None:
    """Mean over neurons; None where fewer than two neurons have a value."""
    return mean_over_neurons(values, limits=limits) if np.count_nonzero(~np.isnan(values)) >= 2 else None


def _nan_mean(values: Float[np.ndarray, " neuron"]) -> float:
    """Mean of the values that are there; NaN where none is."""
    there = values[~np.isnan(values)]
    return float(there.mean()) if there.size else float("nan")


def _shuffle(ids: Sequence[NDArray], rng: np.random.Generator) -> list[NDArray]:
    """The texts' tokens, each somewhere in any of the texts."""
    return np.split(rng.permutation(np.concatenate(ids)), np.cumsum([len(row) for row in ids])[:-1])
