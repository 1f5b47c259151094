"""Benchmarks of several runs in; one table over seeds and settings, and what differs between settings, out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
from numpy.typing import NDArray

from safr.config import setting_names
from safr.errors import InputError
from safr.evaluation.benchmark_metrics import REFERENCE_METHOD
from safr.evaluation.causal import CAUSAL_CORRELATIONS
from safr.evaluation.conclusions import CONCLUSION_RULES, draw_conclusions
from safr.evaluation.metrics import METRICS
from safr.evaluation.per_text_results import ResultTable, read_results
from safr.evaluation.significance import Difference, PairedValues, compare_with_others, find_leaders, seed_differences
from safr.evaluation.statistics import Estimate, seed_mean
from safr.experiments.grid import is_baseline
from safr.experiments.run_table import setting_labels
from safr.experiments.text_table import TextTable
from safr.runs import Run, check_same_data
from safr.storage import read_json, write_json, write_text

TABLE_METRICS = (
    ("delete", "srs"),
    ("delete", "comprehensiveness"),
    ("delete", "sufficiency"),
    ("delete", "aopc"),
    ("delete", "naopc"),
    ("delete", "words_to_flip"),
    ("delete", "leave_one_out"),
    ("none", "auprc"),
    ("none", "randomization"),
)
"""Ways of removal and metrics that a table has room for."""

LEGEND = (
    "Means with 95 % intervals: over seeds by Student's t, of one seed over texts. An arrow says which way is better. "
    "Bold: the best, and all whose interval overlaps with its. Words are deleted."
)


@dataclass(frozen=True)
class SeedGroup:
    """Runs that differ in their seed alone."""

    label: str
    runs: tuple[Run, ...]

    @cached_property
    def results(self) -> list[dict[str, Any]]:
        """What their benchmarks hold."""
        return [read_json(run.benchmark_file) for run in self.runs]


def group_runs(runs: Sequence[Run]) -> list[SeedGroup]:
    """The runs by their settings, those without SAFR first."""
    rows = [{name: run.settings.get(name) for name in setting_names()} | {"folder": run} for run in runs]
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(repr([row[name] for name in setting_names() if name != "seed"]), []).append(row)
    ordered = sorted(groups.values(), key=lambda group: not is_baseline(group[0]))
    labels = setting_labels([group[0] for group in ordered])
    return [
        SeedGroup(label, tuple(row["folder"] for row in group)) for label, group in zip(labels, ordered, strict=True)
    ]


def pool_seeds(setting: SeedGroup) -> dict[str, dict[str, dict[str, Estimate]]]:
    """Every number of a setting by method, way of removal and metric: the mean over seeds with its interval.

    The interval is Student's over seeds; of one seed alone it is over texts.
    """
    found: dict[str, dict[str, dict[str, Estimate]]] = {}
    collected: dict[tuple[str, str, str], list[dict[str, float]]] = {}
    for result in setting.results:
        for name, each in result["methods"].items():
            for how, values in each["values"].items():
                for metric, value in values.items():
                    collected.setdefault((name, how, metric), []).append(value)
    for (name, how, metric), values in collected.items():
        if len(values) == 1:
            estimate = Estimate(**values[0])
        else:
            most = 1.0 if metric in METRICS or metric in CAUSAL_CORRELATIONS else np.inf
            estimate = seed_mean([each["value"] for each in values], least=-most, most=most)
        found.setdefault(name, {}).setdefault(how, {})[metric] = estimate
    return found


def check_comparable(runs: Sequence[Run]) -> None:
    """Raise an InputError for runs that can't stand in one table: of different data, or the same one twice."""
    check_same_data(runs)
    settings = [repr(run.settings) for run in runs]
    if twice := [run.name for number, run in enumerate(runs) if settings[number] in settings[:number]]:
        raise InputError(f"{twice[0]}: another run has the same settings and seed; give each once")


def check_same_texts(runs: Sequence[Run]) -> list[int]:
    """The texts that benchmarked runs were judged on, by number; an InputError where they are not the same."""
    texts = {run.name: sorted(_texts(run)) for run in runs}
    first = texts[runs[0].name]
    if other := [name for name, each in texts.items() if each != first]:
        raise InputError(
            f"{other[0]}: was judged on other texts than {runs[0].name}; benchmark all with the same --texts"
        )
    return first


def write_benchmark_table(runs: Sequence[Run], folder: Path) -> str:
    """Write `evidence.md` and `evidence.json` of benchmarked runs of the same data; returns the Markdown.

    Args:
        runs: The runs.
        folder: Where the files go.

    Raises:
        InputError: The runs are of different data, were judged on different texts, or are the same.
    """
    check_comparable(runs)
    settings = group_runs(runs)
    texts = check_same_texts(runs)
    tables = {each.label: _mean_table(each, texts) for each in settings}
    between = _between_settings(settings)
    found = {each.label: _found(each, tables[each.label]) for each in settings}
    parts = [LEGEND, CONCLUSION_RULES]
    for setting in settings:
        said = "\n".join(f"- {sentence}" for sentence in found[setting.label]["conclusions"])
        parts += [seed_group_table(setting).to_markdown(), said]
    if between:
        parts.append(_difference_table(between).to_markdown())
    text = "\n\n".join(parts) + "\n"
    write_text(folder / "evidence.md", text)
    numbers = {"settings": found, "between_settings": [each.to_dict() for each in between]}
    write_json(folder / "evidence.json", numbers)
    return text


def _found(setting: SeedGroup, table: ResultTable) -> dict[str, Any]:
    """What is found about a setting over its seeds, laid out as a run's `benchmark.json`.

    Methods are compared on every text's mean over seeds: over these very seeds, not over all there could be.
    """
    first = setting.results[0]
    methods = {name: each for result in setting.results for name, each in result["methods"].items()}
    costs = {
        name: [each["methods"][name]["cost"] for each in setting.results if name in each["methods"]] for name in methods
    }
    result = {
        "runs": [run.name for run in setting.runs],
        "compared": first["compared"],
        "removals": first["removals"],
        "methods": {
            name: {
                "signed": methods[name]["signed"],
                "cost": _mean_cost([cost for cost in costs[name] if cost is not None]),
                "values": {
                    how: {metric: value.to_dict() for metric, value in values.items()} for how, values in ways.items()
                },
            }
            for name, ways in pool_seeds(setting).items()
        },
        "comparisons": [each.to_dict() for each in compare_with_others(REFERENCE_METHOD, table)],
    }
    return result | {"conclusions": draw_conclusions(result)}


def _mean_cost(costs: Sequence[Mapping[str, float]]) -> dict[str, float] | None:
    return {name: float(np.mean([cost[name] for cost in costs])) for name in costs[0]} if costs else None


def _texts(run: Run) -> list[int]:
    return pyarrow.parquet.read_table(run.benchmark_values_file, columns=["text"])["text"].unique().to_pylist()


def _mean_table(setting: SeedGroup, texts: Sequence[int]) -> ResultTable:
    """The values of every text, means over the setting's seeds."""
    tables = [read_results(run.benchmark_values_file, texts) or {} for run in setting.runs]
    return {
        place: {
            metric: np.mean([table[place][metric] for table in tables], axis=0)
            for metric in values
            if all(metric in table.get(place, {}) for table in tables)
        }
        for place, values in tables[0].items()
    }


def _between_settings(settings: Sequence[SeedGroup]) -> list[Difference]:
    """Capacity under one setting against capacity under another, words being deleted, over seeds."""
    pairs = []
    for one, other in combinations(settings, 2):
        first, second = _capacity_by_seed(one), _capacity_by_seed(other)
        pairs += [
            PairedValues(metric, "delete", one.label, other.label, first[metric], second[metric])
            for metric, each in METRICS.items()
            if each.tested and metric in first and metric in second
        ]
    return seed_differences(pairs)


def _capacity_by_seed(setting: SeedGroup) -> dict[str, NDArray[np.float64]]:
    """Each run's mean of every metric of capacity that all runs have, (seed,)."""
    values = [each["methods"][REFERENCE_METHOD]["values"]["delete"] for each in setting.results]
    metrics = [metric for metric in values[0] if all(metric in each for each in values)]
    return {metric: np.array([each[metric]["value"] for each in values]) for metric in metrics}


def seed_group_table(setting: SeedGroup) -> TextTable:
    """Every method of a setting by the metrics of `TABLE_METRICS`, the best of each standing out."""
    numbers = pool_seeds(setting)
    estimates = {
        (name, how, metric): value.to_dict()
        for name, ways in numbers.items()
        for how, some in ways.items()
        for metric, value in some.items()
    }
    shown = [(how, metric) for how, metric in TABLE_METRICS if any(key[1:] == (how, metric) for key in estimates)]
    best = {
        (how, metric): find_leaders(
            {key[0]: each for key, each in estimates.items() if key[1:] == (how, metric)}, metric
        )
        for how, metric in shown
    }
    rows = []
    for name in numbers:
        costs = [each["methods"][name]["cost"] for each in setting.results if name in each["methods"]]
        times = [cost["seconds"] for cost in costs if cost is not None]
        cells = [_interval(estimates.get((name, how, metric))) for how, metric in shown]
        rows.append((name, *cells, f"{1000 * np.mean(times):.2g}" if times else ""))
    return TextTable(
        "evidence",
        f"{setting.label}, {len(setting.runs)} {'run' if len(setting.runs) == 1 else 'runs'}, "
        f"{setting.results[0]['texts']:,} texts",
        ("method", *(_headed(metric) + _number(setting, metric) for _, metric in shown), "ms a text"),
        tuple(rows),
        frozenset(
            (row, column + 1)
            for row, name in enumerate(numbers)
            for column, key in enumerate(shown)
            if name in best[key]
        ),
    )


def _difference_table(between: Sequence[Difference]) -> TextTable:
    rows = [
        (
            _headed(each.metric),
            each.one,
            each.other,
            f"{each.value.value:.3f}" if np.isnan(each.value.low) else _interval(each.value.to_dict()),
            "" if np.isnan(each.adjusted) else f"{each.adjusted:.2g}",
            each.verdict,
        )
        for each in between
    ]
    return TextTable(
        "settings",
        "Capacity under one setting against another: means over seeds, Welch's t-test",
        ("metric", "one", "other", "one - other", "adjusted p", "one is"),
        tuple(rows),
    )


def _number(setting: SeedGroup, metric: str) -> str:
    """On how many texts a metric was measured, where it was not on all."""
    number = setting.results[0]["fewer_texts"].get(metric)
    return "" if number is None else f" (n = {number})"


def _headed(metric: str) -> str:
    arrow = {"higher": " ↑", "lower": " ↓", "neither": ""}[METRICS[metric].better]
    return metric.replace("_", " ") + arrow


def _interval(value: Mapping[str, float] | None) -> str:
    return "" if value is None else f"{value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"
