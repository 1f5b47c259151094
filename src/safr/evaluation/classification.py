"""How well classes are told apart: macro F1, balanced accuracy and the scores of every class, beside the largest class.

Accuracy alone hides this where classes differ in size: a model that always gives the largest class may be right often.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from sklearn.metrics import precision_recall_fscore_support

from safr.errors import shorten_text
from safr.evaluation.statistics import RESAMPLES, Estimate, format_percent, unseen_share

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
        "per_class": [
            {"label": name, "precision": float(p), "recall": float(r), "f1": float(f), "support": int(s)}
            for name, p, r, f, s in zip(names, precision, recall, f1, support, strict=True)
        ],
    }


def describe_classes(scores: Mapping[str, Any]) -> str:
    """A sentence on the class scores in `scores.json`; "" where an older run has none.

    >>> describe_classes({"classes": score_classes(np.array([0, 0, 1]), np.array([0, 0, 1]), {0: "good", 1: "bad"})})
    'macro F1 100.0 [9.2, 100.0], balanced accuracy 100.0 [9.2, 100.0]; always “good” would be right in 66.7 %'
    """
    classes = scores.get("classes")
    if not classes:
        return ""
    return (
        f"macro F1 {format_percent(classes['macro_f1'])}, "
        f"balanced accuracy {format_percent(classes['balanced_accuracy'])}; "
        f"always “{shorten_text(classes['majority']['label'], _SHOWN)}” would be right in "
        f"{100 * classes['majority']['share']:.1f} %"
    )


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
