"""The metrics of an explanation: their unit, their meaning, and whether higher or lower is better.

They are part of every result, so that no table is misread.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from safr.config import Task


@dataclass(frozen=True)
class Metric:
    """One measure of an explanation."""

    better: Literal["higher", "lower", "neither"]
    unit: Literal["probability", "share", "correlation", "score", "label"]
    """`label` is the unit of the numbers that a regression model predicts."""

    meaning: str
    tested: bool = True
    """Whether methods are tested for a difference in it; not where it is no merit, nor for a check for a defect."""


METRICS: dict[str, Metric] = {
    "srs": Metric("higher", "share", "SRS(30): accuracy lost when the 30 % of words with the highest scores are gone."),
    "comprehensiveness": Metric(
        "higher", "probability", "How far the predicted class's probability falls without the highest words."
    ),
    "sufficiency": Metric(
        "lower", "probability", "How far the predicted class's probability falls with the highest words alone."
    ),
    "aopc": Metric("higher", "probability", "Mean fall of the probability as words go one by one, the highest first."),
    "naopc": Metric(
        "higher",
        "share",
        "The same, between the worst (0) and the best (1) order of the words that is found: comparable over models.",
    ),
    "first_flip": Metric("higher", "share", "Texts whose prediction changes when the highest word alone is gone."),
    "words_to_flip": Metric(
        "lower", "share", "Words that have to go, the highest first, until the prediction changes."
    ),
    "leave_one_out": Metric(
        "higher", "correlation", "Kendall's tau between the scores and what each word costs when it alone is gone."
    ),
    "auprc": Metric("higher", "score", "Area under precision and recall of the words that people find decisive."),
    "token_f1": Metric("higher", "score", "F1 of the highest words, as many as people mark on average."),
    "iou_f1": Metric("higher", "score", "F1 of runs of words that overlap by half or more with those people mark."),
    "pairs": Metric(
        "higher",
        "score",
        "Area under the ROC curve of the size of interference for the two words known to belong together.",
    ),
    "randomization": Metric(
        "lower",
        "correlation",
        "Size of the rank correlation with the scores of the same model with its weights shuffled, mean of 5 shuffles.",
        tested=False,
    ),
    "length": Metric(
        "neither", "correlation", "Rank correlation of the scores with the words' number of letters.", tested=False
    ),
    "position": Metric(
        "neither", "correlation", "Rank correlation of the scores with the place in the text.", tested=False
    ),
}
"""All metrics of a method by name, in the order of the tables."""

_REGRESSION_METRICS = {
    "srs": "SRS(30): growth of the absolute error when the 30 % of words with the highest scores are gone.",
    "comprehensiveness": "How far the predicted number moves, either way, without the highest words.",
    "sufficiency": "How far the predicted number moves, either way, with the highest words alone.",
    "aopc": "Mean distance that the predicted number moves as words go one by one, the highest first.",
}


def get_metrics(task: Task) -> dict[str, Metric]:
    """The metrics by name, as they are measured on a task: of numbers, distances in the labels' unit."""
    if task != "regression":
        return METRICS
    changed = {name: replace(METRICS[name], unit="label", meaning=text) for name, text in _REGRESSION_METRICS.items()}
    return METRICS | changed
