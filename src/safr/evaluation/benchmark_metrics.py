"""A subject and the scores of several methods in; every metric of every text out, part by part.

What takes long is kept in the run's folder as soon as it is done, so that a benchmark that was stopped goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from safr.attribution.registry import ABSOLUTE_PREFIX, get_method, is_method
from safr.attribution.words import Scores, random_scores
from safr.data.rationales import find_planted_pairs
from safr.evaluation.benchmark_data import BenchmarkData
from safr.evaluation.causal import CausalSetup, causal_effects
from safr.evaluation.faithfulness import faithfulness, normalized_aopc, search_aopc_bounds
from safr.evaluation.neuron_allocation import record_allocation
from safr.evaluation.per_text_results import ResultTable, merge_tables, read_results, write_results
from safr.evaluation.plausibility import pair_auroc, plausibility
from safr.evaluation.removal import Removal, Remover, replacement_id
from safr.evaluation.sanity_checks import confound_correlations, shuffle_weights
from safr.evaluation.statistics import rank_correlations
from safr.model.regularizer import get_explaining_site

REFERENCE_METHOD = "capacity"
"""The method that the others are compared with, and whose neurons are intervened on."""

RANDOM_ORDERS = 2
"""Random orders whose values are averaged."""

SHUFFLES = 5
"""Models with shuffled weights that a method is asked about; what one of them says depends on its seed."""

CACHE_VERSION = 2
"""Changes whenever values are computed in another way, so that those of before are not taken for new ones."""

StepProgress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


def compute_metrics(
    subject: BenchmarkData,
    scores: Mapping[str, Scores],
    removers: Mapping[Removal, Remover],
    folder: Path,
    progress: StepProgress,
) -> ResultTable:
    """Every metric of every method on every text.

    Args:
        subject: The model and its texts.
        scores: Scores by the method's name; random ones are added.
        removers: What removes words, by the way it does, `delete` among them.
        folder: Where values are kept, method by method, as soon as they are there.
        progress: Called as it goes on.
    """
    seed = subject.run.settings.recipe.seed  # other draws for other seeds, or chance would be known too well over seeds
    draws = {f"random.{draw}": random_scores(subject.texts, (seed, draw)) for draw in range(RANDOM_ORDERS)}
    everything = {**scores, **draws}
    common = f"{CACHE_VERSION} {subject.fingerprint}"
    keys = {name: f"{common} {sha256(np.concatenate(each).tobytes()).hexdigest()}" for name, each in everything.items()}

    def kept(name: str, keys: Mapping[str, str], make: Callable[[list[str]], ResultTable]) -> ResultTable:
        """What is known already, and what is made of the methods that it is not known of."""
        files = {each: folder / name / f"{each}.parquet" for each in keys}
        known = {each: read_results(file, subject.numbers, keys[each]) for each, file in files.items()}
        missing = [each for each, values in known.items() if values is None]
        made = make(missing) if missing else {}
        for each in missing:
            # What goes with a method without being asked for itself is kept with it.
            names = {each} | ({ABSOLUTE_PREFIX + each} - keys.keys())
            own = {place: values for place, values in made.items() if place[0] in names}
            write_results(files[each], own, subject.numbers, keys[each])
        return merge_tables([*(values for values in known.values() if values is not None), made])

    removed = {
        how: kept(how, keys, partial(_removed, subject, everything, words, progress)) for how, words in removers.items()
    }
    extremes = kept("extremes", {"all": common}, lambda _: _extremes(subject, removers["delete"], progress))
    marks = sha256(b"|".join(b"" if each is None else each.tobytes() for each in subject.rationales)).hexdigest()
    marked = {name: f"{key} {marks}" for name, key in keys.items()}
    askable = {name: keys[name] for name in scores if is_method(name) and not name.startswith(ABSOLUTE_PREFIX)}
    tables = [
        *removed.values(),
        _normalized(removed["delete"], extremes),
        kept("words", marked, partial(_of_scores, subject, everything)),
        kept("randomization", askable, partial(_randomized, subject, scores, progress)),
        _unrelated(subject, draws),
        kept("cause", {REFERENCE_METHOD: common}, lambda _: _caused(subject, progress)),
    ]
    if subject.run.settings.data == "planted":
        shown = record_allocation(subject.model, subject.texts, get_explaining_site(subject.model))
        found = pair_auroc([each.interference for each in shown], find_planted_pairs(subject.texts))
        tables.append({(REFERENCE_METHOD, ""): {"pairs": found}})
    return _random_averaged(merge_tables(tables))


def _of_scores(subject: BenchmarkData, scores: Mapping[str, Scores], names: Sequence[str]) -> ResultTable:
    """What can be said of scores without asking the model."""
    found = {(name, ""): confound_correlations(subject.texts, scores[name]) for name in names}
    if any(each is not None for each in subject.rationales):
        for name in names:
            found[name, ""] |= plausibility(scores[name], subject.rationales)
    return found


def _removed(
    subject: BenchmarkData, scores: Mapping[str, Scores], words: Remover, progress: StepProgress, names: Sequence[str]
) -> ResultTable:
    found = faithfulness(
        words,
        subject.texts,
        subject.labels,
        subject.classes.tolist(),
        {name: scores[name] for name in names},
        one_by_one=words.how == "delete",
        progress=partial(progress, f"removing words: {words.how}"),
    )
    return {(name, words.how): values for name, values in found.items()}


def _extremes(subject: BenchmarkData, words: Remover, progress: StepProgress) -> ResultTable:
    """The least and the greatest AOPC that a search finds."""
    few = subject.few("naopc")
    texts, classes = [subject.texts[place] for place in few], subject.classes[few].tolist()
    least, greatest = search_aopc_bounds(words, texts, classes, progress=partial(progress, "best and worst orders"))
    return {("all", "delete"): {"least": subject.spread(least, few), "greatest": subject.spread(greatest, few)}}


def _normalized(deleted: ResultTable, extremes: ResultTable) -> ResultTable:
    """NAOPC: where AOPC lies between the least and the greatest that the search, or any of the methods, finds."""
    aopc = np.stack([values["aopc"] for values in deleted.values()])  # (method, text)
    found = extremes.get(("all", "delete"), {})  # empty where no text is short enough
    nothing = np.full(aopc.shape[1], np.nan)
    least = np.minimum(found.get("least", nothing), aopc.min(axis=0))
    greatest = np.maximum(found.get("greatest", nothing), aopc.max(axis=0))
    return {place: {"naopc": normalized_aopc(values["aopc"], least, greatest)} for place, values in deleted.items()}


def _randomized(
    subject: BenchmarkData, scores: Mapping[str, Scores], progress: StepProgress, names: Sequence[str]
) -> ResultTable:
    """How far each method says the same about models that know nothing: the mean size of the correlation."""
    few = subject.few("randomization")
    texts = [subject.texts[place] for place in few]
    found: dict[str, list[NDArray[np.float64]]] = {}
    for seed in range(SHUFFLES):
        progress("shuffling weights", seed, SHUFFLES)
        shuffled, _ = subject.run.load_model()
        shuffle_weights(shuffled, seed)
        for name in names:
            theirs = get_method(name).score(shuffled, texts) if texts else []
            own = [scores[name][place] for place in few]
            sizes = [(name, own, theirs)]
            if get_method(name).signed:  # its sizes need not be asked for again
                sizes.append(
                    (ABSOLUTE_PREFIX + name, [np.abs(each) for each in own], [np.abs(each) for each in theirs])
                )
            for each, ours, others in sizes:
                found.setdefault(each, []).append(np.abs(rank_correlations(ours, others)))
    return {
        (name, ""): {"randomization": subject.spread(np.mean(values, axis=0), few)} for name, values in found.items()
    }


def _unrelated(subject: BenchmarkData, draws: Mapping[str, Scores]) -> ResultTable:
    """The same of scores that have nothing to do with each other: much in short texts, 1 in those of two words."""
    few = subject.few("randomization")
    texts = [subject.texts[place] for place in few]
    others = [random_scores(texts, (SHUFFLES, shuffle)) for shuffle in range(SHUFFLES)]
    found = {}
    for name, scores in draws.items():
        own = [scores[place] for place in few]
        sizes = [np.abs(rank_correlations(own, each)) for each in others]
        found[name, ""] = {"randomization": subject.spread(np.mean(sizes, axis=0), few)}
    return found


def _caused(subject: BenchmarkData, progress: StepProgress) -> ResultTable:
    few, site = subject.few("cause"), get_explaining_site(subject.model)
    if not few or not site.startswith("fc1."):  # vectors after the activation are not changed
        return {}
    progress("ablating neurons", 0, 1)
    texts = [subject.texts[place] for place in few]
    found = causal_effects(
        CausalSetup(subject.model, texts, subject.classes[few], site), replacement_id(subject.tokenizer)
    )
    return {(REFERENCE_METHOD, ""): {name: subject.spread(values, few) for name, values in found.items()}}


def _random_averaged(table: ResultTable) -> ResultTable:
    """The same with the mean of the random draws in their place."""
    kept = {place: values for place, values in table.items() if not place[0].startswith("random.")}
    for how in dict.fromkeys(how for _, how in table):
        draws = [values for (name, own), values in table.items() if name.startswith("random.") and own == how]
        if draws:
            kept["random", how] = {metric: np.mean([each[metric] for each in draws], axis=0) for metric in draws[0]}
    return kept
