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
    "srs": Metric(
        "higher", "share", "SRS(30): accuracy lost when the 30 % of words with the highest scores are removed."
    ),
    "comprehensiveness": Metric(
        "higher", "probability", "How far the predicted class's probability falls without the highest-scored words."
    ),
    "sufficiency": Metric(
        "lower", "probability", "How far the predicted class's probability falls with only the highest-scored words."
    ),
    "aopc": Metric(
        "higher", "probability", "Mean fall of the probability as words are removed one by one, the highest first."
    ),
    "naopc": Metric(
        "higher",
        "share",
        "The same, scaled between the worst (0) and the best (1) order of words that is found: comparable over models.",
    ),
    "first_flip": Metric(
        "higher", "share", "Texts whose prediction changes when only the highest-scored word is removed."
    ),
    "words_to_flip": Metric(
        "lower", "share", "Words that must be removed, the highest first, until the prediction changes."
    ),
    "leave_one_out": Metric(
        "higher", "correlation", "Kendall's tau between the scores and the effect of removing each word alone."
    ),
    "auprc": Metric("higher", "score", "Area under the precision-recall curve for the words that people marked."),
    "token_f1": Metric("higher", "score", "F1 of the highest-scored words, as many as people mark on average."),
    "iou_f1": Metric(
        "higher", "score", "F1 of spans of words that overlap by half or more with those that people mark."
    ),
    "pairs": Metric(
        "higher",
        "score",
        "Area under the ROC curve of the size of interference for the two words known to belong together.",
    ),
    "randomization": Metric(
        "lower",
        "correlation",
        "Absolute rank correlation with the scores of the same model with shuffled weights, mean of 5 shuffles.",
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
    "srs": "SRS(30): growth of the absolute error when the 30 % of words with the highest scores are removed.",
    "comprehensiveness": "How far the predicted number moves, either way, without the highest-scored words.",
    "sufficiency": "How far the predicted number moves, either way, with only the highest-scored words.",
    "aopc": "Mean distance that the predicted number moves as words are removed one by one, the highest first.",
}


def get_metrics(task: Task) -> dict[str, Metric]:
    """The metrics by name, as they are measured on a task: of numbers, distances in the labels' unit."""
    if task != "regression":
        return METRICS
    changed = {name: replace(METRICS[name], unit="label", meaning=text) for name, text in _REGRESSION_METRICS.items()}
    return METRICS | changed
