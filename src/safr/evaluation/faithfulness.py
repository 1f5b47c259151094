"""Faithfulness metrics: ERASER's comprehensiveness and sufficiency, AOPC, flips, and normalized AOPC (NAOPC)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.stats import kendalltau

from safr.attribution.words import Scores
from safr.data.encoding import EncodedText
from safr.data.splits import Label
from safr.evaluation.removal import RemovalOutcome, Remover, WordSet
from safr.evaluation.srs import DELETION_PERCENTS, MAIN_PERCENT, count_deleted, rank_words
from safr.evaluation.task_metrics import MAIN_METRICS, MainMetric
from safr.inference import get_task
from safr.processes import share_texts
from safr.progress import Progress

ERASER_PERCENTS = (1, 5, 10, 20, 50)
"""The k of comprehensiveness and sufficiency, as in ERASER."""

MAX_DELETION_STEPS = 32
"""Steps at most in which a text loses its words: one word a step in short texts, several in longer ones."""

BEAM_WIDTH = 5
"""Sets of words that the beam search keeps at every step, as in Edin et al. 2025."""

MIN_AOPC_RANGE = 1e-4
"""NAOPC is NaN unless the greatest and the least AOPC differ by more than this; it would be a quotient of rounding."""

MetricValues = dict[str, Float[np.ndarray, " text"]]
"""One value per text, by metric; NaN where a text has none."""

_TEXTS_TOGETHER = 64
"""Texts whose outcomes are in memory at once."""


@share_texts("texts", "labels", "classes", "scores")
def faithfulness(
    remover: Remover,
    texts: Sequence[EncodedText],
    labels: Sequence[Label],
    classes: Sequence[int],
    scores: Mapping[str, Scores],
    *,
    one_by_one: bool = True,
    progress: Progress | None = None,
) -> dict[str, MetricValues]:
    r"""Faithfulness by method and metric: how the prediction changes as words are removed in the order of their scores.

    Let p(x) be the probability of the class that is predicted for the whole text x, and $x \setminus n$ the text
    without its n highest words.

    - `comprehensiveness`: mean over k of $p(x) - p(x \setminus n_k)$. `sufficiency`: mean over k of p(x) minus p of the
      n_k highest words alone. n_k is k % of the words, and k is 1, 5, 10, 20 and 50. Source: DeYoung et al. 2020
      (ERASER), section 5. The mean is over the five k, as in ERASER's code. Its paper also counts k = 0, whose term is
      0, and so prints 5/6 of it.
    - `aopc`: mean over n of $p(x) - p(x \setminus n)$, with n from 1 to all words but the one that stays. The text
      without any word is the same in every order, so it is left out. Source: Samek et al. 2017.
    - `before` and `without_k`: 1 if the prediction is right with all words, and without the k % highest, otherwise 0.
      `srs` is their difference at k = 30; SRS(k) in the paper is the mean difference over texts. Source: SAFR (Chang et
      al. 2025), section 4.
    - `first_flip` and `words_to_flip`: DFMIT and DFFOT of Chrysostomou and Aletras 2021 (ACL), section 4.
    - `leave_one_out`: Kendall's tau-b between the scores and $p(x) - p(x \setminus i)$ of the words i; 0 if either of
      them is constant.

    Of a regression model, minus the distance from the whole text's number takes the place of p, and the absolute error
    that of being right, which SRS is then the growth of; nothing flips.

    Args:
        remover: Removes words and runs the model without them.
        texts: Encoded texts.
        labels: The label of every text.
        classes: The predicted class of every whole text.
        scores: Scores by the method's name.
        one_by_one: Also compute the metrics that remove words one by one or at every k: AOPC, flips, leave-one-out, and
            `without_k` for all k.
        progress: Called with the number of texts that are done and the number of all texts.

    Returns:
        By method and metric, (text,). NaN for a text without two words, except in `before`, `without_k` and `srs`.
    """
    metric = MAIN_METRICS[get_task(remover.model)]
    rows_by_method: dict[str, list[dict[str, float]]] = {name: [] for name in scores}
    for start in range(0, len(texts), _TEXTS_TOGETHER):
        numbers = range(start, min(start + _TEXTS_TOGETHER, len(texts)))
        orders_by_text = [
            {name: _RemovalOrder(texts[number], values[number], one_by_one) for name, values in scores.items()}
            for number in numbers
        ]
        word_sets = [
            {words for order in orders.values() for words in order.iter_word_sets()} for orders in orders_by_text
        ]
        outcomes_by_text = remover.predict(
            [texts[number] for number in numbers], word_sets, [classes[number] for number in numbers]
        )
        for number, orders, outcomes in zip(numbers, orders_by_text, outcomes_by_text, strict=True):
            for name, order in orders.items():
                rows_by_method[name].append(order.compute_metrics(outcomes, metric, labels[number]))
        if progress is not None:
            progress(numbers[-1] + 1, len(texts))
    return {
        name: _add_srs(metric, {column: np.array([row[column] for row in rows]) for column in rows[0]})
        for name, rows in rows_by_method.items()
    }


def search_aopc_bounds(
    remover: Remover,
    texts: Sequence[EncodedText],
    classes: Sequence[int],
    *,
    beam: int = BEAM_WIDTH,
    progress: Progress | None = None,
) -> Float[np.ndarray, "2 text"]:
    """Least and greatest AOPC of every text that a beam search finds among the orders of its words, (2, text).

    Every step removes one more word. Among all sets of words that can be removed by then, the search keeps the `beam`
    sets with the highest sum of probabilities so far for the least AOPC, or the lowest for the greatest. Where two
    orders lead to the same set, the better one counts. With a beam of all sets the bounds are exact.

    Source: Edin et al. 2025 (ACL, "Normalized AOPC"), section 4, for NAOPC = (AOPC - least) / (greatest - least).

    Args:
        remover: Removes words and runs the model without them.
        texts: Encoded texts; the cost grows with the square of their length.
        classes: The predicted class of every whole text.
        beam: Number of sets that are kept at every step.
        progress: Called with the number of removed words and the number that can be removed from the longest text.

    Returns:
        NaN for a text without two words.
    """
    return _search_bounds(remover, texts, classes, beam, progress).T


@share_texts("texts", "classes")
def _search_bounds(
    remover: Remover, texts: Sequence[EncodedText], classes: Sequence[int], beam: int, progress: Progress | None
) -> Float[np.ndarray, "text 2"]:
    """The same with the texts first."""
    outcomes_by_text = remover.predict(texts, [[frozenset()]] * len(texts), classes)
    probabilities = np.array([outcomes[frozenset()].probability for outcomes in outcomes_by_text])
    counts = np.array([_count_removable(text) for text in texts])
    # AOPC is least if the probabilities stay as high as possible, and greatest if they get as low as possible.
    sums = [_search_extreme_sums(remover, texts, classes, sign, beam, progress) for sign in (1, -1)]
    bounds = [np.where(counts > 0, probabilities - total / np.maximum(counts, 1), np.nan) for total in sums]
    return np.stack(bounds, axis=1)


def normalized_aopc(
    aopc: Float[np.ndarray, " text"], least: Float[np.ndarray, " text"], greatest: Float[np.ndarray, " text"]
) -> Float[np.ndarray, " text"]:
    """NAOPC: AOPC rescaled so that the least becomes 0 and the greatest 1, (text,).

    NaN where both are equal up to rounding, as for a prediction so sure that no order changes it.
    """
    aopc_range = greatest - least
    return np.divide(aopc - least, aopc_range, out=np.full(len(aopc), np.nan), where=aopc_range > MIN_AOPC_RANGE)


def _add_srs(metric: MainMetric, values: MetricValues) -> MetricValues:
    """The metrics with SRS of every text, behind the two that it is made of."""
    before, after = values["before"], values[f"without_{MAIN_PERCENT}"]
    return {"before": before, f"without_{MAIN_PERCENT}": after, "srs": metric.worsening(before, after[None])} | values


@dataclass(frozen=True)
class _RemovalOrder:
    """The order in which one method's scores remove the words of one text."""

    text: EncodedText
    scores: Float[np.ndarray, " word"]
    one_by_one: bool

    @cached_property
    def words(self) -> list[int]:
        """The words that can be removed, the highest score first."""
        return rank_words(self.scores, text_of_word=self.text.group_of_word)

    @property
    def steps(self) -> list[int]:
        """Number of words that are removed by every step, from 1 to all that can be."""
        return sorted(
            {round(count) for count in np.linspace(1, len(self.words), min(len(self.words), MAX_DELETION_STEPS))}
        )

    def count_removed(self, percent: float) -> int:
        """How many words are removed at k %."""
        size = len(self.text.words) - len(self.text.asked)
        return count_deleted(size, percent, texts=size - len(self.words))

    def select_top(self, count: int) -> WordSet:
        """The `count` words with the highest scores; removed for comprehensiveness and AOPC."""
        return frozenset(self.words[:count])

    def select_others(self, count: int) -> WordSet:
        """All words but the `count` highest; removed for sufficiency."""
        return frozenset(range(len(self.text.words))) - self.select_top(count) - set(self.text.asked)

    def list_single_words(self) -> list[WordSet]:
        """Every word alone, in the text's order; removed for leave-one-out."""
        return [frozenset({word}) for word in range(len(self.text.words))] if self.words else []

    def iter_word_sets(self) -> Iterator[WordSet]:
        """All sets of words whose removal the metrics need."""
        yield frozenset()
        for percent in (*ERASER_PERCENTS, MAIN_PERCENT):
            yield self.select_top(self.count_removed(percent))
        for percent in ERASER_PERCENTS:
            yield self.select_others(self.count_removed(percent))
        if self.one_by_one:
            yield from (self.select_top(self.count_removed(percent)) for percent in DELETION_PERCENTS)
            yield from (self.select_top(count) for count in self.steps)
            yield from self.list_single_words()

    def compute_metrics(
        self, outcomes: Mapping[WordSet, RemovalOutcome], metric: MainMetric, label: Label
    ) -> dict[str, float]:
        """All metrics of this text.

        Args:
            outcomes: What the model predicts without every set of `iter_word_sets`.
            metric: What the predictions are judged by.
            label: The text's label.
        """
        whole_probability, whole_prediction = outcomes[frozenset()]

        def compute_drop(words: WordSet) -> float:
            return whole_probability - outcomes[words].probability

        def judge(words: WordSet) -> float:
            return metric.judge_one(outcomes[words].prediction, label)

        def judge_without(percent: float) -> float:
            return judge(self.select_top(self.count_removed(percent)))

        metrics = {"before": judge(frozenset()), f"without_{MAIN_PERCENT}": judge_without(MAIN_PERCENT)}
        counts = [self.count_removed(percent) for percent in ERASER_PERCENTS]
        metrics["comprehensiveness"] = _mean([compute_drop(self.select_top(count)) for count in counts if count])
        metrics["sufficiency"] = _mean([compute_drop(self.select_others(count)) for count in counts if count])
        if not self.one_by_one:
            return metrics
        flips = [count for count in self.steps if outcomes[self.select_top(count)].prediction != whole_prediction]
        can_flip = bool(self.words) and metric.is_share
        drops = [compute_drop(words) for words in self.list_single_words()]
        return metrics | {
            **{f"without_{percent}": judge_without(percent) for percent in DELETION_PERCENTS},
            "aopc": _mean([compute_drop(self.select_top(count)) for count in self.steps]),
            "first_flip": float(flips[:1] == [1]) if can_flip else np.nan,
            "words_to_flip": min(flips, default=len(self.text.words)) / len(self.text.words) if can_flip else np.nan,
            "leave_one_out": float(np.nan_to_num(kendalltau(self.scores, drops).statistic)) if drops else np.nan,
        }


def _mean(values: Sequence[float]) -> float:
    """The mean, NaN if there are no values."""
    return float(np.mean(values)) if values else np.nan


def _search_extreme_sums(
    remover: Remover,
    texts: Sequence[EncodedText],
    classes: Sequence[int],
    sign: int,
    beam: int,
    progress: Progress | None,
) -> NDArray[np.float64]:
    """The highest sum of probabilities over the orders of a text's words for sign 1, the lowest for -1, (text,)."""
    # By text, the sets of removed words in the beam, with sign times the best sum that leads to them.
    beams: list[dict[WordSet, float]] = [{frozenset(): 0.0} for _ in texts]
    steps = max((_count_removable(text) for text in texts), default=0)
    for step in range(1, steps + 1):
        numbers = [number for number, text in enumerate(texts) if _count_removable(text) >= step]
        candidates = [
            {larger for words in beams[number] for larger in _add_one_word(texts[number], words)} for number in numbers
        ]
        outcomes_by_text = remover.predict(
            [texts[number] for number in numbers], candidates, [classes[number] for number in numbers]
        )
        for number, outcomes in zip(numbers, outcomes_by_text, strict=True):
            gains = {words: sign * outcome.probability for words, outcome in outcomes.items()}
            beams[number] = _advance_beam(texts[number], beams[number], gains, beam)
        if progress is not None:
            progress(step, steps)
    return sign * np.array([max(sums.values()) for sums in beams])


def _advance_beam(
    text: EncodedText, sums: dict[WordSet, float], gains: dict[WordSet, float], beam: int
) -> dict[WordSet, float]:
    """The `beam` sets of one word more with the highest sums; of all ways to a set the best one counts."""
    larger_sums: dict[WordSet, float] = {}
    for words, total in sums.items():
        for larger in _add_one_word(text, words):
            larger_sums[larger] = max(total + gains[larger], larger_sums.get(larger, -np.inf))
    ranking = sorted(larger_sums, key=lambda words: (-larger_sums[words], sorted(words)))
    return {words: larger_sums[words] for words in ranking[:beam]}


def _add_one_word(text: EncodedText, words: WordSet) -> list[WordSet]:
    """All sets of one more removed word that leave a word in both texts of a pair, or in the only text."""
    text_of_word = text.text_of_word
    remaining = [word for word in range(len(text_of_word)) if word not in words and word not in text.asked]
    single_word_texts = {owner for owner in text_of_word if sum(text_of_word[word] == owner for word in remaining) == 1}
    return [words | {word} for word in remaining if text_of_word[word] not in single_word_texts]


def _count_removable(text: EncodedText) -> int:
    """How many words can be removed: all but one of every text."""
    return text.most_deletable
