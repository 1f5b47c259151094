"""The paper's settings and numbers: the runs that its tables need, and how our results compare with its own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any, Literal, get_args

from safr.config import Settings
from safr.evaluation.statistics import Estimate, format_percent, mean_over_runs
from safr.experiments.grid import BASELINE_SETTINGS, short_value
from safr.experiments.run_table import ResultRow, row_estimate
from safr.rounding import format_share
from safr.runs import Run

Dataset = Literal["sst2", "imdb"]
Padding = Literal["mask", "count"]
LossWeights = tuple[float, float] | None
"""Weights of the importance and the interaction loss; None is the baseline."""

VERSIONS = {"naacl": "paper", "preprint": "preprint"}
"""Versions of the paper, and what tables call them."""

VERDICTS = ("within", "direction", "no")
"""How a number of ours compares with the paper's; `VERDICT_RULE` says when."""

VERDICT_RULE = (
    "within: the paper's number lies in our 95 % interval (over seeds by Student's t; with one seed, over texts). "
    "direction: it does not, but it lies on the same side of the paper's baseline as our number of our baseline; for "
    "the baseline itself, SRS is above 0 in both; for average capacity, both lie on the same side of the average over "
    "all words. no: neither. If only the preprint prints a number, ours is compared with that. There is no verdict if "
    "neither prints one, and none other than within if our baseline is missing."
)

DATASETS: dict[Dataset, str] = {"sst2": "sst2_paper", "imdb": "imdb"}
"""Our names of the paper's data sets."""

QUICK_DATA = "rotten_tomatoes"

PUBLISHED_SETTINGS = {
    "padding": "count",
    "exclude_self": True,
    "interaction_estimator": "exact",
    "patience": 3,
    "kept_epoch": "last",
}
"""Settings of the published recipe that ours changes, except for the order of the texts; see docs/equations.md."""

IMDB_SETTINGS = {"patience": 3}
"""Settings for IMDB. Its 5,000 dev reviews tell a better epoch from chance, and SST-2's 825 sentences do not."""

QUICK_SETTINGS = {"data": QUICK_DATA, "learning_rate": 3e-4, "epochs": 5}
"""Settings of the quick version, which is no reproduction."""

QUICK_NOTE = (
    "This is a small version: packaged film reviews in place of the paper's data, a higher learning rate, 5 epochs and "
    "a few settings. Its numbers are not a reproduction, so they get no verdicts."
)
QUICK_WEIGHTS: tuple[LossWeights, ...] = (None, (0.0, 0.0), (0.1, 0.1), (1.0, 0.1))

CHOICES_TITLE = "What the paper leaves open, and what was chosen"
CHOICES = (
    "From the authors' published code, since the paper does not say: 8 heads, dropout of 0.1, torch's own initial "
    "weights, Adam at a rate of 1e-4, batches of 32 texts, at most 100 epochs; VMASK 1,024 wide with a tanh, at first "
    "half closed; words split at white space, of which the first 128 are read (256 on IMDB) and those seen once in "
    "training are unknown.",
    "Padding is masked in all sums, means and pooling; the published code counts it, and leaves a token's interference "
    "with itself out of the interaction loss. Both are shown where both were run.",
    "Batches hold texts of about one length, from shuffled pools of 16 batches, also where padding is counted; in the "
    "published code they hold any texts.",
    "In batches with a text of more than 128 words, as on IMDB, each training step computes the interaction loss of a "
    "random quarter of the heads, which is right on average; where padding is counted, of all heads.",
    "FC1 is read before its activation.",
    "The dev split decides when training stops, after 8 epochs without a better accuracy (3 on IMDB and with padding "
    "counted, as in the published code), and the best epoch's weights are restored; the published code, and so our "
    "rows with padding counted, test the last epoch.",
    "Deleted words leave the sequence; their number is 30 % of the counting words, rounded half up, at least 1.",
    "Random deletion is the mean of 20 draws, or of 2 on the 25,000 texts of IMDB.",
    "The important words of Table 3 are the 30 % with the highest keep probability, text by text.",
    "The paper prints 1,749 test sentences of SST-2. Of 1,821 that are positive or negative, 70 hold a bracket and 8 "
    "more a non-ASCII character; 1,743 are left.",
)
"""What was chosen where the paper leaves it open."""

_SCORES = ("accuracy", "random", "capacity", "srs")


@dataclass(frozen=True)
class Comparison:
    """One of our numbers beside the numbers that the paper prints, all as fractions."""

    ours: Estimate | None
    """None where it could not be measured."""
    printed: Mapping[str, float | None]
    """The paper's number by version; None where a version prints none."""
    verdict: str | None
    """One of `VERDICTS`, for the first version that prints the number; None where nothing can be compared."""


@cache
def paper_numbers() -> dict[str, Any]:
    """All numbers that both versions print; scores are in per cent."""
    return json.loads(files("safr.experiments").joinpath("paper.json").read_text(encoding="utf-8"))


def ablation_weights(dataset: Dataset) -> list[LossWeights]:
    """Loss weights of every row in either version's ablation, the baseline first."""
    weights: dict[LossWeights, None] = {None: None}
    for version in VERSIONS:
        for row in paper_numbers()["versions"][version]["ablation"][dataset]:
            weights[_read_weights(row)] = None
    return list(weights)


def best_paper_weights(dataset: Dataset, version: str = "naacl") -> tuple[float, float]:
    """The loss weights that a version of the paper finds best; its Table 1 calls a model with them SAFR."""
    best = paper_numbers()["versions"][version]["best"][dataset]
    return float(best["importance"]), float(best["interaction"])


def weights_label(weights: LossWeights) -> str:
    """The name of a setting in tables and folder names."""
    if weights is None:
        return "baseline"
    return f"importance={short_value(weights[0])},interaction={short_value(weights[1])}"


def paper_run_name(dataset: Dataset, padding: Padding, weights: LossWeights, seed: int) -> str:
    """The name of a run's folder."""
    return f"{dataset},{padding},{weights_label(weights)},seed={seed}"


def paper_settings(
    dataset: Dataset, padding: Padding, weights: LossWeights, seed: int, *, quick: bool = False
) -> Settings:
    """The settings of a run of the paper."""
    settings = Settings(data=DATASETS[dataset]).changed(seed=seed, **(IMDB_SETTINGS if dataset == "imdb" else {}))
    if padding == "count":
        settings = settings.changed(**PUBLISHED_SETTINGS)
    if quick:
        settings = settings.changed(**QUICK_SETTINGS)
    if weights is None:
        return settings.changed(**BASELINE_SETTINGS)
    return settings.changed(importance=weights[0], interaction=weights[1])


def table_1_weights(dataset: Dataset) -> list[LossWeights]:
    """The loss weights in Table 1: the baseline, the mask alone, and the best setting."""
    return [None, (0.0, 0.0), best_paper_weights(dataset)]


def paper_jobs(dataset: Dataset, seeds: int, *, quick: bool = False) -> dict[str, Settings]:
    """Settings of all runs of a data set by name, ordered by seed; the settings of Table 1 come first in every seed.

    With padding masked, every setting of the ablation is run. With padding counted, which takes up to four times as
    long, only the three of Table 1 are run. The quick version runs four settings in all, with padding masked.
    """
    chosen: list[tuple[Padding, LossWeights]]
    if quick:
        chosen = [("mask", weights) for weights in QUICK_WEIGHTS]
    else:
        chosen = [(padding, weights) for padding in get_args(Padding) for weights in table_1_weights(dataset)]
        chosen += [("mask", weights) for weights in ablation_weights(dataset)]  # those of Table 1 keep their place
    return {
        paper_run_name(dataset, padding, weights, seed): paper_settings(dataset, padding, weights, seed, quick=quick)
        for seed in range(seeds)
        for padding, weights in chosen
    }


def compare_with_paper(rows: Sequence[ResultRow], dataset: Dataset) -> dict[LossWeights, dict[str, Comparison]]:
    """Our and the paper's accuracy, accuracy after deletion, and SRS, by setting; without verdicts for other data.

    Args:
        rows: Test rows (`result_rows`) of one data set and one way of padding.
        dataset: The data set.
    """
    groups: dict[LossWeights, list[ResultRow]] = {}
    for row in rows:
        groups.setdefault(_read_weights(row) if row["vmask"] else None, []).append(row)
    base = {name: row_estimate(groups[None], name) for name in _SCORES} if None in groups else {}
    comparisons_by_weights = {
        weights: {
            name: _compare_score(row_estimate(group, name), base.get(name), dataset, weights, name) for name in _SCORES
        }
        for weights, group in sorted(groups.items(), key=lambda item: (item[0] is not None, item[0] or ()))
    }
    if all(row["data"] == DATASETS[dataset] for row in rows):
        return comparisons_by_weights
    return {weights: _remove_verdicts(comparisons) for weights, comparisons in comparisons_by_weights.items()}


def compare_capacity(runs: Sequence[Run], dataset: Dataset) -> dict[str, Comparison]:
    """Table 3: average capacity of all words, of the most important 30 % and of the others, over a setting's seeds.

    Runs of other data get no verdicts.
    """
    comparisons: dict[str, Comparison] = {}
    for group in ("all", "important", "rest"):
        estimates = [run.scores["capacity"][group] for run in runs]
        ours = None if None in estimates else mean_over_runs(estimates)
        printed = {
            version: paper_numbers()["versions"][version]["average_capacity"][dataset][group] for version in VERSIONS
        }
        verdict, all_words = "no", comparisons.get("all")
        if ours is not None and ours.low <= printed["naacl"] <= ours.high:
            verdict = "within"
        elif ours is not None and all_words is not None and all_words.ours is not None:
            printed_gap = printed["naacl"] - all_words.printed["naacl"]
            verdict = "direction" if printed_gap * (ours.value - all_words.ours.value) > 0 else "no"
        comparisons[group] = Comparison(ours, printed, None if ours is None else verdict)
    if all(run.settings.data == DATASETS[dataset] for run in runs):
        return comparisons
    return _remove_verdicts(comparisons)


def comparison_cells(comparison: Comparison) -> list[str]:
    """Table cells with our number, the paper's, the preprint's, and the verdict."""
    printed = ["" if value is None else format_share(value, 2) for value in comparison.printed.values()]
    ours = format_percent(comparison.ours.to_dict() if comparison.ours else None)
    return [ours, *printed, comparison.verdict or ""]


def _remove_verdicts(comparisons: Mapping[str, Comparison]) -> dict[str, Comparison]:
    return {name: replace(comparison, verdict=None) for name, comparison in comparisons.items()}


def _compare_score(
    ours: Estimate | None, base: Estimate | None, dataset: Dataset, weights: LossWeights, name: str
) -> Comparison:
    printed = {version: _find_printed_score(version, dataset, weights, name) for version in VERSIONS}
    version = next((version for version, value in printed.items() if value is not None), None)
    if version is None or ours is None:
        return Comparison(ours, printed, None)
    value, printed_base = printed[version], _find_printed_score(version, dataset, None, name)
    assert value is not None
    assert printed_base is not None
    if ours.low <= value <= ours.high:
        return Comparison(ours, printed, "within")
    if weights is None:
        same_side = name == "srs" and value > 0 and ours.value > 0
    elif base is None:  # without a baseline of ours the sides can't be compared
        return Comparison(ours, printed, None)
    else:
        same_side = (value - printed_base) * (ours.value - base.value) > 0
    return Comparison(ours, printed, "direction" if same_side else "no")


def _find_printed_score(version: str, dataset: Dataset, weights: LossWeights, name: str) -> float | None:
    """A score that the paper prints, as a fraction; None where it prints none."""
    for row in paper_numbers()["versions"][version]["ablation"][dataset]:
        if _read_weights(row) == weights:
            return row[name] / 100
    return None


def _read_weights(row: Mapping[str, Any]) -> LossWeights:
    if row["importance"] is None:
        return None
    return float(row["importance"]), float(row["interaction"])
