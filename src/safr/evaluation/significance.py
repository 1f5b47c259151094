"""Significance tests: paired permutation tests between methods, and Welch's t-tests between settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.stats import false_discovery_control, ttest_ind

from safr.evaluation.metrics import METRICS
from safr.evaluation.per_text_results import ResultTable
from safr.evaluation.statistics import Estimate, bootstrap_mean

PERMUTATIONS = 9_999
"""Number of random sign changes in a permutation test; the least possible p-value is then 0.0001."""

FALSE_DISCOVERY_RATE = 0.05
"""Largest expected share of false ones among the differences that a table calls significant."""


class PairedValues(NamedTuple):
    """Values of one metric for two methods on the same texts, or for one method under two settings."""

    metric: str
    removal: str
    """Way of removing words; empty where no words are removed."""
    one: str
    other: str
    first: Float[np.ndarray, " text"]
    """Values of `one`: (text,), NaN where a text has none, or (seed,) for settings."""
    second: Float[np.ndarray, " text"]
    """Values of `other`, in the same shape for methods."""


@dataclass(frozen=True)
class Difference:
    """The difference of two methods, or of one method under two settings, in one metric."""

    metric: str
    removal: str
    one: str
    other: str
    value: Estimate
    """Mean of one - other, with its 95 % interval over texts, or over seeds for settings."""
    p: float
    """Two-sided p-value of the paired permutation test, or of Welch's t-test for settings."""
    adjusted: float
    """The p-value adjusted by Benjamini and Hochberg over all differences of a table."""

    def to_dict(self) -> dict[str, Any]:
        """The difference as JSON values, with its verdict; NaN becomes None."""
        fields: dict[str, Any] = asdict(self) | {"removal": self.removal or "none", "verdict": self.verdict}
        for values in (fields, fields["value"]):
            values |= {name: None for name, value in values.items() if isinstance(value, float) and np.isnan(value)}
        return fields

    @property
    def verdict(self) -> str:
        """`better`, `worse` or `no difference`, said of `one`; `not tested` where seeds allow no test."""
        if np.isnan(self.adjusted):
            return "not tested"
        if self.adjusted > FALSE_DISCOVERY_RATE:
            return "no difference"
        return "better" if (self.value.value > 0) == (METRICS[self.metric].better == "higher") else "worse"


def find_best_methods(values: Mapping[str, Mapping[str, float]], metric: str) -> set[str]:
    """Names of the best by one metric, and of all whose interval overlaps with its interval.

    The set is empty where neither a higher nor a lower value is better.

    Args:
        values: Estimates as JSON values, by name.
        metric: Name of the metric, one of `METRICS`.

    >>> a, b = {"value": 0.3, "low": 0.2, "high": 0.4}, {"value": 0.1, "low": 0.0, "high": 0.15}
    >>> find_best_methods({"a": a, "b": b}, "sufficiency")
    {'b'}
    """
    better = METRICS[metric].better
    if better == "neither" or not values:
        return set()
    sign = 1 if better == "higher" else -1
    best = max(values.values(), key=lambda estimate: sign * estimate["value"])
    return {
        name for name, estimate in values.items() if estimate["low"] <= best["high"] and estimate["high"] >= best["low"]
    }


def compare_with_others(subject: str, table: ResultTable) -> list[Difference]:
    """Differences between a method and every other one, in every metric and way of removing words, tested together.

    Args:
        subject: Name of the method.
        table: The values of every text.
    """
    return paired_differences(
        [
            PairedValues(name, removal, subject, method, table[subject, removal][name], values[name])
            for (method, removal), values in table.items()
            if method != subject and (subject, removal) in table
            for name, metric in METRICS.items()
            if metric.tested and name in values and name in table[subject, removal]
            if not (name == "leave_one_out" and method == "occlusion")  # both compute the same
        ]
    )


def paired_differences(pairs: Sequence[PairedValues]) -> list[Difference]:
    """Differences of one table, tested together.

    The tests are paired permutation tests: without a difference, its sign would be random in every text. The p-values
    are adjusted so that at most 5 % of the differences that are called significant are expected to be false (Benjamini
    and Hochberg 1995). Texts are ignored where one of the two has no value, and so are pairs with fewer than two other
    texts.
    """
    gaps = [pair.first - pair.second for pair in pairs]
    kept = [index for index, gap in enumerate(gaps) if np.count_nonzero(~np.isnan(gap)) >= 2]
    if not kept:
        return []
    p_values = sign_flip_p_values(np.stack([gaps[index] for index in kept], axis=1))
    return [
        Difference(*pairs[index][:4], bootstrap_mean(gaps[index][~np.isnan(gaps[index])]), float(p), float(adjusted))
        for index, p, adjusted in zip(kept, p_values, false_discovery_control(p_values), strict=True)
    ]


def seed_differences(pairs: Sequence[PairedValues]) -> list[Difference]:
    """Differences between settings, tested together; the values are the means of a setting's runs, (seed,).

    The test is Welch's t-test, since the runs differ in their seeds as well as in their settings. The p-values are
    adjusted as in `paired_differences`. Nothing can be tested with a single seed on one side, or with no spread on
    either side; the interval and the p-values are then NaN.
    """
    tests = {
        index: ttest_ind(pair.first, pair.second, equal_var=False)
        for index, pair in enumerate(pairs)
        if min(len(pair.first), len(pair.second)) > 1 and (np.ptp(pair.first) or np.ptp(pair.second))
    }
    p_values = [test.pvalue for test in tests.values()]
    adjusted = dict(zip(tests, false_discovery_control(p_values) if tests else [], strict=True))
    differences = []
    for index, pair in enumerate(pairs):
        gap, (low, high), p = float(pair.first.mean() - pair.second.mean()), (np.nan, np.nan), np.nan
        if index in tests:
            (low, high), p = tests[index].confidence_interval(), tests[index].pvalue
        estimate = Estimate(gap, float(low), float(high))
        differences.append(Difference(*pair[:4], estimate, float(p), float(adjusted.get(index, np.nan))))
    return differences


def sign_flip_p_values(
    gaps: Float[np.ndarray, "text difference"], resamples: int = PERMUTATIONS
) -> Float[np.ndarray, " difference"]:
    """Two-sided p-values of paired differences under random changes of their signs, (difference,).

    scipy's `permutation_test` (`permutation_type="samples"`) does the same for one difference at a time. Here all
    differences share the random signs, so that a table of 100 takes a second and not minutes.

    Args:
        gaps: (text, difference), NaN where a text has no value.
        resamples: Number of random changes of the signs.
    """
    filled = np.nan_to_num(gaps)
    observed = np.abs(filled.sum(axis=0))
    rng, extreme_count = np.random.default_rng(0), np.zeros(filled.shape[1], dtype=np.int64)
    for start in range(0, resamples, 1000):
        signs = rng.choice(np.array([-1.0, 1.0]), size=(min(1000, resamples - start), len(filled)))
        # Sums that differ only by rounding count as equal.
        extreme_count += (np.abs(signs @ filled) >= observed * (1 - 1e-12) - 1e-12).sum(axis=0)
    return (extreme_count + 1) / (resamples + 1)
