"""Values of several methods or runs on the same texts in; differences, with what chance would make of them, out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control, ttest_ind

from safr.evaluation.metrics import METRICS
from safr.evaluation.per_text_results import ResultTable
from safr.evaluation.statistics import Estimate, bootstrap_mean

PERMUTATIONS = 9_999
"""Random sign changes of a permutation test; the least p-value is then 0.0001."""

FALSE_DISCOVERY_RATE = 0.05
"""Share of false differences that a table may hold among those it calls such."""


class PairedValues(NamedTuple):
    """Values of two methods, or of one under two settings, on the same texts."""

    metric: str
    removal: str
    """Way of removing words; empty where none are."""
    one: str
    other: str
    first: NDArray[np.float64]
    """Of the one, (text,), NaN where there is none."""
    second: NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """How far two things differ in one metric, on the same texts."""

    metric: str
    removal: str
    one: str
    other: str
    value: Estimate
    """Mean of one - other, with its 95 % interval over texts."""
    p: float
    """Of the paired permutation test, two-sided."""
    adjusted: float
    """The same after Benjamini and Hochberg, over all differences of a table."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, with the verdict."""
        found: dict[str, Any] = asdict(self) | {"removal": self.removal or "none", "verdict": self.verdict}
        for values in (found, found["value"]):
            values |= {name: None for name, value in values.items() if isinstance(value, float) and np.isnan(value)}
        return found

    @property
    def verdict(self) -> str:
        """What to say of `one`: `better`, `worse`, `no difference`, or of single seeds `not tested`."""
        if np.isnan(self.adjusted):
            return "not tested"
        if self.adjusted > FALSE_DISCOVERY_RATE:
            return "no difference"
        return "better" if (self.value.value > 0) == (METRICS[self.metric].better == "higher") else "worse"


def find_leaders(values: Mapping[str, Mapping[str, float]], metric: str) -> set[str]:
    """Names of the best by one metric and of all whose interval overlaps with its; none where no way is better.

    Args:
        values: Estimates as JSON values, by name.
        metric: The metric, which knows which way is better.

    >>> a, b = {"value": 0.3, "low": 0.2, "high": 0.4}, {"value": 0.1, "low": 0.0, "high": 0.15}
    >>> find_leaders({"a": a, "b": b}, "sufficiency")
    {'b'}
    """
    better = METRICS[metric].better
    if better == "neither" or not values:
        return set()
    sign = 1 if better == "higher" else -1
    best = max(values.values(), key=lambda each: sign * each["value"])
    return {name for name, each in values.items() if each["low"] <= best["high"] and each["high"] >= best["low"]}


def compare_with_others(subject: str, table: ResultTable) -> list[Difference]:
    """A method against every other one, in every way of removing words and every metric; all are one table of tests.

    Args:
        subject: Name of the method.
        table: The values of every text.
    """
    return paired_differences(
        [
            PairedValues(metric, how, subject, name, table[subject, how][metric], values[metric])
            for (name, how), values in table.items()
            if name != subject and (subject, how) in table
            for metric, each in METRICS.items()
            if each.tested and metric in values and metric in table[subject, how]
            if not (metric == "leave_one_out" and name == "occlusion")  # which it is
        ]
    )


def paired_differences(pairs: Sequence[PairedValues]) -> list[Difference]:
    """Differences of one table, tested together.

    Each is a paired permutation test: were there no difference, its sign would be as good as drawn in every text. The
    p-values are adjusted so that of the differences that are called such at most 5 % are false (Benjamini and Hochberg
    1995). Texts of which either has no value are left out, and so is a pair with fewer than two others.
    """
    gaps = [pair.first - pair.second for pair in pairs]
    kept = [number for number, gap in enumerate(gaps) if np.count_nonzero(~np.isnan(gap)) >= 2]
    if not kept:
        return []
    p_values = sign_flip_p_values(np.stack([gaps[number] for number in kept], axis=1))
    return [
        Difference(*pairs[number][:4], bootstrap_mean(gaps[number][~np.isnan(gaps[number])]), float(p), float(adjusted))
        for number, p, adjusted in zip(kept, p_values, false_discovery_control(p_values), strict=True)
    ]


def seed_differences(pairs: Sequence[PairedValues]) -> list[Difference]:
    """Differences between settings, each given by its runs' means, (seed,), tested together.

    By Welch's t-test, since seeds differ as well as settings; the p-values are adjusted as in `paired_differences`.
    With one seed alone on a side, or no spread on either, nothing can be tested, and the interval is none (NaN).
    """
    tests = {
        number: ttest_ind(pair.first, pair.second, equal_var=False)
        for number, pair in enumerate(pairs)
        if min(len(pair.first), len(pair.second)) > 1 and (np.ptp(pair.first) or np.ptp(pair.second))
    }
    p_values = [test.pvalue for test in tests.values()]
    adjusted = dict(zip(tests, false_discovery_control(p_values) if tests else [], strict=True))
    found = []
    for number, pair in enumerate(pairs):
        gap, (low, high), p = float(pair.first.mean() - pair.second.mean()), (np.nan, np.nan), np.nan
        if number in tests:
            (low, high), p = tests[number].confidence_interval(), tests[number].pvalue
        estimate = Estimate(gap, float(low), float(high))
        found.append(Difference(*pair[:4], estimate, float(p), float(adjusted.get(number, np.nan))))
    return found


def sign_flip_p_values(gaps: NDArray[np.float64], resamples: int = PERMUTATIONS) -> NDArray[np.float64]:
    """Two-sided p-values of paired differences under random changes of their signs, (difference,).

    scipy's `permutation_test` (`permutation_type="samples"`) does the same one difference at a time; here all share
    their draws, so that a table of 100 takes a second and not minutes.

    Args:
        gaps: (text, difference), NaN where there is none.
        resamples: How many changes of signs are drawn.
    """
    known = np.nan_to_num(gaps)
    seen = np.abs(known.sum(axis=0))
    draw, beyond = np.random.default_rng(0), np.zeros(known.shape[1], dtype=np.int64)
    for start in range(0, resamples, 1000):
        signs = draw.choice(np.array([-1.0, 1.0]), size=(min(1000, resamples - start), len(known)))
        # Sums that are equal but for rounding count as equal.
        beyond += (np.abs(signs @ known) >= seen * (1 - 1e-12) - 1e-12).sum(axis=0)
    return (beyond + 1) / (resamples + 1)
