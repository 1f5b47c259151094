"""Means with 95 % intervals over texts or seeds, and rank correlations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike, NDArray
from scipy.stats import bootstrap, rankdata, sem, t

from safr.errors import InputError
from safr.rounding import format_share

DRAWS_TOGETHER = 100
"""Resamples that are in memory at once, where a metric is computed of many."""

RESAMPLES = 2000
"""Number of bootstrap resamples; the interval's ends then move by about 2 % of its width from seed to seed."""

SHARE, DROP = (0.0, 1.0), (-1.0, 1.0)
"""Limits of what a text adds to an accuracy, and to a drop of accuracy."""

NOT_MEASURED = "–"
"""What tables show in place of an estimate that could not be measured."""


@dataclass(frozen=True)
class Estimate:
    """A value with the ends of its 95 % interval."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """The estimate as JSON values."""
        return asdict(self)


def format_percent(estimate: Mapping[str, float] | None) -> str:
    """Text of an estimate and its interval in per cent, from its JSON values; a dash where there is none.

    >>> format_percent({"value": 0.701, "low": 0.679, "high": 0.722}), format_percent(None)
    ('70.1 [67.9, 72.2]', '–')
    """
    if estimate is None:
        return NOT_MEASURED
    value, low, high = (format_share(estimate[name]) for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def format_number(estimate: Mapping[str, float] | None) -> str:
    """Text of an estimate and its interval as numbers, from its JSON values; a dash where there is none.

    >>> format_number({"value": 0.701, "low": 0.6789, "high": 12})
    '0.701 [0.679, 12]'
    """
    return NOT_MEASURED if estimate is None else "{value:.3g} [{low:.3g}, {high:.3g}]".format(**estimate)


def bootstrap_mean(
    values: ArrayLike, weights: ArrayLike | None = None, *, limits: tuple[float, float] | None = None
) -> Estimate:
    """Mean over texts with its 95 % percentile bootstrap interval; texts are resampled, not words.

    Args:
        values: (text,), one value per text: a mean over its words, or whether its prediction is right.
        weights: (text,), how much a text counts, for example its number of words. Default: all texts count the same.
        limits: The least and the greatest value that a text can have. Where all texts have one value, resampling knows
            no other. The interval is then that of the share of texts at a limit, of which n texts show none (see
            `unseen_share`). Default: the interval has no width there.

    Raises:
        InputError: Fewer than two texts.

    >>> bootstrap_mean([0, 1, 1, 1]).value
    0.75
    >>> bootstrap_mean([1] * 12, limits=SHARE)
    Estimate(value=1.0, low=0.735..., high=1.0)
    """
    sample = np.asarray(values, dtype=np.float64)
    weight = np.ones_like(sample) if weights is None else np.asarray(weights, dtype=np.float64)
    if len(sample) < 2:
        raise InputError(f"an interval needs at least 2 texts, got {len(sample)}; bring more data")
    if limits is not None and np.ptp(sample) == 0:
        value, unseen = float(sample[0]), unseen_share(len(sample))
        return Estimate(value, value - unseen * (value - limits[0]), value + unseen * (limits[1] - value))
    result = bootstrap(
        (sample * weight, weight),
        _weighted_mean,
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=200,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    low, high = result.confidence_interval
    return Estimate(float(_weighted_mean(sample * weight, weight, axis=-1)), float(low), float(high))


def estimate_from_draws(value: float, drawn: Sequence[Float[np.ndarray, " draw"]]) -> Estimate:
    """A value with the 95 % percentile interval of what it comes to in bootstrap draws.

    Args:
        value: On all texts.
        drawn: On drawn texts, in as many arrays as they were computed in.
    """
    low, high = np.percentile(np.concatenate(drawn), [2.5, 97.5])
    return Estimate(float(value), float(low), float(high))


def unseen_share(texts: int) -> float:
    """The greatest share of all texts that may be of a kind of which this many show none, by a 95 % interval.

    Source: Clopper and Pearson 1934, the exact interval of a share of which nothing was seen.

    >>> round(unseen_share(12), 3)
    0.265
    """
    return 1 - 0.025 ** (1 / texts)


def seed_mean(values: ArrayLike, *, least: float = 0.0, most: float = 1.0) -> Estimate:
    """Mean over runs that differ only in their seed, with its 95 % interval by Student's t.

    Args:
        values: (seed,), one value per run.
        least: The least possible value. The interval ends there; of two seeds it would often reach beyond.
        most: The greatest possible value. The interval ends there too.

    Raises:
        InputError: Fewer than two runs.

    >>> round(seed_mean([0.1, 0.2, 0.3]).high, 3)
    0.448
    """
    sample = np.asarray(values, dtype=np.float64)
    if len(sample) < 2:
        raise InputError(f"an interval over seeds needs at least 2 runs, got {len(sample)}")
    half = t.ppf(0.975, len(sample) - 1) * sem(sample)
    low, high = np.clip([sample.mean() - half, sample.mean() + half], least, most)
    return Estimate(float(sample.mean()), float(low), float(high))


def mean_over_runs(estimates: Sequence[Mapping[str, float]], *, most: float = 1.0) -> Estimate:
    """Mean over runs that differ only in their seed; a single run keeps its own interval.

    Args:
        estimates: One estimate per run as JSON values, of shares between 0 and 1 or of errors.
        most: See `seed_mean`.
    """
    if len(estimates) == 1:
        return Estimate(**{end: estimates[0][end] for end in ("value", "low", "high")})
    return seed_mean([estimate["value"] for estimate in estimates], most=most)


def rank_correlations(one: Sequence[ArrayLike], other: Sequence[ArrayLike]) -> Float[np.ndarray, " text"]:
    """Spearman's rank correlation within each text, (text,).

    Args:
        one: For every text one value per word, or per pair of words.
        other: Other values, as many for every text.

    Returns:
        In [-1, 1]: 0 where one side is constant, since it then says nothing about the other, and NaN where a text has
        fewer than two values.

    >>> rank_correlations([[1, 2, 3], [1, 1], [5]], [[2, 4, 9], [1, 2], [5]])
    array([ 1.,  0., nan])
    """
    correlations = np.full(len(one), np.nan)
    for index, (first, second) in enumerate(zip(one, other, strict=True)):
        ranks = rankdata([np.asarray(first), np.asarray(second)], axis=1)
        if ranks.shape[1] > 1:
            ranks -= ranks.mean(axis=1, keepdims=True)
            scale = np.sqrt(np.square(ranks).sum(axis=1).prod())
            correlations[index] = ranks.prod(axis=0).sum() / scale if scale > 0 else 0.0
    return correlations


def _weighted_mean(totals: NDArray[np.float64], weights: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Sum of the totals by the sum of the weights; 0 where that is 0, as when every resampled text is empty."""
    weight = weights.sum(axis=axis)
    return np.divide(totals.sum(axis=axis), weight, out=np.zeros_like(weight), where=weight > 0)
