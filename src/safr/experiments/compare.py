"""Ways to train readable neurons, side by side: SAFR, other regularizers, a gate, and dropout as the cheap control."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from safr.attribution.relevance import has_rules
from safr.config import Settings
from safr.data import TextDataset
from safr.errors import InputError
from safr.evaluation.benchmark import AUTOENCODER, benchmark
from safr.evaluation.labels import align_labels
from safr.evaluation.neuron_measures import measure_neurons
from safr.evaluation.srs import MAIN_PERCENT
from safr.experiments.comparison_table import ABOVE_CHANCE, DROPOUT, NEURON_MEASURES, PLAIN, ComparedSetting
from safr.experiments.grid import BASELINE_SETTINGS, expand_seeds, is_baseline, merge_jobs, short_value
from safr.experiments.runner import scores_path
from safr.inference import get_task
from safr.progress import PartProgress, no_progress
from safr.runs import Run, check_same_data
from safr.storage import read_json, write_json

REGULARIZERS: dict[str, tuple[dict[str, Any], ...]] = {
    PLAIN: ({},),
    DROPOUT: ({"neuron_dropout": 0.2}, {"neuron_dropout": 0.5}),
    "VMASK": ({"vmask": True},),
    "SAFR": (
        {"vmask": True, "importance": 0.1, "interaction": 0.1},
        {"vmask": True, "importance": 1.0, "interaction": 0.1},
    ),
    "L1": ({"neuron_losses": ("l1=0.1",)}, {"neuron_losses": ("l1=1",)}),
    "L1/L2": ({"neuron_losses": ("l1_l2=0.1",)}, {"neuron_losses": ("l1_l2=1",)}),
    "decorrelation": ({"neuron_losses": ("decorrelation=0.1",)}, {"neuron_losses": ("decorrelation=1",)}),
    "token entropy": ({"neuron_losses": ("token_entropy=0.1",)}, {"neuron_losses": ("token_entropy=1",)}),
    "MonoLoss": ({"neuron_losses": ("monosemanticity=0.1",)}, {"neuron_losses": ("monosemanticity=1",)}),
    "TopK": ({"top_k": 32}, {"top_k": 128}),
}
"""The settings of each regularizer, as what they change in a model that nothing is added to.

A loss in [0, 1] has the weight 0.1, at which it is small beside the task's, or 1, at which it is as large."""

OWN = "own settings"
"""Name of what the user's own settings add to a model, unless they are a regularizer's with other weights."""

BENCHMARKED_TEXTS = 400
"""Test texts whose explanations are judged."""


def comparison_jobs(
    base: Settings, seeds: Sequence[int], regularizers: Sequence[str] | None = None
) -> dict[str, Settings]:
    """Settings of every regularizer with every seed, by the name of the run.

    Args:
        base: What all runs share. What it adds to a model is compared too, if it is none of the settings in
            `REGULARIZERS`.
        seeds: Seeds.
        regularizers: Names of `REGULARIZERS`; plain is always among them. Default: all.

    Raises:
        InputError: There is no regularizer of a name.
    """
    names = list(REGULARIZERS) if regularizers is None else list(dict.fromkeys([PLAIN, *regularizers]))
    if unknown := [name for name in names if name not in REGULARIZERS]:
        raise InputError(f"no regularizer is called {unknown[0]!r}; known are {', '.join(REGULARIZERS)}")
    compared = {_label(name, changed): changed for name in names for changed in REGULARIZERS[name]}
    known = [base.changed(**BASELINE_SETTINGS | changed) for grid in REGULARIZERS.values() for changed in grid]
    own = {name: base.get(name) for name in BASELINE_SETTINGS}
    if base not in known and not is_baseline(own):
        compared[_label(OWN, own)] = own
    return merge_jobs(
        *(expand_seeds(label, base, BASELINE_SETTINGS | changed, seeds) for label, changed in compared.items())
    )


def find_regularizer(label: str) -> str:
    """Name of the regularizer that a setting is one of, with these or other weights; `OWN` if it is none of them.

    Args:
        label: Name of a run without its seed, from `comparison_jobs`.

    >>> find_regularizer("importance=0.3,interaction=0.1"), find_regularizer("importance=0.3,top_k=64")
    ('SAFR', 'own settings')
    """
    names = {_without_values(_label(name, changed)): name for name, grid in REGULARIZERS.items() for changed in grid}
    return names.get(_without_values(label), OWN)


def judge_runs(
    folder: Path,
    names: Sequence[str],
    texts: int = BENCHMARKED_TEXTS,
    costly_texts: int | None = None,
    autoencoders: int = 0,
    encoder: tuple[PreTrainedModel, PreTrainedTokenizerBase] | None = None,
    data_dir: Path | None = None,
    parts: PartProgress = no_progress,
) -> tuple[tuple[ComparedSetting, ...], dict[str, str]]:
    """The settings of finished runs with all measures, and the error message of every run that could not be judged.

    What is judged once is not judged again.

    Args:
        folder: Folder of all runs.
        names: Their names, from `comparison_jobs`; evaluated on dev and test.
        texts: Test texts whose explanations are judged.
        costly_texts: Of these, how many are used for NAOPC, which needs many passes. Default: 100.
        autoencoders: Sparse autoencoders that count the features of each run's neurons, which takes longer than all
            else; 0 leaves that out.
        encoder: An independent encoder of texts, such as a MiniLM, and its tokenizer. MonoScore is then also measured
            by its vectors of words.
        data_dir: Folder where archives of data are looked for first.
        parts: Called with the name of each part as it begins.

    Raises:
        InputError: No run of plain is there or could be judged, the data changed between runs, or the task has no
            accuracy.
    """
    if not any(_is_plain(name) for name in names):
        raise InputError("no run of plain is finished, with which the others are compared; see the failed runs above")
    runs = {name: Run(folder / name) for name in names}
    check_same_data(list(runs.values()))
    data = next(iter(runs.values())).load_data(data_dir=data_dir)  # the others' are the same
    check_has_accuracy(data)
    values, failed = dict[str, dict[str, float]](), dict[str, str]()
    for done, (name, run) in enumerate(runs.items()):
        parts(name)(done, len(runs))
        try:
            scores = _read_scores(run)
            neurons = _measure_neurons(run, data, autoencoders, encoder)
            values[name] = scores | neurons | _judge_explanations(run, data, texts, costly_texts, data_dir)
        except InputError as error:
            failed[name] = str(error)
    if not any(_is_plain(name) for name in values):
        reason = next(message for name, message in failed.items() if _is_plain(name))
        raise InputError(f"no run of plain could be judged, with which the others are compared: {reason}")
    return _group({name: runs[name] for name in values}, values), failed


def check_has_accuracy(data: TextDataset) -> None:
    """Raise an InputError if numbers are predicted."""
    if data.task == "regression":
        raise InputError("regularizers are compared by accuracy, which numbers to predict lack; see `safr sweep`")


def _read_scores(run: Run) -> dict[str, float]:
    """Accuracy and SRS of a run, by capacity, attention and at random; SRS is missing where it could not be taken."""
    dev, test, k = run.read_scores(scores_path(run, "dev")), run.scores, str(MAIN_PERCENT)
    found = {"dev_accuracy": dev["accuracy"]["value"], "test_accuracy": test["accuracy"]["value"]}
    for name, scores in (("srs", dev), ("test_srs", test)):
        if (estimate := (scores.get("srs") or {}).get(k)) is not None:
            found[name] = estimate["value"]
    for by in ("attention", "random"):
        if (accuracy := (test.get("deletion") or {}).get(by, {}).get(k)) is not None:
            found[f"test_srs_{by}"] = found["test_accuracy"] - accuracy["value"]
    return found


def _judge_explanations(
    run: Run, data: TextDataset, texts: int, costly_texts: int | None, data_dir: Path | None
) -> dict[str, float]:
    """The benchmark's measures of a run's explanations, of those that could be taken."""
    judged = benchmark(
        run,
        data,
        methods=["relevance" if has_rules(run.load_model()[0]) else "capacity"],
        autoencoder=_is_plain(run.name),
        removals=["delete"],
        limit=texts,
        costly_texts=costly_texts,
        data_dir=data_dir,
    )["methods"]
    asked = [("test_srs_relevance", "relevance", "srs"), ("test_naopc", "capacity", "naopc")]
    if _is_plain(run.name):
        asked += [(f"test_{metric}_autoencoder", AUTOENCODER, metric) for metric in ("srs", "naopc")]
    found = {}
    for name, method, metric in asked:
        value = judged[method]["values"]["delete"].get(metric, {}).get("value") if method in judged else None
        if value is not None and not math.isnan(value):
            found[name] = float(value)
    return found


def _measure_neurons(
    run: Run,
    data: TextDataset,
    autoencoders: int,
    encoder: tuple[PreTrainedModel, PreTrainedTokenizerBase] | None,
) -> dict[str, float]:
    """The measures of a run's neurons on its dev split; they are kept in `neurons_dev.json` in its folder."""
    measured_with = {"autoencoders": autoencoders, "encoder": None if encoder is None else encoder[0].name_or_path}
    file = run.folder / "neurons_dev.json"
    measures = None
    with suppress(InputError, KeyError, TypeError):  # a damaged file is made again
        kept = read_json(file) if file.is_file() else {}
        measures = dict(kept["measures"]) if kept["measured_with"] == measured_with else None
    if measures is None:
        model, tokenizer = run.load_model()
        dev = align_labels(model, tokenizer, data, run.settings.max_tokens).dev
        measured = measure_neurons(
            model,
            tokenizer,
            dev.texts,
            list(dev.labels) if get_task(model) == "classification" else None,
            encoder=encoder,
            max_tokens=run.settings.max_tokens,
            autoencoders=autoencoders,
            seed=run.settings.recipe.seed,
        )
        measures = measured.to_dict()
        write_json(file, {"measured_with": measured_with, "measures": measures})
    found = {name: value["value"] for name, value in measures.items() if isinstance(value, dict)}
    found["active"] /= measures["neurons"]
    above = {f"{name}{ABOVE_CHANCE}": value - measures.get(f"{name}_by_chance", 0.0) for name, value in found.items()}
    return {name: value for name, value in (found | above).items() if name in NEURON_MEASURES}


def _group(runs: Mapping[str, Run], values: Mapping[str, Mapping[str, float]]) -> tuple[ComparedSetting, ...]:
    """The settings, each with its runs; a measure that a run lacks is left out."""
    by_label: dict[str, list[str]] = {}
    for name in runs:
        by_label.setdefault(name.rpartition(",seed=")[0], []).append(name)
    settings = []
    for label, names in by_label.items():
        shared = [key for key in values[names[0]] if all(key in values[name] for name in names)]
        by_measure = {key: tuple(values[name][key] for name in names) for key in shared}
        seeds = tuple(runs[name].settings.recipe.seed for name in names)
        commands = tuple(runs[name].command for name in names)
        settings.append(ComparedSetting(find_regularizer(label), label, tuple(names), seeds, commands, by_measure))
    return tuple(settings)


def _label(regularizer: str, changed: Mapping[str, Any]) -> str:
    """What a run and a row of the table are called, without the seed."""
    shown = {name: value for name, value in changed.items() if value != BASELINE_SETTINGS[name] and name != "vmask"}
    if shown.keys() & {"importance", "interaction"} and not changed["vmask"]:
        shown = {"vmask": False} | shown
    parts = [
        short_value(value) if name == "neuron_losses" else f"{name}={short_value(value)}"
        for name, value in shown.items()
    ]
    return ",".join(parts) or regularizer


def _without_values(label: str) -> str:
    """A label without its numbers, which all settings of one regularizer share."""
    return re.sub(r"=[^,+]*", "", label)


def _is_plain(name: str) -> bool:
    return name.startswith(f"{PLAIN},")
