"""A subject and the scores of several methods in; every metric of every text out, part by part.

What takes long is kept in the run's folder as soon as it is done, so that a benchmark that was stopped goes on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from safr.attribution.methods import is_method, method
from safr.attribution.scores import Scores, random_scores
from safr.data.rationales import planted_pairs
from safr.evaluation.cause import Watched, cause, show
from safr.evaluation.faithfulness import faithfulness
from safr.evaluation.limits import aopc_limits
from safr.evaluation.plausibility import pairs_found, plausibility
from safr.evaluation.removal import Removal, remover, stand_in
from safr.evaluation.subject import Subject
from safr.evaluation.suspicion import randomization, shuffle_weights, suspicion
from safr.evaluation.values import Table, merged, read_values, write_values
from safr.model.attachment import explaining_site
from safr.model.saving import load

SUBJECT = "capacity"
"""The method that the others are compared with, and whose neurons are intervened on."""

RANDOM_DRAWS = 5
"""Random orders whose values are averaged."""

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


def measure(
    subject: Subject, scores: Mapping[str, Scores], removals: Sequence[Removal], folder: Path, progress: Progress
) -> Table:
    """Every metric of every method on every text.

    Args:
        subject: The model and its texts.
        scores: Scores by the method's name; random ones are added.
        removals: How words are removed, `delete` among them.
        folder: Where parts are kept that are done.
        progress: Called as it goes on.
    """
    draws = {f"random.{seed}": random_scores(subject.texts, seed) for seed in range(RANDOM_DRAWS)}
    everything = {**scores, **draws}
    key = _key(subject, everything)

    def part(name: str, make: Callable[[], Table]) -> Table:
        path = folder / f"part_{name}.parquet"
        if (kept := read_values(path, subject.numbers, key)) is not None:
            return kept
        made = make()
        write_values(path, made, subject.numbers, key)
        return made

    removed = {how: part(how, partial(_removed, subject, everything, how, progress)) for how in removals}
    tables = [
        *removed.values(),
        part("naopc", partial(_normalized, subject, removed["delete"], progress)),
        {(name, ""): suspicion(subject.texts, each) for name, each in everything.items()},
        part("randomization", partial(_randomized, subject, scores, progress)),
        part("cause", partial(_caused, subject, progress)),
    ]
    if any(each is not None for each in subject.rationales):
        tables.append({(name, ""): plausibility(each, subject.rationales) for name, each in everything.items()})
    if subject.run.settings.data == "planted":
        shown = show(subject.model, subject.texts, explaining_site(subject.model))
        found = pairs_found([each.interference for each in shown], planted_pairs(subject.texts))
        tables.append({(SUBJECT, ""): {"pairs": found}})
    return _random_averaged(merged(tables))


def _key(subject: Subject, scores: Mapping[str, Scores]) -> str:
    """Changes with the texts and the scores that a part was made of."""
    digest = hashlib.sha256(json.dumps([list(scores), subject.numbers]).encode())
    for each in scores.values():
        digest.update(np.concatenate(each).tobytes())
    return digest.hexdigest()


def _removed(subject: Subject, scores: Mapping[str, Scores], how: Removal, progress: Progress) -> Table:
    found = faithfulness(
        remover(subject.model, how, subject.tokenizer, subject.texts),
        subject.texts,
        subject.labels,
        subject.classes.tolist(),
        scores,
        one_by_one=how == "delete",
        progress=partial(progress, f"removing words: {how}"),
    )
    return {(name, how): values for name, values in found.items()}


def _normalized(subject: Subject, deleted: Table, progress: Progress) -> Table:
    """NAOPC: where AOPC lies between the least and the greatest that there is."""
    few = subject.few("naopc")
    words = remover(subject.model, "delete", subject.tokenizer, subject.texts)
    texts, classes = [subject.texts[place] for place in few], subject.classes[few].tolist()
    least, greatest = aopc_limits(words, texts, classes, progress=partial(progress, "best and worst orders"))
    room = np.where(greatest > least, greatest - least, np.nan)
    return {
        place: {"naopc": subject.spread((values["aopc"][few] - least) / room, few)} for place, values in deleted.items()
    }


def _randomized(subject: Subject, scores: Mapping[str, Scores], progress: Progress) -> Table:
    """How far each method says the same about a model that knows nothing."""
    few, shuffled = subject.few("randomization"), load(subject.run.model_folder)
    shuffle_weights(shuffled)
    texts = [subject.texts[place] for place in few]
    names = [name for name in scores if is_method(name)]  # a file can't be asked about another model
    table: Table = {}
    for done, name in enumerate(names):
        progress("shuffling weights", done, len(names))
        values = randomization(shuffled, texts, [scores[name][place] for place in few], method(name).score)
        table[name, ""] = {"randomization": subject.spread(values, few)}
    return table


def _caused(subject: Subject, progress: Progress) -> Table:
    few, site = subject.few("cause"), explaining_site(subject.model)
    if not few or not site.startswith("fc1."):  # vectors after the activation are not changed
        return {}
    progress("ablating neurons", 0, 1)
    texts = [subject.texts[place] for place in few]
    found = cause(Watched(subject.model, texts, subject.classes[few], site), stand_in(subject.tokenizer))
    return {(SUBJECT, ""): {name: subject.spread(values, few) for name, values in found.items()}}


def _random_averaged(table: Table) -> Table:
    """The same with the mean of the random draws in their place."""
    kept = {place: values for place, values in table.items() if not place[0].startswith("random.")}
    for how in dict.fromkeys(how for _, how in table):
        draws = [values for (name, own), values in table.items() if name.startswith("random.") and own == how]
        if draws:
            kept["random", how] = {metric: np.mean([each[metric] for each in draws], axis=0) for metric in draws[0]}
    return kept
