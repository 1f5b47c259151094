"""Tables of benchmarked runs: means over seeds for every setting, and the differences between settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safr.attribution.registry import is_signed
from safr.config import setting_names
from safr.errors import InputError
from safr.evaluation.benchmark_metrics import REFERENCE_METHOD
from safr.evaluation.causal import CAUSAL_CORRELATIONS
from safr.evaluation.conclusions import CONCLUSION_RULES, draw_conclusions
from safr.evaluation.metrics import METRICS
from safr.evaluation.per_text_results import ResultTable, read_results
from safr.evaluation.significance import (
    Difference,
    PairedValues,
    compare_with_others,
    find_best_methods,
    seed_differences,
)
from safr.evaluation.statistics import Estimate, seed_mean
from safr.experiments.grid import is_baseline
from safr.experiments.run_table import setting_labels
from safr.experiments.text_table import TextTable
from safr.rounding import format_decimals
from safr.runs import Run, check_same_data
from safr.storage import read_parquet, write_json, write_text

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
"""Ways of removal and metrics that a table shows."""

SIGNED_REFERENCE = "relevance"
"""The method that the others which know the class are compared with."""

LEGEND = (
    "Means with 95 % intervals: over seeds by Student's t; with one seed, over texts. An arrow says which way is "
    "better. "
    "Bold: the best, and all whose interval overlaps it. Words are deleted."
)


@dataclass(frozen=True)
class SeedGroup:
    """Runs that differ in their seed alone."""

    label: str
    runs: tuple[Run, ...]

    @cached_property
    def results(self) -> list[dict[str, Any]]:
        """The contents of the runs' `benchmark.json`."""
        return [run.benchmark for run in self.runs]


@dataclass(frozen=True)
class GroupTables:
    """The results of runs that differ in their seed alone."""

    table: TextTable
    """A row per method."""
    conclusions: tuple[str, ...]
    signed: TextTable | None
    """Relevance beside the other methods that know the class; None where there are none."""


@dataclass(frozen=True)
class BenchmarkTables:
    """The results of a benchmark."""

    groups: tuple[GroupTables, ...]
    differences: TextTable | None
    """Between settings; None of a single one."""

    def to_markdown(self) -> str:
        """All tables and conclusions."""
        parts = [LEGEND, CONCLUSION_RULES]
        for group in self.groups:
            parts += [group.table.to_markdown(), "\n".join(f"- {sentence}" for sentence in group.conclusions)]
            parts += [group.signed.to_markdown()] if group.signed else []
        parts += [self.differences.to_markdown()] if self.differences else []
        return "\n\n".join(parts) + "\n"


def group_runs(runs: Sequence[Run]) -> list[SeedGroup]:
    """The runs grouped by their settings, groups without SAFR first."""
    rows = [{name: run.settings.get(name) for name in setting_names()} | {"run": run} for run in runs]
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(repr([row[name] for name in setting_names() if name != "seed"]), []).append(row)
    ordered = sorted(groups.values(), key=lambda group: not is_baseline(group[0]))
    labels = setting_labels([group[0] for group in ordered])
    return [SeedGroup(label, tuple(row["run"] for row in group)) for label, group in zip(labels, ordered, strict=True)]


def pool_seeds(group: SeedGroup) -> dict[str, dict[str, dict[str, Estimate]]]:
    """Estimates of a group by method, way of removal and metric: the mean over seeds with its interval.

    The interval over several seeds is Student's. The interval of a single seed is over texts.
    """
    estimates: dict[str, dict[str, dict[str, Estimate]]] = {}
    values_by_key: dict[tuple[str, str, str], list[dict[str, float]]] = {}
    for result in group.results:
        for method, entry in result["methods"].items():
            for removal, value_by_metric in entry["values"].items():
                for metric, value in value_by_metric.items():
                    values_by_key.setdefault((method, removal, metric), []).append(value)
    for (method, removal, metric), values in values_by_key.items():
        if len(values) == 1:
            estimate = Estimate(**values[0])
        else:
            units = group.results[0]["metrics"]
            is_bounded = metric in METRICS and units.get(metric, {}).get("unit") != "label"
            most = 1.0 if is_bounded or metric in CAUSAL_CORRELATIONS else np.inf
            estimate = seed_mean([value["value"] for value in values], least=-most, most=most)
        estimates.setdefault(method, {}).setdefault(removal, {})[metric] = estimate
    return estimates


def check_comparable(runs: Sequence[Run]) -> None:
    """Raise an InputError for runs that can't stand in one table: their data differ, or two have the same settings."""
    check_same_data(runs)
    settings = [repr(run.settings) for run in runs]
    if repeated := [run.name for index, run in enumerate(runs) if settings[index] in settings[:index]]:
        raise InputError(f"{repeated[0]}: another run has the same settings and seed; give each once")


def check_same_texts(runs: Sequence[Run]) -> list[int]:
    """Numbers of the texts that the runs were benchmarked on; an InputError where the runs differ in them."""
    texts_by_run = {run.name: sorted(_read_texts(run)) for run in runs}
    first = texts_by_run[runs[0].name]
    if differing := [name for name, texts in texts_by_run.items() if texts != first]:
        raise InputError(
            f"{differing[0]}: was judged on other texts than {runs[0].name}; benchmark all with the same --texts"
        )
    return first


def write_benchmark_table(runs: Sequence[Run], folder: Path) -> BenchmarkTables:
    """The tables of benchmarked runs; writes them to `evidence.md`, and their numbers to `evidence.json`.

    Args:
        runs: Benchmarked runs of the same data.
        folder: Where the files go.

    Raises:
        InputError: The runs differ in their data or in the texts they were judged on, or two have the same settings.
    """
    check_comparable(runs)
    groups = group_runs(runs)
    texts = check_same_texts(runs)
    tables = {group.label: _average_tables(group, texts) for group in groups}
    differences = _compare_groups(groups)
    summaries = {group.label: _summarize_group(group, tables[group.label]) for group in groups}
    result = BenchmarkTables(
        tuple(_tabulate_group(group, summaries[group.label]) for group in groups),
        _tabulate_differences(differences) if differences else None,
    )
    write_text(folder / "evidence.md", result.to_markdown())
    numbers = {"settings": summaries, "between_settings": [difference.to_dict() for difference in differences]}
    write_json(folder / "evidence.json", numbers)
    return result


def seed_group_table(group: SeedGroup) -> TextTable:
    """A table with a row per method and a column per metric of `TABLE_METRICS`; the best of every column stand out."""
    pooled = pool_seeds(group)
    estimates = {
        (method, removal, metric): value.to_dict()
        for method, values_by_removal in pooled.items()
        for removal, value_by_metric in values_by_removal.items()
        for metric, value in value_by_metric.items()
    }
    columns = [
        (removal, metric) for removal, metric in TABLE_METRICS if any(key[1:] == (removal, metric) for key in estimates)
    ]
    best = {
        (removal, metric): find_best_methods(
            {key[0]: estimate for key, estimate in estimates.items() if key[1:] == (removal, metric)}, metric
        )
        for removal, metric in columns
    }
    rows = []
    for method in pooled:
        costs = [result["methods"][method]["cost"] for result in group.results if method in result["methods"]]
        times = [cost["seconds"] for cost in costs if cost is not None]
        cells = [_format_interval(estimates.get((method, removal, metric))) for removal, metric in columns]
        rows.append((method, *cells, f"{1000 * np.mean(times):.2g}" if times else ""))
    return TextTable(
        "evidence",
        f"{group.label}, {len(group.runs)} {'run' if len(group.runs) == 1 else 'runs'}, "
        f"{group.results[0]['texts']:,} texts",
        (
            "method",
            *(_format_heading(metric) + _format_text_count(group, metric) for _, metric in columns),
            "ms a text",
        ),
        tuple(rows),
        frozenset(
            (row, column + 1)
            for row, method in enumerate(pooled)
            for column, key in enumerate(columns)
            if method in best[key]
        ),
    )


def _tabulate_group(group: SeedGroup, summary: Mapping[str, Any]) -> GroupTables:
    signed = summary["signed_comparisons"]
    return GroupTables(
        seed_group_table(group), tuple(summary["conclusions"]), _tabulate_signed(group, signed) if signed else None
    )


def _summarize_group(group: SeedGroup, table: ResultTable) -> dict[str, Any]:
    """The results of a group over its seeds, in the layout of a run's `benchmark.json`.

    Methods are compared on every text's mean over seeds. The comparison holds for these seeds, not for all that there
    could be.
    """
    first = group.results[0]
    signed = {key: values for key, values in table.items() if is_signed(key[0])}
    methods = {method: entry for result in group.results for method, entry in result["methods"].items()}
    costs = {
        method: [result["methods"][method]["cost"] for result in group.results if method in result["methods"]]
        for method in methods
    }
    result = {
        "runs": [run.name for run in group.runs],
        "task": first.get("task", "classification"),
        "compared": first["compared"],
        "removals": first["removals"],
        "methods": {
            method: {
                "signed": methods[method]["signed"],
                "cost": _average_costs([cost for cost in costs[method] if cost is not None]),
                "values": {
                    removal: {metric: value.to_dict() for metric, value in value_by_metric.items()}
                    for removal, value_by_metric in values_by_removal.items()
                },
            }
            for method, values_by_removal in pool_seeds(group).items()
        },
        "comparisons": [difference.to_dict() for difference in compare_with_others(REFERENCE_METHOD, table)],
        "signed_comparisons": [difference.to_dict() for difference in compare_with_others(SIGNED_REFERENCE, signed)],
    }
    return result | {"conclusions": draw_conclusions(result)}


def _average_costs(costs: Sequence[Mapping[str, float]]) -> dict[str, float] | None:
    return {name: float(np.mean([cost[name] for cost in costs])) for name in costs[0]} if costs else None


def _read_texts(run: Run) -> list[int]:
    rows = read_parquet(
        run.benchmark_values_file, {"text": "integer"}, advice=f"run `safr benchmark {run.folder}` again"
    )
    return rows["text"].unique().to_pylist()


def _average_tables(group: SeedGroup, texts: Sequence[int]) -> ResultTable:
    """The values of every text, as means over the group's seeds."""
    tables = [read_results(run.benchmark_values_file, texts) or {} for run in group.runs]
    return {
        key: {
            metric: np.mean([table[key][metric] for table in tables], axis=0)
            for metric in values
            if all(metric in table.get(key, {}) for table in tables)
        }
        for key, values in tables[0].items()
    }


def _compare_groups(groups: Sequence[SeedGroup]) -> list[Difference]:
    """Differences over seeds between capacity under one setting and under another, where words are deleted."""
    pairs = []
    for one, other in combinations(groups, 2):
        first, second = _collect_capacity(one), _collect_capacity(other)
        pairs += [
            PairedValues(name, "delete", one.label, other.label, first[name], second[name])
            for name, metric in METRICS.items()
            if metric.tested and name in first and name in second
        ]
    return seed_differences(pairs)


def _collect_capacity(group: SeedGroup) -> dict[str, NDArray[np.float64]]:
    """The value of capacity for every run of a group, (seed,), by metric; metrics that a run lacks are left out."""
    values_by_run = [result["methods"][REFERENCE_METHOD]["values"]["delete"] for result in group.results]
    metrics = [metric for metric in values_by_run[0] if all(metric in values for values in values_by_run)]
    return {metric: np.array([values[metric]["value"] for values in values_by_run]) for metric in metrics}


def _tabulate_differences(differences: Sequence[Difference]) -> TextTable:
    rows = [
        (
            _format_heading(difference.metric),
            difference.one,
            difference.other,
            format_decimals(difference.value.value, 3)
            if np.isnan(difference.value.low)
            else _format_interval(difference.value.to_dict()),
            "" if np.isnan(difference.adjusted) else f"{difference.adjusted:.2g}",
            difference.verdict,
        )
        for difference in differences
    ]
    return TextTable(
        "settings",
        "Capacity under one setting against another: means over seeds, Welch's t-test",
        ("metric", "one", "other", "one - other", "adjusted p", "one is"),
        tuple(rows),
    )


def _tabulate_signed(group: SeedGroup, comparisons: Sequence[Mapping[str, Any]]) -> TextTable:
    """Relevance beside the other methods that know the class, in the metrics of the table."""
    rows = [
        (
            _format_heading(comparison["metric"]),
            comparison["other"],
            _format_interval(comparison["value"]),
            f"{comparison['adjusted']:.2g}",
            comparison["verdict"],
        )
        for comparison in comparisons
        if (comparison["removal"], comparison["metric"]) in TABLE_METRICS
    ]
    return TextTable(
        "signed",
        f"{SIGNED_REFERENCE.capitalize()} against other methods that know the class, {group.label}: each text's mean "
        "over seeds, with intervals over texts and a paired permutation test",
        ("metric", "other", f"{SIGNED_REFERENCE} - other", "adjusted p", f"{SIGNED_REFERENCE} is"),
        tuple(rows),
    )


def _format_text_count(group: SeedGroup, metric: str) -> str:
    """The number of texts on which a metric was measured; empty where it was measured on all."""
    count = group.results[0]["fewer_texts"].get(metric)
    return "" if count is None else f" (n = {count})"


def _format_heading(metric: str) -> str:
    arrow = {"higher": " ↑", "lower": " ↓", "neither": ""}[METRICS[metric].better]
    return metric.replace("_", " ") + arrow


def _format_interval(value: Mapping[str, float] | None) -> str:
    if value is None:
        return ""
    middle, low, high = (format_decimals(value[name], 3) for name in ("value", "low", "high"))
    return f"{middle} [{low}, {high}]"
