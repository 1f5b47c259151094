"""Computing a benchmark's metrics, part by part: every metric of every method on every text.

What takes long is kept in the run's folder as soon as it is done, so that a benchmark that was stopped goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

from safr.attribution.registry import ABSOLUTE_PREFIX, get_method, is_method
from safr.attribution.words import Scores, random_scores
from safr.data.encoding import EncodedText
from safr.data.rationales import find_negated_pairs
from safr.evaluation.benchmark_data import BenchmarkData
from safr.evaluation.causal import CausalSetup, causal_effects
from safr.evaluation.faithfulness import faithfulness, normalized_aopc, search_aopc_bounds
from safr.evaluation.neuron_allocation import record_allocation
from safr.evaluation.per_text_results import ResultTable, merge_tables, read_results, write_results
from safr.evaluation.plausibility import pair_auroc, plausibility
from safr.evaluation.removal import Removal, Remover, replacement_id
from safr.evaluation.sanity_checks import confound_correlations, shuffled_weights
from safr.evaluation.statistics import rank_correlations
from safr.model.regularizer import get_explaining_site
from safr.processes import share_texts
from safr.progress import PartProgress

REFERENCE_METHOD = "capacity"
"""The method that the others are compared with, and whose neurons are intervened on."""

RANDOM_ORDERS = 2
"""Random orders whose values are averaged."""

SHUFFLES = 5
"""Times that the weights are shuffled; what one shuffle says depends on its seed."""

CACHE_VERSION = 4
"""Changes whenever values are computed in another way, so that older ones are not taken for new ones."""


def compute_metrics(
    data: BenchmarkData,
    scores: Mapping[str, Scores],
    removers: Mapping[Removal, Remover],
    folder: Path,
    progress: PartProgress,
) -> ResultTable:
    """Every metric of every method on every text.

    Args:
        data: The model and its texts.
        scores: Scores by the method's name; random ones are added.
        removers: What removes words, by the way it does, `delete` among them.
        folder: Where values are kept, method by method, as soon as they are there.
        progress: Called as it goes on.
    """
    seed = data.source.seed  # other draws for other seeds, or chance would be known too well over seeds
    random = {f"random.{draw}": random_scores(data.texts, (seed, draw)) for draw in range(RANDOM_ORDERS)}
    all_scores = {**scores, **random}
    common = f"{CACHE_VERSION} {data.fingerprint}"
    keys = {
        name: f"{common} {sha256(np.concatenate(values).tobytes()).hexdigest()}" for name, values in all_scores.items()
    }
    cache = _ResultCache(folder, data.numbers)
    removed = {
        how: cache.complete(how, keys, partial(_remove_words, data, all_scores, remover, progress))
        for how, remover in removers.items()
    }
    costly = "" if data.costly_texts is None else f" {data.costly_texts}"
    costly_key = common + costly
    bounds = cache.complete("extremes", {"all": costly_key}, lambda _: _bound_aopc(data, removers["delete"], progress))
    marks = b"|".join(b"" if rationale is None else rationale.tobytes() for rationale in data.rationales)
    marked_keys = {name: f"{key} {sha256(marks).hexdigest()}" for name, key in keys.items()}
    method_keys = {
        name: keys[name] + costly for name in scores if is_method(name) and not name.startswith(ABSOLUTE_PREFIX)
    }
    tables = [
        *removed.values(),
        _normalize_aopc(removed["delete"], bounds),
        cache.complete("words", marked_keys, partial(_judge_scores, data, all_scores)),
        cache.complete("randomization", method_keys, partial(_randomize_weights, data, scores, progress)),
        _correlate_random(data, random),
        cache.complete("cause", {REFERENCE_METHOD: costly_key}, lambda _: _measure_causes(data, progress)),
    ]
    if data.source.data == "planted":
        allocations = record_allocation(data.model, data.texts, get_explaining_site(data.model))
        interferences = [allocation.interference for allocation in allocations]
        pairs = pair_auroc(interferences, find_negated_pairs(data.texts))
        tables.append({(REFERENCE_METHOD, ""): {"pairs": pairs}})
    return _average_random(merge_tables(tables))


@dataclass(frozen=True)
class _ResultCache:
    """Values that are kept in a folder, method by method."""

    folder: Path
    numbers: Sequence[int]
    """Numbers of the texts."""

    def complete(self, part: str, keys: Mapping[str, str], compute: Callable[[list[str]], ResultTable]) -> ResultTable:
        """One part of the values: what is kept, and what is computed for the methods that nothing is kept of.

        Args:
            part: Name of the part, a folder.
            keys: By method, what its values depend on.
            compute: Computes the values of some methods.
        """
        files = {name: self.folder / part / f"{name}.parquet" for name in keys}
        kept = {name: read_results(file, self.numbers, keys[name]) for name, file in files.items()}
        missing = [name for name, values in kept.items() if values is None]
        computed = compute(missing) if missing else {}
        for name in missing:
            # What goes with a method without being asked for itself is kept with it.
            names = {name} | ({ABSOLUTE_PREFIX + name} - keys.keys())
            table = {place: values for place, values in computed.items() if place[0] in names}
            write_results(files[name], table, self.numbers, keys[name])
        return merge_tables([*(values for values in kept.values() if values is not None), computed])


def _judge_scores(data: BenchmarkData, scores: Mapping[str, Scores], names: Sequence[str]) -> ResultTable:
    """What can be said of scores without asking the model."""
    table = {(name, ""): confound_correlations(data.texts, scores[name]) for name in names}
    if any(rationale is not None for rationale in data.rationales):
        for name in names:
            table[name, ""] |= plausibility(scores[name], data.rationales)
    return table


def _remove_words(
    data: BenchmarkData, scores: Mapping[str, Scores], remover: Remover, progress: PartProgress, names: Sequence[str]
) -> ResultTable:
    values_by_method = faithfulness(
        remover,
        data.texts,
        data.labels,
        data.classes.tolist(),
        {name: scores[name] for name in names},
        one_by_one=remover.how == "delete",
        progress=progress(f"removing words: {remover.how}"),
    )
    return {(name, remover.how): values for name, values in values_by_method.items()}


def _bound_aopc(data: BenchmarkData, remover: Remover, progress: PartProgress) -> ResultTable:
    """The least and the greatest AOPC that a search finds."""
    subset = data.choose_subset("naopc")
    texts, classes = [data.texts[position] for position in subset], data.classes[subset].tolist()
    least, greatest = search_aopc_bounds(remover, texts, classes, progress=progress("best and worst orders"))
    return {("all", "delete"): {"least": data.scatter(least, subset), "greatest": data.scatter(greatest, subset)}}


def _normalize_aopc(deleted: ResultTable, bounds: ResultTable) -> ResultTable:
    """NAOPC: where AOPC lies between the least and the greatest that the search, or any of the methods, finds."""
    aopc = np.stack([values["aopc"] for values in deleted.values()])  # (method, text)
    searched = bounds.get(("all", "delete"), {})  # empty where no text is short enough
    nothing = np.full(aopc.shape[1], np.nan)
    least = np.minimum(searched.get("least", nothing), aopc.min(axis=0))
    greatest = np.maximum(searched.get("greatest", nothing), aopc.max(axis=0))
    return {place: {"naopc": normalized_aopc(values["aopc"], least, greatest)} for place, values in deleted.items()}


def _randomize_weights(
    data: BenchmarkData, scores: Mapping[str, Scores], progress: PartProgress, names: Sequence[str]
) -> ResultTable:
    """How far each method says the same about models that know nothing: the mean size of the correlation."""
    subset = data.choose_subset("randomization")
    texts = [data.texts[position] for position in subset]
    correlations: dict[str, list[NDArray[np.float64]]] = {}
    report = progress("shuffling weights")
    for seed in range(SHUFFLES):
        report(seed, SHUFFLES)
        for name, shuffled in _score_shuffled(data.model, texts, names, seed).items():
            learnt = [scores[name][position] for position in subset]
            compared = [(name, learnt, shuffled)]
            if get_method(name).signed:  # its sizes need not be asked for again
                compared.append((ABSOLUTE_PREFIX + name, _absolute(learnt), _absolute(shuffled)))
            for method, one, other in compared:
                correlations.setdefault(method, []).append(np.abs(rank_correlations(one, other)))
    return {
        (name, ""): {"randomization": data.scatter(np.mean(values, axis=0), subset)}
        for name, values in correlations.items()
    }


@share_texts("texts")
def _score_shuffled(
    model: PreTrainedModel, texts: Sequence[EncodedText], names: Sequence[str], seed: int
) -> dict[str, Scores]:
    """Each method's scores of the texts by the model with shuffled weights."""
    with shuffled_weights(model, seed):
        return {name: get_method(name).score(model, texts) if texts else [] for name in names}


def _absolute(scores: Scores) -> Scores:
    return [np.abs(values) for values in scores]


def _correlate_random(data: BenchmarkData, random: Mapping[str, Scores]) -> ResultTable:
    """The same of scores that have nothing to do with each other: much in short texts, 1 in those of two words."""
    subset = data.choose_subset("randomization")
    texts = [data.texts[position] for position in subset]
    others = [random_scores(texts, (SHUFFLES, shuffle)) for shuffle in range(SHUFFLES)]
    table = {}
    for name, scores in random.items():
        chosen = [scores[position] for position in subset]
        correlations = [np.abs(rank_correlations(chosen, other)) for other in others]
        table[name, ""] = {"randomization": data.scatter(np.mean(correlations, axis=0), subset)}
    return table


def _measure_causes(data: BenchmarkData, progress: PartProgress) -> ResultTable:
    subset, site = data.choose_subset("cause"), get_explaining_site(data.model)
    if not subset or not site.startswith("fc1."):  # vectors after the activation are not changed
        return {}
    progress("ablating neurons")(0, 1)
    texts = [data.texts[position] for position in subset]
    setup = CausalSetup(data.model, texts, data.classes[subset], site)
    effects = causal_effects(setup, replacement_id(data.tokenizer))
    return {(REFERENCE_METHOD, ""): {name: data.scatter(values, subset) for name, values in effects.items()}}


def _average_random(table: ResultTable) -> ResultTable:
    """The table with the mean of the random draws in their place."""
    averaged = {place: values for place, values in table.items() if not place[0].startswith("random.")}
    for how in dict.fromkeys(how for _, how in table):
        draws = [values for (name, removal), values in table.items() if name.startswith("random.") and removal == how]
        if draws:
            averaged["random", how] = {
                metric: np.mean([values[metric] for values in draws], axis=0) for metric in draws[0]
            }
    return averaged
