"""Finished runs in, one table out: a row for each run, and one for each setting over its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from safr.config import setting_names
from safr.evaluation.srs import MAIN_PERCENT
from safr.evaluation.statistics import Estimate, seed_mean
from safr.experiments.grid import BASELINE_SETTINGS, is_baseline, short_value
from safr.experiments.runner import SplitName, scores_path
from safr.runs import Run
from safr.storage import read_json

SCORE_PATHS = {
    "accuracy": ("accuracy",),
    "random": ("deletion", "random", str(MAIN_PERCENT)),
    "capacity": ("deletion", "capacity", str(MAIN_PERCENT)),
    "srs": ("srs", str(MAIN_PERCENT)),
    "above_random": ("srs", "above_random", str(MAIN_PERCENT)),
}
"""Columns of the table, and where a run's scores hold them: accuracy, also after deletion, and what it falls by."""

ResultRow = dict[str, Any]


def result_rows(runs: Sequence[Run], split: SplitName) -> list[ResultRow]:
    """A row for each run: its settings, its epochs, and its scores with their intervals over texts.

    `srs_site` is the site whose capacity was read, which `site` may leave to each model.
    """
    found = []
    for run in runs:
        settings, scores, history = run.settings, read_json(scores_path(run, split)), run.history
        row: ResultRow = {"run": run.name, "split": split}
        row |= {name: _plain(name, settings.get(name)) for name in setting_names()}
        row |= {
            "srs_site": scores["site"],
            "epochs_run": len(history),
            "training_seconds": sum(line["seconds"] for line in history),
        }
        for name, path in SCORE_PATHS.items():
            estimate: Any = scores
            for key in path:
                estimate = estimate[key]
            row |= {name: estimate["value"], f"{name}_low": estimate["low"], f"{name}_high": estimate["high"]}
        found.append(row)
    return found


def setting_labels(groups: Sequence[ResultRow]) -> list[str]:
    """What each setting is called in tables and pictures: by what tells it from the others, no two alike."""
    among_baselines = _varying([each for each in groups if is_baseline(each)])
    names = _varying([each for each in groups if not is_baseline(each)]) | among_baselines
    shown = {name: _shortened([each[name] for each in groups]) for name in names}
    labels = []
    for each in groups:
        plain = is_baseline(each)
        told = [name for name in names if not plain or name not in BASELINE_SETTINGS or name in among_baselines]
        parts = [f"{name} {shown[name][repr(each[name])]}" for name in setting_names() if name in told]
        labels.append(", ".join(["baseline", *parts] if plain else parts) or "SAFR")
    return labels


def group_rows(rows: Sequence[ResultRow]) -> list[ResultRow]:
    """A row for each setting: what it is and is called, and the means over its seeds with their intervals."""
    names = [name for name in setting_names() if name != "seed"]
    groups: dict[tuple[Any, ...], list[ResultRow]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    labels = setting_labels([group[0] for group in groups.values()])
    return [
        dict(zip(names, values, strict=True))
        | {"label": label, "seeds": len(group), "srs_site": group[0]["srs_site"]}
        | {name: row_estimate(group, name) for name in SCORE_PATHS}
        for label, (values, group) in zip(labels, groups.items(), strict=True)
    ]


def row_estimate(group: Sequence[ResultRow], name: str) -> Estimate:
    """A score's mean over seeds; of one seed its interval is over texts."""
    if len(group) == 1:
        return Estimate(*(group[0][f"{name}{end}"] for end in ("", "_low", "_high")))
    return seed_mean([row[name] for row in group], least=-1.0 if name in ("srs", "above_random") else 0.0)


def recommend_setting(groups: Sequence[ResultRow], margin: float) -> tuple[ResultRow, ResultRow]:
    """The setting with the highest SRS among those whose accuracy is within a margin of the baseline's, and that.

    Args:
        groups: What `group_rows` gave, from the dev split.
        margin: Accuracy, as a fraction, that may be lost.

    Returns:
        The recommended setting and the baseline: the setting without mask and losses, or where there is none the one
        with the highest accuracy.
    """
    plain = [each for each in groups if is_baseline(each)]
    baseline = max(plain or groups, key=lambda each: each["accuracy"].value)
    enough = [each for each in groups if each["accuracy"].value >= baseline["accuracy"].value - margin]
    return max(enough, key=lambda each: each["srs"].value), baseline


def _varying(rows: Sequence[ResultRow]) -> set[str]:
    """Names of the settings in which some rows differ."""
    return {name for name in setting_names() if name != "seed" and len({repr(each[name]) for each in rows}) > 1}


def _shortened(values: Sequence[Any]) -> dict[str, str]:
    """Each value, by its `repr`, as briefly as keeps them apart: of paths the last part, unless several end alike."""
    found = {repr(value): short_value(value) for value in values}
    return found if len(set(found.values())) == len(found) else {repr(value): str(value) for value in values}


def _plain(name: str, value: Any) -> Any:
    """The value as one column can hold it: numbers of layers stand beside words."""
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return str(value) if name == "layers" else value
