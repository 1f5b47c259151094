"""How well classes are told apart: macro F1, balanced accuracy and the scores of every class, beside the largest class.

Accuracy alone hides this where classes differ in size: a model that always gives the largest class may be right often.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from sklearn.metrics import f1_score, precision_recall_fscore_support

from safr.errors import shorten_text
from safr.evaluation.statistics import (
    DRAWS_TOGETHER,
    RESAMPLES,
    Estimate,
    estimate_from_draws,
    format_percent,
    unseen_share,
)
from safr.rounding import format_share

_NAMES = {"balanced_accuracy": "balanced accuracy", "micro_f1": "micro F1"}

_SHOWN = 30
"""Letters of a class's name in a sentence."""


def score_classes(
    labels: Int[np.ndarray, " text"],
    predictions: Int[np.ndarray, " text"],
    class_names: Mapping[int, str],
) -> dict[str, Any]:
    """Macro F1, balanced accuracy and every class's precision, recall, F1 and support, by scikit-learn.

    All is about the classes that occur among labels or predictions; balanced accuracy is the mean recall of those that
    occur among labels. A score that would divide by 0 is 0, as of a class that is never predicted.

    Args:
        labels: The right classes.
        predictions: The model's classes.
        class_names: Names of the classes that occur, by their numbers.

    Returns:
        As JSON values: `macro_f1` and `balanced_accuracy`, fractions with 95 % bootstrap intervals over texts, or with
        the mean of the classes' exact intervals where all answers are right; `majority`, the largest class with its
        share of the texts; `per_class`.

    >>> scores = score_classes(np.array([0, 0, 0, 1]), np.array([0, 0, 0, 0]), {0: "good", 1: "bad"})
    >>> scores["majority"], scores["balanced_accuracy"]["value"], round(scores["macro_f1"]["value"], 3)
    ({'label': 'good', 'share': 0.75}, 0.5, 0.429)
    """
    classes = np.union1d(labels, predictions)
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predictions, labels=classes, zero_division=0
    )
    if (labels == predictions).all():  # resampling would know no wrong answer
        least = 1 - float(np.mean([unseen_share(int(count)) for count in support]))
        intervals = [(least, 1.0), (least, 1.0)]
    else:
        cells, counts = np.unique(np.searchsorted(classes, [labels, predictions]), axis=1, return_counts=True)
        # Texts count alike, so that drawing texts is drawing how many fall into each cell of the confusion matrix.
        draws = np.random.default_rng(0).multinomial(len(labels), counts / len(labels), size=RESAMPLES)
        drawn = macro_scores(draws, *cells, classes=len(classes))
        intervals = np.percentile(drawn, [2.5, 97.5], axis=1).T.tolist()
    names = [class_names[number] for number in classes]
    largest = int(support.argmax())
    return {
        "macro_f1": Estimate(float(f1.mean()), *intervals[0]).to_dict(),
        "balanced_accuracy": Estimate(float(recall[support > 0].mean()), *intervals[1]).to_dict(),
        "majority": {"label": names[largest], "share": float(support[largest] / len(labels))},
        "per_class": [_describe_class(*row) for row in zip(names, precision, recall, f1, support, strict=True)],
    }


def score_class_lists(
    labels: Float[np.ndarray, "text label"], predictions: Float[np.ndarray, "text label"], class_names: Sequence[str]
) -> dict[str, Any]:
    """Macro and micro F1, and each class's precision, recall, F1 and support, where a text may have several classes.

    Args:
        labels: 1 for each class that fits the text, 0 for the others.
        predictions: The same by the model.
        class_names: Names of the classes.

    Returns:
        As JSON values, as of `score_classes` but without `balanced_accuracy`, and with `micro_f1`, the F1 of all
        decisions together. `majority` is the most frequent list of classes.

    >>> scores = score_class_lists(np.array([[1.0, 0], [1, 1]]), np.array([[1.0, 0], [1, 0]]), ["a", "b"])
    >>> scores["macro_f1"]["value"], round(scores["micro_f1"]["value"], 3), scores["majority"]
    (0.5, 0.8, {'label': 'a', 'share': 0.5})
    """
    precision, recall, f1, support = precision_recall_fscore_support(labels, predictions, zero_division=0)
    hits, generator = labels * predictions, np.random.default_rng(0)
    alike = np.full(len(labels), 1 / len(labels))
    macro, micro = [], []
    for _ in range(0, RESAMPLES, DRAWS_TOGETHER):
        weights = generator.multinomial(len(labels), alike, size=DRAWS_TOGETHER).astype(np.float64)
        tp, size = weights @ hits, weights @ labels + weights @ predictions  # (draw, label)
        macro.append((2 * tp / np.maximum(size, 1)).mean(axis=1))
        micro.append(2 * tp.sum(axis=1) / np.maximum(size.sum(axis=1), 1))
    micro_f1 = f1_score(labels, predictions, average="micro", zero_division=0)
    lists, counts = np.unique(labels, axis=0, return_counts=True)
    names = [name for name, fits in zip(class_names, lists[counts.argmax()], strict=True) if fits]
    rows = zip(class_names, precision, recall, f1, support, strict=True)
    return {
        "macro_f1": estimate_from_draws(float(f1.mean()), macro).to_dict(),
        "micro_f1": estimate_from_draws(float(micro_f1), micro).to_dict(),
        "majority": {"label": "; ".join(names), "share": float(counts.max() / len(labels))},
        "per_class": [_describe_class(*row) for row in rows],
    }


def describe_classes(scores: Mapping[str, Any]) -> str:
    """A sentence on the class scores in `scores.json`; "" where an older run has none.

    >>> describe_classes({"classes": score_classes(np.array([0, 0, 1]), np.array([0, 0, 1]), {0: "good", 1: "bad"})})
    'macro F1 100.0 [9.2, 100.0], balanced accuracy 100.0 [9.2, 100.0]; always “good” would be right in 66.7 %'
    """
    classes = scores.get("classes")
    if not classes:
        return ""
    other = "balanced_accuracy" if "balanced_accuracy" in classes else "micro_f1"
    return (
        f"macro F1 {format_percent(classes['macro_f1'])}, "
        f"{_NAMES[other]} {format_percent(classes[other])}; "
        f"always “{shorten_text(classes['majority']['label'], _SHOWN) or 'none'}” would be right in "
        f"{format_share(classes['majority']['share'])} %"
    )


def _describe_class(name: str, *scores: np.number) -> dict[str, Any]:
    """One class's precision, recall, F1 and support."""
    precision, recall, f1, support = scores
    return {
        "label": name,
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
        "support": int(support),
    }


def macro_scores(
    counts: Int[np.ndarray, "draw cell"],
    right: Int[np.ndarray, " cell"],
    given: Int[np.ndarray, " cell"],
    *,
    classes: int,
) -> tuple[Float[np.ndarray, " draw"], Float[np.ndarray, " draw"]]:
    """Macro F1 and balanced accuracy of many draws at once, which scikit-learn would compute one by one.

    Args:
        counts: How many texts of a draw are in each cell of the confusion matrix.
        right: The cells' right classes.
        given: The cells' classes by the model.
        classes: How many classes there are.

    Returns:
        Means over the classes that occur in a draw.
    """
    of_right, of_given = np.eye(classes)[right], np.eye(classes)[given]
    hits, support, predicted = counts @ (of_right * of_given), counts @ of_right, counts @ of_given
    f1 = 2 * hits / np.maximum(support + predicted, 1)
    recall = hits / np.maximum(support, 1)
    return f1.sum(axis=1) / (support + predicted > 0).sum(axis=1), recall.sum(axis=1) / (support > 0).sum(axis=1)
