"""Runs with different regularizers as tables, JSON and pictures, with the setting that is recommended."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.stats import rankdata

from safr.errors import InputError
from safr.evaluation.statistics import NOT_MEASURED, Estimate, format_number, format_percent, seed_mean
from safr.experiments.sweep import ACCURACY_MARGIN
from safr.experiments.text_table import TextTable
from safr.figures import ParetoPanel, delete_figure, pareto_fronts, save_figure
from safr.rounding import format_decimals
from safr.storage import alone_in, read_json, write_json, write_text

PLAIN, DROPOUT = "plain", "dropout"


@dataclass(frozen=True)
class Measure:
    """A number that runs are compared by."""

    heading: str
    """What the table calls it."""
    better: Literal["higher", "lower"]
    least: float = 0.0
    most: float = 1.0


EXPLANATION_MEASURES: dict[str, Measure] = {
    "srs": Measure("SRS", "higher", least=-1.0),
    "test_srs": Measure("SRS, test", "higher", least=-1.0),
    "test_srs_attention": Measure("SRS by attention, test", "higher", least=-1.0),
    "test_srs_relevance": Measure("SRS by relevance, test", "higher", least=-1.0),
    "test_srs_autoencoder": Measure("SRS by autoencoder, test", "higher", least=-1.0),
    "test_naopc": Measure("NAOPC, test", "higher", least=-1.0),
    "test_naopc_autoencoder": Measure("NAOPC by autoencoder, test", "higher", least=-1.0),
}
"""Measures of explanations, by capacity where none is named.

A sparse autoencoder reads out the plain model, so that training for readable neurons is compared with that."""

RANDOM_MEASURES: dict[str, Measure] = {"test_srs_random": Measure("SRS at random, test", "higher", least=-1.0)}
"""What deleting random words gives, above which an explanation should be."""

NEURON_MEASURES: dict[str, Measure] = {
    "monosemanticity": Measure("MonoScore", "higher"),
    "monosemanticity_above_chance": Measure("MonoScore above chance", "higher", least=-1.0),
    "vector_monosemanticity": Measure("MonoScore by vectors", "higher", least=-1.0),
    "vector_monosemanticity_above_chance": Measure("MonoScore by vectors above chance", "higher", least=-2.0),
    "token_entropy": Measure("token entropy", "lower"),
    "token_entropy_above_chance": Measure("token entropy above chance", "lower", least=-1.0),
    "class_separability": Measure("class separability", "higher"),
    "class_separability_above_chance": Measure("class separability above chance", "higher", least=-1.0),
    "class_selectivity": Measure("class selectivity", "higher"),
    "class_selectivity_above_chance": Measure("class selectivity above chance", "higher", least=-1.0),
    "single_class": Measure("of a single class", "higher"),
    "single_class_above_chance": Measure("of a single class above chance", "higher", least=-1.0),
    "neuron_sparsity": Measure("Hoyer sparsity", "higher"),
    "active": Measure("active", "lower"),
    "dead": Measure("dead", "lower"),
    "effective_features": Measure("features per neuron", "lower", most=math.inf),
}
"""Measures of the neurons of FC1 after its activation; see `safr.measure_neurons`.

Neurons that are seldom active have another entropy, separability and selectivity by chance, so that settings are
compared by what is above it."""

ABOVE_CHANCE = "_above_chance"
"""Ends the name of a measure of which the value by chance is subtracted."""

CHANGED_MEASURES = {name: measure for name, measure in NEURON_MEASURES.items() if not name.endswith(ABOVE_CHANCE)}
"""Measures of neurons that are 0 where there is nothing, so that a change is a share of what was there."""

COMPARED_MEASURES = EXPLANATION_MEASURES | NEURON_MEASURES
"""What runs are compared by beside their accuracy."""

MEASURES = COMPARED_MEASURES | RANDOM_MEASURES
"""All that the tables hold beside accuracy."""

CHOSEN_BY = ("srs", "monosemanticity_above_chance", "class_separability_above_chance")
"""Measures by whose mean rank a setting is recommended."""

RULE = (
    "Recommended is, among the settings whose accuracy on dev is at most {margin:g} points below that of plain, the "
    "one with the best mean rank on dev in SRS and, above chance, in MonoScore and class separability. A measure that "
    "no setting has is left out, and so is a setting without one that others have. A regularizer is better than "
    "dropout in a measure if the 95 % interval of the difference, paired by seed, is above 0; each is then in the "
    "setting that the same rule recommends among its own, or in the one with the best mean rank where all lose more."
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

    def pair(self, other: ComparedSetting, name: str) -> list[tuple[float, float]]:
        """A measure's value here and in another setting, for each seed that both have."""
        if name not in self.values or name not in other.values:
            return []
        values = dict(zip(self.seeds, self.values[name], strict=True))
        others = dict(zip(other.seeds, other.values[name], strict=True))
        return [(values[seed], others[seed]) for seed in values if seed in others]

    def change_from(self, other: ComparedSetting, name: str) -> Estimate | None:
        """By which share of its value there a measure is greater than in another setting, paired by seed.

        None where no seed is in both, or a value there is not above 0. Of one seed the interval is the value.
        """
        pairs = self.pair(other, name)
        if not pairs or any(before <= 0 for _, before in pairs):
            return None
        return _estimate([after / before - 1 for after, before in pairs], -math.inf, math.inf)

    def estimate(self, name: str) -> Estimate:
        """Mean over the seeds with its interval; of one seed there is none, and the interval is the value."""
        measure = MEASURES.get(name, Measure("", "higher"))
        return _estimate(self.values[name], measure.least, measure.most)


def write_comparison(
    folder: Path,
    settings: Sequence[ComparedSetting],
    margin: float = ACCURACY_MARGIN,
    failed: Mapping[str, str] | None = None,
) -> tuple[TextTable, TextTable]:
    """Tables of explanations and of neurons; writes `comparison.md`, `comparison.json` and `pareto`, a picture.

    Args:
        folder: Where the files go.
        settings: From `judge_runs` or `read_comparisons`.
        margin: Accuracy, as a fraction, that the recommended setting may lose against plain.
        failed: Error messages of the failed runs, by the name of the run.
    """
    failed = failed or {}
    recommended = recommend(settings, margin)
    beside_dropout = compare_with_dropout(settings, margin)
    table = comparison_table(settings, recommended, beside_dropout, failed, margin)
    neurons = neuron_table(settings)
    with alone_in(folder):
        tables = (table, neurons, change_table(settings))
        write_text(folder / "comparison.md", "\n".join(one.to_markdown() for one in tables))
        write_json(folder / "comparison.json", _to_json(settings, recommended, beside_dropout, failed, margin))
        if panels := _list_panels(settings):
            accuracies = {setting.label: astuple(setting.estimate("test_accuracy")) for setting in settings}
            best = None if recommended is None else recommended.label
            figure = pareto_fronts(accuracies, panels, recommended=best, title="Accuracy against each measure")
            save_figure(figure, folder / "pareto")
        else:
            delete_figure(folder / "pareto")  # of an earlier comparison, which had more settings
    return table, neurons


def read_comparisons(files: Sequence[Path]) -> tuple[ComparedSetting, ...]:
    """The settings of several comparisons put together, such as of one seed each from several machines.

    Args:
        files: `comparison.json` of each. A measure that not all of a setting's runs have is left out.

    Raises:
        InputError: A file is no comparison, two of them hold the same run, or none holds a run of plain.
    """
    found: dict[str, ComparedSetting] = {}
    for file in files:
        try:
            entries = [
                ComparedSetting(
                    entry["regularizer"],
                    entry["setting"],
                    tuple(entry["runs"]),
                    tuple(entry["seeds"]),
                    tuple(entry["commands"]),
                    {name: tuple(values) for name, values in entry["values"].items()},
                )
                for entry in read_json(file)["settings"]
            ]
        except (KeyError, TypeError, AttributeError):
            raise InputError(f"{file}: expected the comparison.json of `safr compare`, found another file") from None
        for entry in entries:
            found[entry.label] = _put_together(found[entry.label], entry, file) if entry.label in found else entry
    if not any(setting.regularizer == PLAIN for setting in found.values()):
        raise InputError("no run of plain is in these comparisons, with which the others are compared; add its file")
    return tuple(found.values())


def recommend(settings: Sequence[ComparedSetting], margin: float) -> ComparedSetting | None:
    """The setting that `RULE` recommends, or None where no measure could be taken.

    Args:
        settings: Settings, plain among them.
        margin: Accuracy on dev, as a fraction, that may be lost against plain.
    """
    return choose_setting(_keep_accurate(settings, _find_plain(settings), margin))


def choose_setting(settings: Sequence[ComparedSetting]) -> ComparedSetting | None:
    """The setting with the best mean rank in the measures of `CHOSEN_BY`, the first of equals; None without any."""
    names = [name for name in CHOSEN_BY if any(name in setting.values for setting in settings)]
    measured = [setting for setting in settings if all(name in setting.values for name in names)]
    if not (names and measured):
        return None
    ranks = [rankdata([_sign(name) * setting.estimate(name).value for setting in measured]) for name in names]
    return measured[int(np.mean(ranks, axis=0).argmax())]


def compare_with_dropout(settings: Sequence[ComparedSetting], margin: float) -> dict[str, dict[str, list[str]]]:
    """By regularizer, the measures in which it is `better` than dropout, `worse`, and `no different`; see `RULE`.

    Empty without dropout, or with a single seed, of which nothing can be said.

    Args:
        settings: Settings, plain among them.
        margin: Accuracy on dev, as a fraction, that may be lost against plain.
    """
    plain, chosen = _find_plain(settings), {}
    for name in dict.fromkeys(setting.regularizer for setting in settings):
        own = [setting for setting in settings if setting.regularizer == name]
        chosen[name] = choose_setting(_keep_accurate(own, plain, margin) or own)
    dropout, found = chosen.get(DROPOUT), {}
    for name, setting in chosen.items():
        if dropout is None or setting is None or name in (DROPOUT, PLAIN):
            continue
        verdicts: dict[str, list[str]] = {"better": [], "worse": [], "no different": []}
        for measure in ("test_accuracy", *COMPARED_MEASURES):
            pairs = setting.pair(dropout, measure)
            if len(pairs) < 2 or setting.pair(dropout, f"{measure}{ABOVE_CHANCE}"):
                continue
            change = _estimate([_sign(measure) * (own - other) for own, other in pairs], -math.inf, math.inf)
            verdicts["better" if change.low > 0 else "worse" if change.high < 0 else "no different"].append(measure)
        if any(verdicts.values()):
            found[name] = verdicts
    return found


def comparison_table(
    settings: Sequence[ComparedSetting],
    recommended: ComparedSetting | None,
    beside_dropout: Mapping[str, Mapping[str, Sequence[str]]],
    failed: Mapping[str, str],
    margin: float,
) -> TextTable:
    """A row per setting; its notes name the recommended one, those no better than dropout, and the runs that failed."""
    measures = _list_measured(settings, EXPLANATION_MEASURES | RANDOM_MEASURES)
    rows = []
    for setting in settings:
        cells = (_format(setting, name) for name in ("test_accuracy", *measures))
        rows.append((setting.regularizer, setting.label, str(len(setting.runs)), *cells))
    best = "none, for a measure could not be taken" if recommended is None else recommended.label
    notes = [RULE.format(margin=100 * margin), f"Recommended: {best}."]
    for name, verdicts in beside_dropout.items():
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
        "Ways to train readable neurons: mean over seeds [95 % interval], in per cent but for NAOPC; accuracy is of "
        "the test split, and what does not say test is of dev.",
        ("regularizer", "setting", "seeds", "accuracy", *(MEASURES[name].heading for name in measures)),
        tuple(rows),
        note="\n\n".join(notes),
    )


def neuron_table(settings: Sequence[ComparedSetting]) -> TextTable:
    """A row per setting with the measures of its neurons."""
    measures = _list_measured(settings, NEURON_MEASURES)
    return TextTable(
        "neurons",
        "Neurons of FC1 on dev: mean over seeds [95 % interval].",
        ("setting", *(MEASURES[name].heading for name in measures)),
        tuple((setting.label, *(_format(setting, name) for name in measures)) for setting in settings),
    )


def change_table(settings: Sequence[ComparedSetting]) -> TextTable:
    """A row per setting with the changes of its neurons against those of plain.

    What is above chance is left out: it can be near 0 or below, so that a share of it says nothing.
    """
    plain, measures = _find_plain(settings), _list_measured(settings, CHANGED_MEASURES)
    rows = []
    for setting in settings:
        if setting is not plain:
            changes = (setting.change_from(plain, name) for name in measures)
            rows.append((setting.label, *map(_format_change, changes)))
    return TextTable(
        "changes",
        "By how many per cent neurons change against plain, paired by seed: mean [95 % interval].",
        ("setting", *(MEASURES[name].heading for name in measures)),
        tuple(rows),
    )


def _list_panels(settings: Sequence[ComparedSetting]) -> list[ParetoPanel]:
    """The measures in which settings differ, to be drawn against accuracy: above chance where chance is known."""
    panels = []
    for name, measure in COMPARED_MEASURES.items():
        if any(f"{name}{ABOVE_CHANCE}" in setting.values for setting in settings):
            continue
        scale = 100 if _is_share_of_texts(name) else 1
        values: dict[str, Any] = {
            setting.label: tuple(scale * number for number in astuple(setting.estimate(name)))
            for setting in settings
            if name in setting.values
        }
        if len({value for value, *_ in values.values()}) > 1:
            panels.append(ParetoPanel(measure.heading, values, measure.better))
    return panels


def _find_plain(settings: Sequence[ComparedSetting]) -> ComparedSetting:
    return next(setting for setting in settings if setting.regularizer == PLAIN)


def _keep_accurate(settings: Sequence[ComparedSetting], plain: ComparedSetting, margin: float) -> list[ComparedSetting]:
    """The settings that lose at most a margin of plain's accuracy on dev."""
    least = plain.estimate("dev_accuracy").value - margin
    return [setting for setting in settings if setting.estimate("dev_accuracy").value >= least]


def _list_measured(settings: Sequence[ComparedSetting], measures: Mapping[str, Measure]) -> list[str]:
    return [name for name in measures if any(name in setting.values for setting in settings)]


def _put_together(one: ComparedSetting, other: ComparedSetting, file: Path) -> ComparedSetting:
    if same := [run for run in other.runs if run in one.runs]:
        raise InputError(f"{file}: the run {same[0]} is in another comparison too; give each run once")
    values = {name: one.values[name] + other.values[name] for name in one.values if name in other.values}
    runs, seeds, commands = one.runs + other.runs, one.seeds + other.seeds, one.commands + other.commands
    return ComparedSetting(one.regularizer, one.label, runs, seeds, commands, values)


def _estimate(values: Sequence[float], least: float, most: float) -> Estimate:
    """Mean over seeds; of one there is no interval, and its ends are the value."""
    return (
        Estimate(values[0], values[0], values[0])
        if len(values) == 1
        else seed_mean(list(values), least=least, most=most)
    )


def _sign(measure: str) -> int:
    return -1 if measure in MEASURES and MEASURES[measure].better == "lower" else 1


def _heading(measure: str) -> str:
    return MEASURES[measure].heading if measure in MEASURES else "accuracy"


def _format(setting: ComparedSetting, measure: str) -> str:
    if measure not in setting.values:
        return NOT_MEASURED
    estimate = setting.estimate(measure).to_dict()
    text = format_percent(estimate) if _is_share_of_texts(measure) else format_number(estimate)
    return text if len(setting.runs) > 1 else text.partition(" ")[0]  # one run has no interval over seeds


def _is_share_of_texts(measure: str) -> bool:
    """Whether a measure is shown in per cent, as accuracy is."""
    return "srs" in measure or "accuracy" in measure


def _format_change(change: Estimate | None) -> str:
    if change is None:
        return NOT_MEASURED
    decimals = 0 if max(abs(change.low), abs(change.high)) >= 0.1 else 1
    value, low, high = (_format_signed(100 * number, decimals) for number in astuple(change))
    return value if change.low == change.high else f"{value} [{low}, {high}]"


def _format_signed(value: float, decimals: int) -> str:
    text = format_decimals(value, decimals)
    return f"+{text}" if float(text) > 0 else text


def _to_json(
    settings: Sequence[ComparedSetting],
    recommended: ComparedSetting | None,
    beside_dropout: Mapping[str, Mapping[str, Sequence[str]]],
    failed: Mapping[str, str],
    margin: float,
) -> dict[str, Any]:
    plain = _find_plain(settings)

    def list_changes(setting: ComparedSetting) -> dict[str, dict[str, float]]:
        changes = {name: setting.change_from(plain, name) for name in CHANGED_MEASURES}
        return {name: change.to_dict() for name, change in changes.items() if change is not None}

    return {
        "rule": RULE.format(margin=100 * margin),
        "recommended": None if recommended is None else recommended.label,
        "settings": [
            {
                "regularizer": setting.regularizer,
                "setting": setting.label,
                "runs": setting.runs,
                "seeds": setting.seeds,
                "commands": setting.commands,
                "values": setting.values,
                "changes": {} if setting is plain else list_changes(setting),
            }
            for setting in settings
        ],
        "beside_dropout": beside_dropout,
        "failed": failed,
    }
