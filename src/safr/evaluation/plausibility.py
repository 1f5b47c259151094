"""Plausibility metrics: how well scores of words agree with the words that people mark as decisive."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from sklearn.metrics import average_precision_score, roc_auc_score

from safr.attribution.words import Scores
from safr.data.rationales import Rationale
from safr.evaluation.faithfulness import MetricValues

MIN_SPAN_OVERLAP = 0.5
"""Share of all words of two spans that must lie in both, so that the spans count as the same; ERASER's value."""


def plausibility(scores: Scores, rationales: Sequence[Rationale | None]) -> MetricValues:
    """How well scores find the words of a rationale.

    - `auprc`: area under the precision-recall curve, as average precision. By chance it is more than the share of words
      that are marked, in short texts much more: compare it with that of random scores.
    - `token_f1`: F1 of the words with the highest scores, as many as the rationales mark on average.
    - `iou_f1`: F1 of spans, which are words in a row that are marked. A span counts as found if the words that it
      shares with one of the other side are at least half of all words in both.

    Source: DeYoung et al. 2020 (ERASER), section 4. ERASER cuts scores off at the mean length of rationales; here the
    cut is at their mean share of a text's words.

    Args:
        scores: One score per word, for every text.
        rationales: For every text the words that people mark in it, or None where nobody has marked any.

    Returns:
        Values by metric, (text,): NaN where there is no rationale, or where it marks none of the words or all of them.
    """
    usable = [rationale is not None and 0 < rationale.sum() < len(rationale) for rationale in rationales]
    marked = [
        rationale
        for rationale, is_usable in zip(rationales, usable, strict=True)
        if is_usable and rationale is not None
    ]
    share = sum(int(rationale.sum()) for rationale in marked) / max(sum(len(rationale) for rationale in marked), 1)
    values = {name: np.full(len(scores), np.nan) for name in ("auprc", "token_f1", "iou_f1")}
    for index in np.flatnonzero(usable).tolist():
        rationale, score = rationales[index], scores[index]
        assert rationale is not None
        predicted = top_words_mask(score, max(int(share * len(score) + 0.5), 1))
        true_positives = int((predicted & rationale).sum())
        values["auprc"][index] = average_precision_score(rationale, score)
        values["token_f1"][index] = f1_score(true_positives, int(predicted.sum()), int(rationale.sum()))
        values["iou_f1"][index] = span_f1(predicted, rationale)
    return values


def pair_auroc(
    interference: Sequence[Float[np.ndarray, "_ _"]], pairs: Sequence[Sequence[tuple[int, int]]]
) -> Float[np.ndarray, " text"]:
    """How well the size of interference finds the pair of words that belong together, (text,).

    Args:
        interference: For every text, (word, word).
        pairs: For every text the pairs of words that are known to belong together.

    Returns:
        Area under the ROC curve over all pairs of words of a text with one known pair; 0.5 by chance. NaN for other
        texts, since of several negations a model may see that there is one and not where.
    """
    areas = np.full(len(pairs), np.nan)
    for index, text_pairs in enumerate(pairs):
        rows, columns = np.triu_indices(len(interference[index]), k=1)
        if len(text_pairs) == 1 and len(rows) > 1:
            ((one, other),) = text_pairs
            areas[index] = roc_auc_score(
                (rows == min(one, other)) & (columns == max(one, other)), np.abs(interference[index][rows, columns])
            )
    return areas


def top_words_mask(scores: Float[np.ndarray, " word"], count: int) -> Bool[np.ndarray, " word"]:
    """Mask of the words with the highest scores, (word,); of equal scores the earlier word is taken."""
    mask = np.zeros(len(scores), dtype=bool)
    mask[np.argsort(-scores, kind="stable")[:count]] = True
    return mask


def f1_score(true_positives: int, predicted: int, marked: int) -> float:
    """Harmonic mean of precision and recall, from counts of words.

    >>> f1_score(2, 4, 2)
    0.6666666666666666
    """
    return 2 * true_positives / (predicted + marked)


def span_f1(predicted: Bool[np.ndarray, " word"], marked: Bool[np.ndarray, " word"]) -> float:
    """F1 of the spans of True in two masks.

    >>> span_f1(np.array([True, True, False, True]), np.array([True, True, False, False]))
    0.6666666666666666
    """
    predicted_spans, marked_spans = true_spans(predicted), true_spans(marked)
    precise = sum(
        any(_overlap(predicted_span, marked_span) >= MIN_SPAN_OVERLAP for marked_span in marked_spans)
        for predicted_span in predicted_spans
    )
    recalled = sum(
        any(_overlap(predicted_span, marked_span) >= MIN_SPAN_OVERLAP for predicted_span in predicted_spans)
        for marked_span in marked_spans
    )
    precision, recall = precise / len(predicted_spans), recalled / len(marked_spans)
    return 2 * precision * recall / (precision + recall) if precise else 0.0


def true_spans(marked: Bool[np.ndarray, " word"]) -> list[tuple[int, int]]:
    """Start and end of the spans of True; the end is the first index after the span.

    >>> true_spans(np.array([True, True, False, True]))
    [(0, 2), (3, 4)]
    """
    changes = np.flatnonzero(np.diff([False, *marked.tolist(), False]))
    return list(zip(changes[::2].tolist(), changes[1::2].tolist(), strict=True))


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> float:
    """Intersection over union of two spans."""
    shared = min(one[1], other[1]) - max(one[0], other[0])
    return max(shared, 0) / (one[1] - one[0] + other[1] - other[0] - shared) if shared > 0 else 0.0
