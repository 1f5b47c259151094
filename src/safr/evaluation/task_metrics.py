"""The metrics that a model's answers are judged by on each task: accuracy, or the mean absolute error of regression."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Shaped
from scipy.stats import spearmanr
from sklearn.metrics import f1_score, mean_absolute_error, recall_score, root_mean_squared_error

from safr.config import Task
from safr.data.splits import Label
from safr.evaluation.statistics import DROP, SHARE, Estimate, bootstrap_mean, format_percent
from safr.rounding import format_decimals


@dataclass(frozen=True)
class MainMetric:
    """The metric whose change by deletion is SRS, a mean over texts."""

    key: Literal["accuracy", "mae"]
    """Its key in `scores.json`."""

    name: str
    better: Literal["higher", "lower"]

    @property
    def is_share(self) -> bool:
        """Whether it is a share of the texts, shown in per cent; else it is in the labels' own unit."""
        return self.key == "accuracy"

    def judge(
        self, predictions: Shaped[np.ndarray, ...], labels: Shaped[np.ndarray, "text ..."]
    ) -> Float[np.ndarray, "*draw text"]:
        """What each text adds: 1 where all of its label is right and 0 elsewhere, or the size of the error.

        Args:
            predictions: In the form of the labels, with axes of several draws before.
            labels: See `Split.label_array`.
        """
        if self.key == "mae":
            return np.abs(predictions - labels)
        right = predictions == labels
        return (right if labels.ndim == 1 else right.all(axis=-1)).astype(np.float64)

    def judge_one(self, prediction: Label, label: Label) -> float:
        """What one text adds."""
        if self.key == "accuracy":
            return float(prediction == label)
        assert isinstance(prediction, int | float)
        assert isinstance(label, int | float)
        return abs(prediction - label)

    def worsening(
        self, before: Float[np.ndarray, " text"], after: Float[np.ndarray, "draw text"]
    ) -> Float[np.ndarray, " text"]:
        """What a text adds to SRS: by how much it is judged worse after a deletion, of several draws on average.

        >>> ACCURACY.worsening(np.array([1.0, 1, 0]), np.array([[0.0, 1, 0], [1, 1, 0]]))
        array([0.5, 0. , 0. ])
        """
        drop = before - after.mean(axis=0)
        return drop if self.better == "higher" else -drop

    def estimate(self, values: Float[np.ndarray, " text"]) -> Estimate:
        """Mean of judged texts, with its 95 % bootstrap interval."""
        return bootstrap_mean(values, limits=SHARE if self.is_share else None)

    def estimate_change(self, values: Float[np.ndarray, " text"]) -> Estimate:
        """Mean of a change of judged texts, with its 95 % bootstrap interval."""
        return bootstrap_mean(values, limits=DROP if self.is_share else None)

    def format(self, estimate: Mapping[str, float] | None) -> str:
        """Text of an estimate of it or of its change, in per cent or in the labels' unit; a dash where there is none.

        >>> MAE.format({"value": 0.5, "low": 0.251, "high": 1.2}), MAE.format({"value": 12.34, "low": 11, "high": 15})
        ('0.50 [0.25, 1.20]', '12.3 [11.0, 15.0]')
        """
        if estimate is None or self.is_share:
            return format_percent(estimate)
        ends = [estimate[name] for name in ("value", "low", "high")]
        largest = max(map(abs, ends))
        magnitude = math.floor(math.log10(largest)) if largest > 0 else 0
        decimals = max(2 - magnitude, 0) if magnitude >= 0 else 1 - magnitude
        value, low, high = (format_decimals(end, decimals) for end in ends)
        return f"{value} [{low}, {high}]"


ACCURACY = MainMetric("accuracy", "accuracy", "higher")
MAE = MainMetric("mae", "mean absolute error", "lower")

MAIN_METRICS: dict[Task, MainMetric] = {
    "classification": ACCURACY,
    "multi_label": ACCURACY,
    "regression": MAE,
    "generation": ACCURACY,
    "token_classification": ACCURACY,
    "question_answering": ACCURACY,
    "multiple_choice": ACCURACY,
}
"""By task. Where a text may have several classes, it is right if all of them are, which is called subset accuracy. Of a
model that writes text it is whether the next token is right, of tags whether that of one word is, and of answers
whether the model finds exactly the right one."""

DEV_METRICS: dict[Task, tuple[str, ...]] = {
    "classification": ("accuracy", "macro_f1", "balanced_accuracy"),
    "multi_label": ("accuracy", "macro_f1", "micro_f1"),
    "regression": ("mae", "rmse", "spearman"),
    "generation": ("perplexity", "token_accuracy", "exact_match"),
    "token_classification": ("macro_f1", "token_accuracy", "entity_f1"),
    "question_answering": ("exact_match", "answer_f1"),
    "multiple_choice": ("accuracy",),
}
"""By task the metrics that the best epoch can be chosen by, the default first."""

SHARES = frozenset(name for names in DEV_METRICS.values() for name in names) - {"mae", "rmse", "spearman", "perplexity"}
"""Those of them that are shares, shown in per cent."""

LOWER_IS_BETTER = frozenset({"mae", "rmse", "perplexity"})


def get_main_metric(scores: Mapping[str, Any]) -> MainMetric:
    """The main metric of what `scores.json` holds; older runs are of classification."""
    return MAIN_METRICS[scores.get("task", "classification")]


def compute_dev_metrics(
    task: Task, predictions: Shaped[np.ndarray, "text ..."], labels: Shaped[np.ndarray, "text ..."]
) -> dict[str, float]:
    """The metrics of `DEV_METRICS`, by scikit-learn and scipy; a score that would divide by 0 is 0.

    Args:
        task: What the labels are.
        predictions: In the form of the labels.
        labels: See `Split.label_array`.

    >>> compute_dev_metrics("regression", np.array([1.0, 2, 4]), np.array([1.0, 2, 3]))["spearman"]
    1.0
    """
    if task == "regression":
        varies = np.ptp(predictions) > 0 and np.ptp(labels) > 0
        return {
            "mae": float(mean_absolute_error(labels, predictions)),
            "rmse": float(root_mean_squared_error(labels, predictions)),
            "spearman": float(spearmanr(labels, predictions).statistic) if varies else 0.0,
        }
    metrics = {
        "accuracy": float(ACCURACY.judge(predictions, labels).mean()),
        "macro_f1": float(f1_score(labels, predictions, average="macro", zero_division=0)),
    }
    if task == "multi_label":
        return metrics | {"micro_f1": float(f1_score(labels, predictions, average="micro", zero_division=0))}
    recall = recall_score(labels, predictions, labels=np.unique(labels), average="macro", zero_division=0)
    return metrics | {"balanced_accuracy": float(recall)}
