"""Runs with different regularizers as tables, JSON and pictures, with the setting that is recommended."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.stats import rankdata

from safr.evaluation.statistics import Estimate, format_number, format_percent, seed_mean
from safr.experiments.sweep import ACCURACY_MARGIN
from safr.experiments.text_table import TextTable
from safr.figures import pareto_front, save_figure
from safr.storage import alone_in, write_json, write_text

PLAIN, DROPOUT = "plain", "dropout"


@dataclass(frozen=True)
class Measure:
    """A number that runs are compared by."""

    heading: str
    """What the table calls it."""
    better: Literal["higher", "lower"]
    least: float = 0.0
    most: float = 1.0


MEASURES: dict[str, Measure] = {
    "srs": Measure("SRS", "higher", least=-1.0),
    "monosemanticity": Measure("MonoScore", "higher"),
    "token_entropy": Measure("token entropy", "lower"),
    "class_separability": Measure("class separability", "higher"),
    "effective_features": Measure("features per neuron", "lower", most=math.inf),
    "active": Measure("active", "lower"),
    "dead": Measure("dead", "lower"),
    "test_srs": Measure("SRS, test", "higher", least=-1.0),
    "test_srs_relevance": Measure("SRS by relevance, test", "higher", least=-1.0),
    "test_naopc": Measure("NAOPC, test", "higher", least=-1.0),
    "test_srs_autoencoder": Measure("SRS by autoencoder, test", "higher", least=-1.0),
    "test_naopc_autoencoder": Measure("NAOPC by autoencoder, test", "higher", least=-1.0),
}
"""What runs are compared by beside their accuracy. Those of neurons are of FC1 after its activation.

A sparse autoencoder reads out the plain model, so that training for readable neurons is compared with that."""

CHOSEN_BY = ("srs", "monosemanticity", "class_separability")
"""Measures by whose mean rank a setting is recommended."""

RULE = (
    "Recommended is, among the settings whose accuracy on dev is at most {margin:g} points below that of plain, the "
    "one with the best mean rank in SRS, MonoScore and class separability on dev. A regularizer is better than "
    "dropout in a measure if the 95 % interval of the difference, paired by seed, is above 0; each is then in the "
    "setting that has the best mean rank."
)


@dataclass(frozen=True)
class ComparedSetting:
    """A setting of a regularizer, and what its runs came to."""

    regularizer: str
    label: str
    runs: tuple[str, ...]
    """Names of its runs, one for each seed."""
    seeds: tuple[int, ...]
    commands: tuple[str, ...]
    """The command that repeats each run."""
    values: dict[str, tuple[float, ...]]
    """By measure and for `accuracy`, dev and test: one value for each seed."""

    def subtract(self, other: ComparedSetting, name: str) -> list[float]:
        """By how much a measure is greater than another setting's, for each seed that both have."""
        if name not in self.values or name not in other.values:
            return []
        values = dict(zip(self.seeds, self.values[name], strict=True))
        others = dict(zip(other.seeds, other.values[name], strict=True))
        return [values[seed] - others[seed] for seed in values if seed in others]

    def estimate(self, name: str) -> Estimate:
        """Mean over the seeds with its interval; of one seed there is none, and the interval is the value."""
        values, measure = self.values[name], MEASURES.get(name, Measure("", "higher"))
        if len(values) == 1:
            return Estimate(values[0], values[0], values[0])
        return seed_mean(list(values), least=measure.least, most=measure.most)


def write_comparison(
    folder: Path,
    settings: Sequence[ComparedSetting],
    margin: float = ACCURACY_MARGIN,
    failed: Mapping[str, str] | None = None,
) -> TextTable:
    """The table of judged settings; writes `comparison.md`, `comparison.json` and a picture for each measure.

    Args:
        folder: Where the files go.
        settings: From `judge_runs`.
        margin: Accuracy, as a fraction, that the recommended setting may lose against plain.
        failed: Error messages of the failed runs, by the name of the run.
    """
    failed = failed or {}
    recommended = recommend(settings, margin)
    table = comparison_table(settings, recommended, failed, margin)
    with alone_in(folder):
        write_text(folder / "comparison.md", table.to_markdown())
        write_json(folder / "comparison.json", _to_json(settings, recommended, margin, failed))
        for name, measure in MEASURES.items():
            points = {
                setting.label: (astuple(setting.estimate("test_accuracy")), astuple(setting.estimate(name)))
                for setting in settings
                if name in setting.values
            }
            if points:
                best = recommended.label if recommended else None
                figure = pareto_front(points, recommended=best, measure=(measure.heading, measure.better))
                save_figure(figure, folder / f"pareto_{name}")
    return table


def recommend(settings: Sequence[ComparedSetting], margin: float) -> ComparedSetting | None:
    """The setting that `RULE` recommends, or None where no measure could be taken.

    Args:
        settings: Settings, plain among them.
        margin: Accuracy on dev, as a fraction, that may be lost against plain.
    """
    plain = next(setting for setting in settings if setting.regularizer == PLAIN)
    least = plain.estimate("dev_accuracy").value - margin
    return choose_setting([setting for setting in settings if setting.estimate("dev_accuracy").value >= least])


def choose_setting(settings: Sequence[ComparedSetting]) -> ComparedSetting | None:
    """The setting with the best mean rank in the measures of `CHOSEN_BY`, the first of equals; None without any."""
    measured = [setting for setting in settings if all(name in setting.values for name in CHOSEN_BY)]
    if not measured:
        return None
    ranks = [rankdata([_sign(name) * setting.estimate(name).value for setting in measured]) for name in CHOSEN_BY]
    return measured[int(np.mean(ranks, axis=0).argmax())]


def compare_with_dropout(settings: Sequence[ComparedSetting]) -> dict[str, dict[str, list[str]]]:
    """By regularizer, the measures in which it is `better` than dropout, `worse`, and `no different`; see `RULE`.

    Empty without dropout, or with a single seed, of which nothing can be said.
    """
    names = dict.fromkeys(setting.regularizer for setting in settings)
    chosen = {name: choose_setting([each for each in settings if each.regularizer == name]) for name in names}
    dropout, found = chosen.get(DROPOUT), {}
    for name, setting in chosen.items():
        if dropout is None or setting is None or name in (DROPOUT, PLAIN):
            continue
        verdicts: dict[str, list[str]] = {"better": [], "worse": [], "no different": []}
        for measure in ("test_accuracy", *MEASURES):
            changes = setting.subtract(dropout, measure)
            if len(changes) < 2:
                continue
            change = seed_mean([_sign(measure) * value for value in changes], least=-math.inf, most=math.inf)
            verdicts["better" if change.low > 0 else "worse" if change.high < 0 else "no different"].append(measure)
        if any(verdicts.values()):
            found[name] = verdicts
    return found


def comparison_table(
    settings: Sequence[ComparedSetting],
    recommended: ComparedSetting | None,
    failed: Mapping[str, str],
    margin: float,
) -> TextTable:
    """A row per setting; its notes name the recommended one, those no better than dropout, and the runs that failed."""
    measures = [name for name in MEASURES if any(name in setting.values for setting in settings)]
    rows = []
    for setting in settings:
        accuracy = format_percent(setting.estimate("test_accuracy").to_dict())
        cells = (_format(setting, name) for name in measures)
        rows.append((setting.regularizer, setting.label, str(len(setting.runs)), accuracy, *cells))
    best = "none, for a measure could not be taken" if recommended is None else recommended.label
    notes = [RULE.format(margin=100 * margin), f"Recommended: {best}."]
    for name, verdicts in compare_with_dropout(settings).items():
        parts = [
            f"{verdict} in {', '.join(_heading(measure) for measure in found)}"
            for verdict, found in verdicts.items()
            if found
        ]
        is_better = any(measure != "test_accuracy" for measure in verdicts["better"])
        notes.append(f"{name} beside dropout: {'' if is_better else 'no better; '}{'; '.join(parts)}.")
    notes += [f"Failed: {name}: {error}" for name, error in failed.items()]
    return TextTable(
        "comparison",
        "Ways to train readable neurons: mean over seeds [95 % interval]; accuracy is of the test split, and what does "
        "not say test is of dev.",
        ("regularizer", "setting", "seeds", "accuracy", *(MEASURES[name].heading for name in measures)),
        tuple(rows),
        note="\n\n".join(notes),
    )


def _sign(measure: str) -> int:
    return -1 if measure in MEASURES and MEASURES[measure].better == "lower" else 1


def _heading(measure: str) -> str:
    return MEASURES[measure].heading if measure in MEASURES else "accuracy"


def _format(setting: ComparedSetting, measure: str) -> str:
    if measure not in setting.values:
        return "–"
    estimate = setting.estimate(measure).to_dict()
    return format_percent(estimate) if "srs" in measure else format_number(estimate)


def _to_json(
    settings: Sequence[ComparedSetting], recommended: ComparedSetting | None, margin: float, failed: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "rule": RULE.format(margin=100 * margin),
        "recommended": None if recommended is None else recommended.label,
        "settings": [
            {
                "regularizer": setting.regularizer,
                "setting": setting.label,
                "runs": list(setting.runs),
                "commands": list(setting.commands),
                "values": {name: list(values) for name, values in setting.values.items()},
            }
            for setting in settings
        ],
        "beside_dropout": compare_with_dropout(settings),
        "failed": dict(failed),
    }
