"""The benchmark of explanations: every attribution method by every metric, with tests, costs and conclusions."""

from __future__ import annotations

import os
import platform
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

import safr
from safr.attribution.registry import (
    ABSOLUTE_PREFIX,
    AttributionFunction,
    AttributionResult,
    attribute,
    check_methods,
    default_methods,
    get_method,
    is_method,
    is_signed,
)
from safr.attribution.score_files import read_scores, write_scores
from safr.data import Split, TextDataset
from safr.errors import InputError
from safr.evaluation.autoencoder_scores import autoencoder_scores
from safr.evaluation.benchmark_data import SUBSET_SIZES, BenchmarkData, load_run_data, make_model_data
from safr.evaluation.benchmark_metrics import CACHE_VERSION, REFERENCE_METHOD, compute_metrics
from safr.evaluation.causal import CAUSAL_METRICS
from safr.evaluation.conclusions import CONCLUSION_RULES, draw_conclusions
from safr.evaluation.faithfulness import MetricValues
from safr.evaluation.metrics import get_metrics
from safr.evaluation.per_text_results import ResultTable, equal_results, read_results, write_results
from safr.evaluation.removal import REMOVALS, Removal, Remover, make_remover
from safr.evaluation.significance import compare_with_others
from safr.evaluation.statistics import bootstrap_mean
from safr.inference import get_task
from safr.model.regularizer import get_explaining_site
from safr.progress import PartProgress, no_progress
from safr.runs import Run
from safr.storage import read_json, write_json

SCHEMA_VERSION = 1
"""Version of what `benchmark.json` holds; see `benchmark.schema.json`."""

AUTOENCODER = "autoencoder"
"""What the scores of a sparse autoencoder are called beside attribution methods."""

MAX_TEXTS = 2000
"""Test texts that a run is judged on at most, unless more are asked for."""


def benchmark(
    run_or_model: Run | PreTrainedModel,
    data: TextDataset | Split | None = None,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    methods: Sequence[str] | None = None,
    files: Mapping[str, Path] | None = None,
    autoencoder: bool = False,
    removals: Sequence[Removal] | None = None,
    limit: int = MAX_TEXTS,
    costly_texts: int | None = None,
    max_tokens: int | None = None,
    output: Path | None = None,
    data_dir: Path | None = None,
    device: str | None = None,
    progress: PartProgress = no_progress,
) -> dict[str, Any]:
    """Judge the explanations of a run, or of a model with its tokenizer, on test texts.

    Finished parts are kept in the folder `benchmark` of the run or of `output`, so that a benchmark that was stopped
    can continue.

    Args:
        run_or_model: A trained run, or a model that classifies texts or words, predicts a number, writes text or
            answers questions.
        data: The data that the run was trained on; another gives an InputError. Default: they are loaded. For a model
            any data set, or a split of one: `Split(texts, labels)`.
        tokenizer: The model's; a run brings its own.
        methods: Names of attribution methods (see `safr.attribution.registry`). Default: all that the model can be
            asked for, but `COSTLY_METHODS`. Capacity and random scores are always there.
        files: Files of other scores, by the name that they get; see `read_scores`.
        autoencoder: Also judge the scores that a sparse autoencoder of the neurons gives, which is trained on the
            training texts first; see `safr.evaluation.autoencoder_scores`. That takes minutes, and its cost is not in
            the table.
        removals: How words are removed, `delete` among them. Default: every way that the model can't see through.
        limit: At most so many texts: those whose SHA-256 comes first.
        costly_texts: Of these, at most so many texts for what needs many passes: NAOPC (100 otherwise), shuffled
            weights (50) and interventions. For deep models.
        max_tokens: Tokens read of each text by a model. Default: all. A run reads as many as it was trained with.
        output: Folder for the results of a model. Default: nothing is written down.
        data_dir: Folder where archives of data are looked for first.
        device: Where a run's model goes. Default: the GPU, where there is one. A model stays where it is.
        progress: Called with the name of each part as it begins.

    Returns:
        What `benchmark.json` holds; the values of single texts are in `benchmark.parquet`.

    Raises:
        InputError: Data that don't fit, an unknown method, a file that does not fit the texts, a way of removing words
            that the model sees through, or a model without tokenizer or data.
    """
    if costly_texts is not None and costly_texts < 2:
        raise InputError(f"`costly_texts` must be at least 2, got {costly_texts}")
    if removals is not None and (unknown := {removals} if isinstance(removals, str) else {*removals} - {*REMOVALS}):
        raise InputError(f"expected removals from {', '.join(REMOVALS)}, as a list, got {', '.join(sorted(unknown))}")
    if removals is not None and "delete" not in removals:
        raise InputError(f"expected delete among the removals, since most metrics need it, got {', '.join(removals)}")
    if taken := [
        name
        for name in files or {}
        if is_method(name) or name == AUTOENCODER or name.startswith(("random", ABSOLUTE_PREFIX))
    ]:
        raise InputError(f"{taken[0]!r} is the name of a method; give the scores of the file another name")
    with ExitStack() as stack:
        if isinstance(run_or_model, Run):
            stack.enter_context(run_or_model.lock())
            data = run_or_model.load_data(data_dir=data_dir) if data is None else data
            if not isinstance(data, TextDataset):
                raise InputError("a run is judged on the data it was trained on, but a split was given; leave it out")
            judged = load_run_data(run_or_model, data, limit, data_dir, device=device)
        else:
            if tokenizer is None or data is None:
                raise InputError("judging a model needs a tokenizer and data; pass both, or pass the model's run")
            folder = Path(stack.enter_context(TemporaryDirectory())) if output is None else output
            judged = make_model_data(
                run_or_model, tokenizer, data, folder, limit, max_tokens=max_tokens, data_dir=data_dir
            )
        judged = replace(judged, costly_texts=costly_texts)
        return _judge(judged, methods, files or {}, autoencoder, removals, progress)


def benchmark_folder(run: Run) -> Path:
    """Where a run keeps what of its benchmark is done."""
    return run.attributions_folder.parent


def _judge(
    data: BenchmarkData,
    methods: Sequence[str] | None,
    files: Mapping[str, Path],
    autoencoder: bool,
    removals: Sequence[Removal] | None,
    progress: PartProgress,
) -> dict[str, Any]:
    check_methods(data.model, methods or ())
    if autoencoder and not data.training_texts:
        raise InputError("an autoencoder is trained on training texts, but a split was given; pass the whole data set")
    file_scores = {name: read_scores(path, data.texts, data.numbers) for name, path in files.items()}
    names = [*(methods or default_methods(data.model)), *([AUTOENCODER] if autoencoder else [])]
    attributions = _attribute_all(data, names, progress)
    attributions |= {name: AttributionResult(scores) for name, scores in file_scores.items()}
    removers = _make_removers(data, removals)
    scores = {name: attribution.scores for name, attribution in attributions.items()}
    folder = data.folder
    table = compute_metrics(data, scores, removers, benchmark_folder(folder), progress)
    previous_table = read_results(folder.benchmark_values_file, data.numbers)
    if previous_table is not None and equal_results(previous_table, table):
        previous = _read_previous(folder, data.source.name)
        if previous is not None:
            return previous
    result = _make_result(data, attributions, file_scores.keys(), table)
    folder.benchmark_values_file.unlink(missing_ok=True)  # they come last, and say that the result is of them
    write_json(folder.benchmark_file, result)
    write_results(folder.benchmark_values_file, table, data.numbers)
    return result


def _read_previous(folder: Run, name: str) -> dict[str, Any] | None:
    """What a benchmark found before, unless another version of this package wrote it, or other rules led to it."""
    with suppress(InputError, OSError, KeyError):
        result = read_json(folder.benchmark_file)
        made_by = (result["schema"], result["version"], result["rules"])
        if made_by == (SCHEMA_VERSION, safr.__version__, CONCLUSION_RULES):
            return result | {"run": name}
    return None


def _make_removers(data: BenchmarkData, removals: Sequence[Removal] | None) -> dict[Removal, Remover]:
    """The ways of removing words that are asked for, or all that this model can't see through."""
    removers = {}
    for how in removals or REMOVALS:
        try:
            removers[how] = make_remover(data.model, how, data.tokenizer, data.texts)
        except InputError:
            if removals is not None:
                raise
    return removers


def _attribute_all(data: BenchmarkData, names: Sequence[str], progress: PartProgress) -> dict[str, AttributionResult]:
    """The scores of every method, from the folder of results where they are there already."""
    names = [name for name in dict.fromkeys((REFERENCE_METHOD, *names)) if name != "random"]
    folder, key = data.folder.attributions_folder, f"{CACHE_VERSION} {data.fingerprint}"
    attributions: dict[str, AttributionResult] = {}
    for done, name in enumerate(names):
        progress(f"scoring words: {name}")(done, len(names))
        attribution = _read_attribution(folder / name, data, key)
        if attribution is None:
            attribution = attribute(data.model, data.texts, _make_scorer(data, name))
            write_scores(folder / f"{name}.parquet", data.texts, data.numbers, attribution.scores)
            write_json(folder / f"{name}.json", {"key": key, "cost": attribution.cost})
        attributions[name] = attribution
        if is_signed(name):  # its size costs nothing more
            sizes = [np.abs(values) for values in attribution.scores]
            attributions[ABSOLUTE_PREFIX + name] = replace(attribution, scores=sizes)
    return attributions


def _make_scorer(data: BenchmarkData, name: str) -> AttributionFunction:
    """What scores words; an autoencoder is trained first."""
    if name == AUTOENCODER:
        return partial(autoencoder_scores, autoencoder=data.train_autoencoder())
    return get_method(name).score


def _read_attribution(path: Path, data: BenchmarkData, key: str) -> AttributionResult | None:
    """Scores that were written before, unless they are of another model or of other texts."""
    with suppress(InputError, OSError, TypeError, KeyError):
        about = read_json(path.with_name(f"{path.name}.json"))
        if about["key"] == key:
            scores = read_scores(path.with_name(f"{path.name}.parquet"), data.texts, data.numbers)
            return AttributionResult(scores, **about["cost"])
    return None


def _make_result(
    data: BenchmarkData, attributions: Mapping[str, AttributionResult], files: Collection[str], table: ResultTable
) -> dict[str, Any]:
    free = AttributionResult([])

    def describe(name: str) -> dict[str, Any]:
        attribution = attributions.get(name, free)
        # Of another tool's scores it is only known that they are signed where some are below 0.
        signed = any((scores < 0).any() for scores in attribution.scores) if name in files else is_signed(name)
        values = {how or "none": _estimate(values) for (method, how), values in table.items() if method == name}
        return {"signed": signed, "cost": None if name in files else attribution.cost, "values": values}

    result: dict[str, Any] = {
        "schema": SCHEMA_VERSION,
        "version": safr.__version__,
        "run": data.source.name,
        "command": data.source.command,
        "data": data.source.data,
        "machine": {"platform": platform.platform(), "cores": os.cpu_count(), "threads": torch.get_num_threads()},
        "task": get_task(data.model),
        "texts": len(data.texts),
        "fewer_texts": {name: len(data.choose_subset(name)) for name in SUBSET_SIZES},
        "site": get_explaining_site(data.model),
        "compared": REFERENCE_METHOD,
        "metrics": {name: asdict(metric) for name, metric in get_metrics(get_task(data.model)).items()},
        "removals": {how: REMOVALS[how] for how in REMOVALS if any(removal == how for _, removal in table)},
        "methods": {name: describe(name) for name in dict.fromkeys(method for method, _ in table)},
        "causes": CAUSAL_METRICS,
        "comparisons": [difference.to_dict() for difference in compare_with_others(REFERENCE_METHOD, table)],
    }
    return result | {"rules": CONCLUSION_RULES, "conclusions": draw_conclusions(result)}


def _estimate(values: MetricValues) -> dict[str, dict[str, float]]:
    """Mean and interval of every metric that two texts have."""
    known = {name: numbers[~np.isnan(numbers)] for name, numbers in values.items()}
    return {name: bootstrap_mean(numbers).to_dict() for name, numbers in known.items() if len(numbers) > 1}
