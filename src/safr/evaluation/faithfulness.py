"""Scores per word in; how the prediction follows when the words go in their order, text by text, out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

from safr.attribution.words import Scores
from safr.data.encoding import EncodedText
from safr.evaluation.removal import RemovalOutcome, Remover, WordSet
from safr.evaluation.srs import DELETION_PERCENTS, MAIN_PERCENT, count_deleted, rank_words

ERASER_PERCENTS = (1, 5, 10, 20, 50)
"""The k of comprehensiveness and sufficiency, ERASER's."""


MAX_DELETION_STEPS = 32
"""Words go one by one in texts of up to so many that may go; in longer ones in so many even steps."""


_TEXTS_TOGETHER = 64
"""Texts whose answers are in memory at once."""


MetricValues = dict[str, NDArray[np.float64]]
"""One value for each text, by metric; NaN where a text has none."""


BEAM_WIDTH = 5
"""Sets of words that the search goes on with, as in Edin et al. 2025."""


MIN_AOPC_RANGE = 1e-4
"""Under so much between the least and the greatest AOPC the quotient would be rounding."""


def faithfulness(
    remover: Remover,
    texts: Sequence[EncodedText],
    labels: Sequence[int],
    classes: Sequence[int],
    scores: Mapping[str, Scores],
    *,
    one_by_one: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, MetricValues]:
    r"""How the prediction follows when words go in the order of their scores.

    With p(x) the probability of the class that is predicted for the whole text, and x without the n highest words
    written $x \setminus n$:

    - comprehensiveness: mean over k of $p(x) - p(x \setminus n_k)$; sufficiency: mean over k of p(x) less p of the n_k
      highest words alone; k = 1, 5, 10, 20, 50 %. Source: DeYoung et al. 2020 (ERASER), section 5. The mean is over the
      five k, as in ERASER's code; its paper also counts k = 0, whose term is 0, and so prints 5/6 of it.
    - AOPC: mean over n of $p(x) - p(x \setminus n)$, n from 1 to all words but the one that stays. Source: Samek et al.
      2017. What is left when no word is, is the same in every order and is left out.
    - `srs` and `without_k`: whether the prediction is right, before and after; the paper's SRS(k) is the mean of
      before - after. Source: SAFR (Chang et al. 2025), section 4.
    - `first_flip` and `words_to_flip`: DFMIT and DFFOT of Chrysostomou and Aletras 2021 (ACL), section 4.
    - `leave_one_out`: Kendall's tau-b with $p(x) - p(x \setminus i)$ for each word i; 0 where one of both is constant.

    Args:
        remover: Removes words and asks the model.
        texts: Encoded texts.
        labels: The right class of each text.
        classes: The class that is predicted for each whole text.
        scores: Scores by the method's name.
        one_by_one: Also measure what needs words to go one by one: AOPC, flips, leave-one-out, and SRS at every k.
        progress: Called with the number of texts that are done and the number there are.

    Returns:
        By method and metric, (text,): NaN where a text has no two words.
    """
    found: dict[str, list[dict[str, float]]] = {name: [] for name in scores}
    for start in range(0, len(texts), _TEXTS_TOGETHER):
        numbers = range(start, min(start + _TEXTS_TOGETHER, len(texts)))
        orders = [{name: _Order(texts[n], each[n], one_by_one) for name, each in scores.items()} for n in numbers]
        asked = [{words for each in own.values() for words in each.needed()} for own in orders]
        answers = remover.answers([texts[n] for n in numbers], asked, [classes[n] for n in numbers])
        for number, own, known in zip(numbers, orders, answers, strict=True):
            for name, order in own.items():
                found[name].append(order.measured(known, classes[number], labels[number]))
        if progress is not None:
            progress(numbers[-1] + 1, len(texts))
    return {
        name: {metric: np.array([row[metric] for row in rows]) for metric in rows[0]} for name, rows in found.items()
    }


def search_aopc_bounds(
    remover: Remover,
    texts: Sequence[EncodedText],
    classes: Sequence[int],
    *,
    beam: int = BEAM_WIDTH,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.float64]:
    """Least and greatest AOPC of each text over the orders that a beam search finds, (2, text).

    Each step takes one more word out; of all sets that can be reached, the `beam` with the lowest (or highest) sum of
    probabilities so far stay, and of two ways to the same set the better one. With a beam of all sets it is exact.

    Source: Edin et al. 2025 (ACL, "Normalized AOPC"), section 4, for NAOPC = (AOPC - least) / (greatest - least).

    Args:
        remover: Removes words and asks the model.
        texts: Encoded texts; the cost grows with the square of their length.
        classes: The class that is predicted for each whole text.
        beam: How many sets stay at each step.
        progress: Called with how many words are out and how many there are in the longest text.

    Returns:
        NaN for a text without two words.
    """
    whole = np.array(
        [each[frozenset()].probability for each in remover.answers(texts, [[frozenset()]] * len(texts), classes)]
    )
    counts = np.array([_removable(text) for text in texts])
    # The least AOPC keeps the probabilities as high as can be, the greatest as low.
    sums = [_extreme_sums(remover, texts, classes, sign, beam, progress) for sign in (1, -1)]
    return np.stack([np.where(counts > 0, whole - each / np.maximum(counts, 1), np.nan) for each in sums])


def normalized_aopc(
    aopc: NDArray[np.float64], least: NDArray[np.float64], greatest: NDArray[np.float64]
) -> NDArray[np.float64]:
    """AOPC between the least, which becomes 0, and the greatest, which becomes 1, (text,).

    NaN where there is no room between both, as where a prediction is so sure that no order changes it.
    """
    room = greatest - least
    return np.divide(aopc - least, room, out=np.full(len(aopc), np.nan), where=room > MIN_AOPC_RANGE)


@dataclass(frozen=True)
class _Order:
    """The order in which one method takes words out of one text."""

    text: EncodedText
    scores: NDArray[np.float64]
    one_by_one: bool

    @cached_property
    def words(self) -> list[int]:
        """The words that may go, the highest first."""
        return rank_words(self.scores, text_of_word=self.text.text_of_word)

    def without(self, count: int) -> WordSet:
        return frozenset(self.words[:count])

    def alone(self, count: int) -> WordSet:
        return frozenset(range(len(self.text.words))) - self.without(count)

    def count(self, percent: float) -> int:
        size = len(self.text.words)
        return count_deleted(size, percent, texts=size - len(self.words))

    @property
    def steps(self) -> list[int]:
        """How many words are gone at each step, from 1 to all that may go."""
        return sorted(
            {round(part) for part in np.linspace(1, len(self.words), min(len(self.words), MAX_DELETION_STEPS))}
        )

    def needed(self) -> Iterator[WordSet]:
        """Every set of words that the metrics ask the model about."""
        yield frozenset()
        for percent in (*ERASER_PERCENTS, MAIN_PERCENT):
            yield self.without(self.count(percent))
        for percent in ERASER_PERCENTS:
            yield self.alone(self.count(percent))
        if self.one_by_one:
            yield from (self.without(self.count(percent)) for percent in DELETION_PERCENTS)
            yield from (self.without(count) for count in self.steps)
            yield from self.each_alone()

    def each_alone(self) -> list[WordSet]:
        return [frozenset({word}) for word in range(len(self.text.words))] if self.words else []

    def measured(self, answers: Mapping[WordSet, RemovalOutcome], chosen: int, label: int) -> dict[str, float]:
        """Every metric of this text."""
        whole = answers[frozenset()].probability

        def fall(words: WordSet) -> float:
            return whole - answers[words].probability

        def right(percent: float) -> float:
            return float(answers[self.without(self.count(percent))].prediction == label)

        before = float(answers[frozenset()].prediction == label)
        found = {"before": before, f"without_{MAIN_PERCENT}": right(MAIN_PERCENT)}
        found["srs"] = before - found[f"without_{MAIN_PERCENT}"]
        counts = [self.count(percent) for percent in ERASER_PERCENTS]
        found["comprehensiveness"] = _mean([fall(self.without(count)) for count in counts if count])
        found["sufficiency"] = _mean([fall(self.alone(count)) for count in counts if count])
        if not self.one_by_one:
            return found
        flipped = [count for count in self.steps if answers[self.without(count)].prediction != chosen]
        costs = [fall(words) for words in self.each_alone()]
        return found | {
            **{f"without_{percent}": right(percent) for percent in DELETION_PERCENTS},
            "aopc": _mean([fall(self.without(count)) for count in self.steps]),
            "first_flip": float(flipped[:1] == [1]) if self.words else np.nan,
            "words_to_flip": min(flipped, default=len(self.text.words)) / len(self.text.words)
            if self.words
            else np.nan,
            "leave_one_out": float(np.nan_to_num(kendalltau(self.scores, costs).statistic)) if costs else np.nan,
        }


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else np.nan


def _extreme_sums(
    remover: Remover,
    texts: Sequence[EncodedText],
    classes: Sequence[int],
    sign: int,
    beam: int,
    progress: Callable[[int, int], None] | None,
) -> NDArray[np.float64]:
    """The highest sum of probabilities that an order of each text's words has, or with -1 the lowest, (text,)."""
    # By text, the sets that are gone on with, and sign times the sum on the best way there.
    reached: list[dict[WordSet, float]] = [{frozenset(): 0.0} for _ in texts]
    steps = max((_removable(text) for text in texts), default=0)
    for step in range(1, steps + 1):
        going = [number for number, text in enumerate(texts) if _removable(text) >= step]
        wider = [{more for words in reached[number] for more in _one_more(texts[number], words)} for number in going]
        answers = remover.answers([texts[number] for number in going], wider, [classes[number] for number in going])
        for number, known in zip(going, answers, strict=True):
            gains = {words: sign * answer.probability for words, answer in known.items()}
            reached[number] = _best(texts[number], reached[number], gains, beam)
        if progress is not None:
            progress(step, steps)
    return sign * np.array([max(each.values()) for each in reached])


def _best(
    text: EncodedText, reached: dict[WordSet, float], gains: dict[WordSet, float], beam: int
) -> dict[WordSet, float]:
    """The sets of one word more with the highest sums, each by the best way to it."""
    longer: dict[WordSet, float] = {}
    for words, total in reached.items():
        for more in _one_more(text, words):
            longer[more] = max(total + gains[more], longer.get(more, -np.inf))
    ranking = sorted(longer, key=lambda words: (-longer[words], sorted(words)))
    return {words: longer[words] for words in ranking[:beam]}


def _one_more(text: EncodedText, words: WordSet) -> list[WordSet]:
    """Every set with one word more that leaves each of the texts a word."""
    owners = text.text_of_word
    left = [word for word in range(len(owners)) if word not in words]
    last = {owner for owner in owners if sum(owners[word] == owner for word in left) == 1}
    return [words | {word} for word in left if owners[word] not in last]


def _removable(text: EncodedText) -> int:
    return len(text.words) - len(set(text.text_of_word))
