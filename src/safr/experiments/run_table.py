"""Tables of finished runs: one row per run, or one row per setting with means over its seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from safr.config import setting_names
from safr.evaluation.srs import MAIN_PERCENT, describe_undeletable
from safr.evaluation.statistics import Estimate, seed_mean
from safr.evaluation.task_metrics import ACCURACY, MAE, MainMetric, get_main_metric
from safr.experiments.grid import BASELINE_SETTINGS, is_baseline, short_value
from safr.experiments.runner import SplitName, scores_path
from safr.runs import Run

_DELETION_PATHS = {
    "random": ("deletion", "random", str(MAIN_PERCENT)),
    "capacity": ("deletion", "capacity", str(MAIN_PERCENT)),
    "srs": ("srs", str(MAIN_PERCENT)),
    "above_random": ("srs", "above_random", str(MAIN_PERCENT)),
}

ResultRow = dict[str, Any]


def get_score_paths(metric: MainMetric) -> dict[str, tuple[str, ...]]:
    """Columns of the table and their places in a run's scores: the main metric, the same after deletion, and SRS."""
    return {metric.key: (metric.key,), **_DELETION_PATHS}


def find_row_metric(row: ResultRow) -> MainMetric:
    """The main metric of a run or a setting, by the columns that its row has."""
    return MAE if MAE.key in row else ACCURACY


def result_rows(runs: Sequence[Run], split: SplitName) -> list[ResultRow]:
    """One row per run: its settings, its epochs, and its scores with their intervals over texts.

    `srs_site` is the site whose capacity was read. The setting `site` may be `auto`, which leaves it to the model. Of
    the `texts` nothing can be deleted from those that are `undeletable`; where all are, the main metric is the only
    score.
    """
    rows = []
    for run in runs:
        settings, scores, history = run.settings, run.read_scores(scores_path(run, split)), run.history
        row: ResultRow = {"run": run.name, "split": split}
        row |= {name: _simplify_value(name, settings.get(name)) for name in setting_names()}
        row |= {
            "srs_site": scores["site"],
            "texts": scores["texts"],
            "undeletable": scores.get("undeletable", 0),
            "epochs_run": len(history),
            "training_seconds": sum(epoch.get("seconds", math.nan) for epoch in history),
        }
        for name, path in get_score_paths(get_main_metric(scores)).items():
            estimate: Any = scores
            for key in path:
                estimate = estimate[key]
            ends = {name: "value", f"{name}_low": "low", f"{name}_high": "high"}
            row |= {column: None if estimate is None else estimate[end] for column, end in ends.items()}
        rows.append(row)
    return rows


def setting_labels(groups: Sequence[ResultRow]) -> list[str]:
    """Labels of settings for tables and figures: the values that tell a setting from the others, so that all differ."""
    baseline_names = _find_varying([row for row in groups if is_baseline(row)])
    names = _find_varying([row for row in groups if not is_baseline(row)]) | baseline_names
    short_values = {name: _shorten_values([row[name] for row in groups]) for name in names}
    labels = []
    for row in groups:
        baseline = is_baseline(row)
        label_names = [
            name for name in names if not baseline or name not in BASELINE_SETTINGS or name in baseline_names
        ]
        parts = [f"{name} {short_values[name][repr(row[name])]}" for name in setting_names() if name in label_names]
        labels.append(", ".join(["baseline", *parts] if baseline else parts) or "SAFR")
    return labels


def group_rows(rows: Sequence[ResultRow]) -> list[ResultRow]:
    """One row per setting: its values, its label, and the means over its seeds with their intervals."""
    names = [name for name in setting_names() if name != "seed"]
    groups: dict[tuple[Any, ...], list[ResultRow]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    labels = setting_labels([group[0] for group in groups.values()])
    return [
        dict(zip(names, values, strict=True))
        | {"label": label, "seeds": len(group)}
        | {name: group[0][name] for name in ("srs_site", "texts", "undeletable")}
        | {name: row_estimate(group, name) for name in get_score_paths(find_row_metric(group[0]))}
        for label, (values, group) in zip(labels, groups.items(), strict=True)
    ]


def list_undeletable_notes(groups: Sequence[ResultRow]) -> list[str]:
    """Sentences about the settings some of whose texts hold one word, each with its settings unless it is about all."""
    labels: dict[str, list[str]] = {}
    for group in groups:
        if group["undeletable"]:
            labels.setdefault(describe_undeletable(group["undeletable"], group["texts"]), []).append(group["label"])
    return [
        sentence if len(names) == len(groups) else f"{'; '.join(names)}: {sentence}"
        for sentence, names in labels.items()
    ]


def row_estimate(group: Sequence[ResultRow], name: str) -> Estimate | None:
    """A score's mean over the rows of a group with its interval: over seeds, or over texts where there is one seed.

    None where the score could not be measured.
    """
    if any(row[name] is None for row in group):
        return None
    if len(group) == 1:
        return Estimate(*(group[0][f"{name}{end}"] for end in ("", "_low", "_high")))
    most = 1.0 if find_row_metric(group[0]).is_share else math.inf
    least = -most if name in ("srs", "above_random") else 0.0
    return seed_mean([row[name] for row in group], least=least, most=most)


def recommend_setting(groups: Sequence[ResultRow], margin: float) -> tuple[ResultRow | None, ResultRow]:
    """The setting with the highest SRS whose main metric is within a margin of the baseline's, and the baseline.

    Args:
        groups: Rows of `group_rows`, from the dev split.
        margin: Accuracy, as a fraction, that may be lost; of an error the share of the baseline's that may be added.

    Returns:
        The recommended setting, or None where SRS could be measured for none, and the baseline. The baseline is the
        setting without mask and losses, or the one with the best main metric where all settings have them.
    """
    metric = find_row_metric(groups[0])

    def judge(group: ResultRow) -> float:
        """How good a setting is: its accuracy, or its error with the opposite sign."""
        value: float = group[metric.key].value
        return value if metric.better == "higher" else -value

    baselines = [group for group in groups if is_baseline(group)]
    baseline = max(baselines or groups, key=judge)
    allowed = margin if metric.is_share else margin * abs(judge(baseline))
    accurate = [group for group in groups if judge(group) >= judge(baseline) - allowed]
    measured = [group for group in accurate if group["srs"] is not None]
    return max(measured, key=lambda group: group["srs"].value, default=None), baseline


def _find_varying(rows: Sequence[ResultRow]) -> set[str]:
    """Names of the settings in which some rows differ, the seed aside."""
    return {name for name in setting_names() if name != "seed" and len({repr(row[name]) for row in rows}) > 1}


def _shorten_values(values: Sequence[Any]) -> dict[str, str]:
    """Short texts of values by their `repr`; full texts where two short ones would be the same.

    The short text of a path is its last part.
    """
    texts = {repr(value): short_value(value) for value in values}
    return texts if len(set(texts.values())) == len(texts) else {repr(value): str(value) for value in values}


def _simplify_value(name: str, value: Any) -> Any:
    """The value as text where a column of the table would otherwise hold several types, as numbers and words."""
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return str(value) if name == "layers" else value
