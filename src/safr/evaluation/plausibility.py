"""Scores per word and the words that people find decisive in; how well they agree, text by text, out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from safr.attribution.words import Scores
from safr.data.rationales import Rationale
from safr.evaluation.faithfulness import MetricValues

MIN_SPAN_OVERLAP = 0.5
"""Words that two runs of words must share, as a part of all in either, to count as the same; ERASER's."""


def plausibility(scores: Scores, rationales: Sequence[Rationale | None]) -> MetricValues:
    """How well scores find the words of a rationale.

    - `auprc`: area under the precision-recall curve, as average precision. By chance it is more than the share of words
      that are marked, in short texts much more: compare it with that of random scores.
    - `token_f1`: F1 of the words with the highest scores, as many as the rationales mark on average.
    - `iou_f1`: F1 of runs of words in a row that are marked; a run is found if the words that it shares with one of the
      other kind are half or more of all in both.

    Source: DeYoung et al. 2020 (ERASER), section 4, which cuts scores off at the mean length of rationales; here it is
    their mean share of a text's words.

    Args:
        scores: One score per word, for every text.
        rationales: The words that people mark in each text, or None where nobody has.

    Returns:
        By metric, (text,): NaN where there is no rationale, or one that marks none of the words or all of them.
    """
    usable = [each is not None and 0 < each.sum() < len(each) for each in rationales]
    marked = [each for each, fits in zip(rationales, usable, strict=True) if fits and each is not None]
    share = sum(int(each.sum()) for each in marked) / max(sum(len(each) for each in marked), 1)
    found = {name: np.full(len(scores), np.nan) for name in ("auprc", "token_f1", "iou_f1")}
    for number in np.flatnonzero(usable).tolist():
        rationale, score = rationales[number], scores[number]
        assert rationale is not None
        chosen = top_words_mask(score, max(int(share * len(score) + 0.5), 1))
        found["auprc"][number] = average_precision_score(rationale, score)
        found["token_f1"][number] = f1_score(int((chosen & rationale).sum()), int(chosen.sum()), int(rationale.sum()))
        found["iou_f1"][number] = span_f1(chosen, rationale)
    return found


def pair_auroc(
    interference: Sequence[NDArray[np.float64]], pairs: Sequence[Sequence[tuple[int, int]]]
) -> NDArray[np.float64]:
    """How well the size of interference finds the pair of words that belong together, (text,).

    Args:
        interference: For every text, (word, word).
        pairs: For every text the pairs that are known.

    Returns:
        Area under the ROC curve over all pairs of words of a text that has one known pair, 0.5 by chance; NaN for other
        texts, since of several negations a model may see that there is one and not where.
    """
    found = np.full(len(pairs), np.nan)
    for number, known in enumerate(pairs):
        rows, columns = np.triu_indices(len(interference[number]), k=1)
        if len(known) == 1 and len(rows) > 1:
            ((one, other),) = known
            found[number] = roc_auc_score(
                (rows == min(one, other)) & (columns == max(one, other)), np.abs(interference[number][rows, columns])
            )
    return found


def top_words_mask(scores: NDArray[np.float64], count: int) -> NDArray[np.bool_]:
    """True at the words with the highest scores; ties go to the earlier word."""
    chosen = np.zeros(len(scores), dtype=bool)
    chosen[np.argsort(-scores, kind="stable")[:count]] = True
    return chosen


def f1_score(found: int, predicted: int, marked: int) -> float:
    """Harmonic mean of precision and recall.

    >>> f1_score(2, 4, 2)
    0.6666666666666666
    """
    return 2 * found / (predicted + marked)


def span_f1(predicted: NDArray[np.bool_], marked: NDArray[np.bool_]) -> float:
    """F1 of runs of True.

    >>> span_f1(np.array([True, True, False, True]), np.array([True, True, False, False]))
    0.6666666666666666
    """
    ours, theirs = true_spans(predicted), true_spans(marked)
    precise = sum(any(_overlap(own, other) >= MIN_SPAN_OVERLAP for other in theirs) for own in ours)
    recalled = sum(any(_overlap(own, other) >= MIN_SPAN_OVERLAP for own in ours) for other in theirs)
    precision, recall = precise / len(ours), recalled / len(theirs)
    return 2 * precision * recall / (precision + recall) if precise else 0.0


def true_spans(marked: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Where runs of True begin and end.

    >>> true_spans(np.array([True, True, False, True]))
    [(0, 2), (3, 4)]
    """
    changes = np.flatnonzero(np.diff([False, *marked.tolist(), False]))
    return list(zip(changes[::2].tolist(), changes[1::2].tolist(), strict=True))


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> float:
    shared = min(one[1], other[1]) - max(one[0], other[0])
    return max(shared, 0) / (one[1] - one[0] + other[1] - other[0] - shared) if shared > 0 else 0.0
