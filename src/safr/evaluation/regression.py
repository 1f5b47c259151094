"""How well numbers are predicted: root mean squared error and rank correlation, beside the best constant answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata
from sklearn.metrics import root_mean_squared_error

from safr.evaluation.statistics import DRAWS_TOGETHER, RESAMPLES, estimate_from_draws, format_number


def score_values(labels: Float[np.ndarray, " text"], predictions: Float[np.ndarray, " text"]) -> dict[str, Any]:
    """RMSE and Spearman's rank correlation with 95 % bootstrap intervals over texts, and a constant's error.

    Args:
        labels: The right numbers.
        predictions: The model's.

    Returns:
        As JSON values: `rmse`, in the labels' unit; `spearman`, in [-1, 1], 0 where one side is constant; `constant`,
        the mean absolute error of the best constant answer, the median of these labels.

    >>> score_values(np.array([1.0, 2, 4]), np.array([1.0, 3, 4]))["constant"]
    1.0
    """
    generator = np.random.default_rng(0)
    rmse, spearman = [], []
    for _ in range(0, RESAMPLES, DRAWS_TOGETHER):
        drawn = generator.integers(len(labels), size=(DRAWS_TOGETHER, len(labels)))
        rmse.append(np.sqrt(np.square(labels[drawn] - predictions[drawn]).mean(axis=1)))
        spearman.append(_correlate_ranks(labels[drawn], predictions[drawn]))
    error = float(root_mean_squared_error(labels, predictions))
    correlation = float(_correlate_ranks(labels[None], predictions[None])[0])
    return {
        "rmse": estimate_from_draws(error, rmse).to_dict(),
        "spearman": estimate_from_draws(correlation, spearman).to_dict(),
        "constant": float(np.abs(labels - np.median(labels)).mean()),
    }


def describe_values(scores: Mapping[str, Any]) -> str:
    """A sentence on the scores of a regression model in `scores.json`; "" of another's.

    >>> describe_values({"values": score_values(np.array([1.0, 2, 4]), np.array([1.0, 2, 4]))})
    "RMSE 0 [0, 0], Spearman's rank correlation 1 [0, 1]; always predicting the median would be off by 1"
    """
    values = scores.get("values")
    if not values:
        return ""
    return (
        f"RMSE {format_number(values['rmse'])}, Spearman's rank correlation {format_number(values['spearman'])}; "
        f"always predicting the median would be off by {values['constant']:.3g}"
    )


def _correlate_ranks(
    one: Float[np.ndarray, "draw text"], other: Float[np.ndarray, "draw text"]
) -> Float[np.ndarray, " draw"]:
    """Spearman's rank correlation of many draws at once, which scipy would compute one by one."""
    ranks = [rankdata(values, axis=1) for values in (one, other)]
    first, second = (rank - rank.mean(axis=1, keepdims=True) for rank in ranks)
    scale = np.sqrt(np.square(first).sum(axis=1) * np.square(second).sum(axis=1))
    return np.divide((first * second).sum(axis=1), scale, out=np.zeros(len(scale)), where=scale > 0)
