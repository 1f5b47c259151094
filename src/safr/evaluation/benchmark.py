"""A trained run in; every attribution method by every metric, with intervals, costs and conclusions, out."""

from __future__ import annotations

import os
import platform
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import safr
from safr.attribution.registry import (
    ABSOLUTE_PREFIX,
    AttributionResult,
    attribute,
    default_methods,
    get_method,
    is_method,
    is_signed,
)
from safr.attribution.score_files import read_scores, write_scores
from safr.data import TextDataset
from safr.errors import InputError
from safr.evaluation.benchmark_data import SUBSET_SIZES, BenchmarkData, load_benchmark_data
from safr.evaluation.benchmark_metrics import CACHE_VERSION, REFERENCE_METHOD, StepProgress, compute_metrics
from safr.evaluation.causal import CAUSAL_METRICS
from safr.evaluation.conclusions import CONCLUSION_RULES, draw_conclusions
from safr.evaluation.faithfulness import MetricValues
from safr.evaluation.metrics import METRICS
from safr.evaluation.per_text_results import ResultTable, equal_results, read_results, write_results
from safr.evaluation.removal import REMOVALS, Removal, Remover, make_remover
from safr.evaluation.significance import compare_with_others
from safr.evaluation.statistics import bootstrap_mean
from safr.model.regularizer import get_explaining_site
from safr.runs import Run
from safr.storage import read_json, write_json

SCHEMA_VERSION = 1
"""Version of what `benchmark.json` holds; see `benchmark.schema.json`."""

MAX_TEXTS = 2000
"""Test texts that a run is judged on at most, unless more are asked for."""


def benchmark(
    run: Run,
    data: TextDataset,
    *,
    methods: Sequence[str] | None = None,
    files: Mapping[str, Path] | None = None,
    removals: Sequence[Removal] | None = None,
    limit: int = MAX_TEXTS,
    data_dir: Path | None = None,
    progress: StepProgress = lambda *_: None,
) -> dict[str, Any]:
    """Judge the explanations of a run on its test texts.

    What is done is kept in the run's folder `benchmark`, so that a benchmark that was stopped goes on.

    Args:
        run: A trained run.
        data: The data it was trained on.
        methods: Names of attribution methods (see `safr.attribution.methods`). Default: all that the model can be
            asked for, but Shapley values. Capacity and random scores are always there.
        files: Files of other scores, by the name that they get; see `read_scores`.
        removals: How words are removed, `delete` among them. Default: every way that the model can't see through.
        limit: Texts at most; of more, those whose SHA-256 comes first.
        data_dir: Folder where archives of data are looked for first.
        progress: Called as it goes on.

    Returns:
        What `benchmark.json` holds; the values of single texts are in `benchmark.parquet`.

    Raises:
        InputError: Other data, an unknown method, a file that does not fit the texts, or a way of removing words that
            the model sees through.
    """
    if removals is not None and "delete" not in removals:
        raise InputError(f"expected delete among the removals, since most metrics need it, got {', '.join(removals)}")
    if taken := [name for name in files or {} if is_method(name) or name.startswith(("random", ABSOLUTE_PREFIX))]:
        raise InputError(f"{taken[0]!r} is the name of a method; give the scores of a file another")
    subject = load_benchmark_data(run, data, limit, data_dir)
    read = {name: read_scores(path, subject.texts, subject.numbers) for name, path in (files or {}).items()}
    found = _attributed(subject, methods or default_methods(subject.model), progress)
    found |= {name: AttributionResult(scores) for name, scores in read.items()}
    removers = _removers(subject, removals)
    table = compute_metrics(
        subject, {name: each.scores for name, each in found.items()}, removers, benchmark_folder(run), progress
    )
    known = read_results(run.benchmark_values_file, subject.numbers)
    if known is not None and equal_results(known, table) and (kept := _kept(run)) is not None:
        return kept
    result = _result(subject, found, read.keys(), table)
    run.benchmark_values_file.unlink(missing_ok=True)  # they come last, and say that the result is of them
    write_json(run.benchmark_file, result)
    write_results(run.benchmark_values_file, table, subject.numbers)
    return result


def _kept(run: Run) -> dict[str, Any] | None:
    """What a benchmark found before, unless another version of this package wrote it, or other rules led to it."""
    with suppress(InputError, OSError, KeyError):
        kept = read_json(run.benchmark_file)
        if (kept["schema"], kept["version"], kept["rules"]) == (SCHEMA_VERSION, safr.__version__, CONCLUSION_RULES):
            return kept | {"run": run.name}
    return None


def benchmark_folder(run: Run) -> Path:
    """Where a run keeps what of its benchmark is done."""
    return run.attributions_folder.parent


def _removers(subject: BenchmarkData, removals: Sequence[Removal] | None) -> dict[Removal, Remover]:
    """The ways of removing words that are asked for, or all that this model can't see through."""
    found = {}
    for how in removals or REMOVALS:
        try:
            found[how] = make_remover(subject.model, how, subject.tokenizer, subject.texts)
        except InputError:
            if removals is not None:
                raise
    return found


def _attributed(subject: BenchmarkData, names: Sequence[str], progress: StepProgress) -> dict[str, AttributionResult]:
    """The scores of every method, from the run's folder where they are there already."""
    chosen = {name: get_method(name) for name in (REFERENCE_METHOD, *names) if name != "random"}
    folder, key = subject.run.attributions_folder, f"{CACHE_VERSION} {subject.fingerprint}"
    found: dict[str, AttributionResult] = {}
    for done, (name, each) in enumerate(chosen.items()):
        progress(f"scoring words: {name}", done, len(chosen))
        known = _known(folder / name, subject, key)
        if known is None:
            known = attribute(subject.model, subject.texts, each.score)
            write_scores(folder / f"{name}.parquet", subject.texts, subject.numbers, known.scores)
            write_json(folder / f"{name}.json", {"key": key, "cost": known.cost})
        found[name] = known
        if each.signed:  # its size costs nothing more
            found[ABSOLUTE_PREFIX + name] = replace(known, scores=[np.abs(values) for values in known.scores])
    return found


def _known(path: Path, subject: BenchmarkData, key: str) -> AttributionResult | None:
    """Scores that were written before, unless they are of another model or of other texts."""
    with suppress(InputError, OSError, TypeError, KeyError):
        kept = read_json(path.with_name(f"{path.name}.json"))
        if kept["key"] == key:
            scores = read_scores(path.with_name(f"{path.name}.parquet"), subject.texts, subject.numbers)
            return AttributionResult(scores, **kept["cost"])
    return None


def _result(
    subject: BenchmarkData, found: Mapping[str, AttributionResult], files: Collection[str], table: ResultTable
) -> dict[str, Any]:
    free = AttributionResult([])

    def told(name: str) -> dict[str, Any]:
        each = found.get(name, free)
        # Of another tool's scores it is only known that they are signed where some are below 0.
        signed = any((scores < 0).any() for scores in each.scores) if name in files else is_signed(name)
        values = {how or "none": _estimates(values) for (own, how), values in table.items() if own == name}
        return {"signed": signed, "cost": None if name in files else each.cost, "values": values}

    result: dict[str, Any] = {
        "schema": SCHEMA_VERSION,
        "version": safr.__version__,
        "run": subject.run.name,
        "command": subject.run.settings.command,
        "data": subject.run.settings.data,
        "machine": {"platform": platform.platform(), "cores": os.cpu_count(), "threads": torch.get_num_threads()},
        "texts": len(subject.texts),
        "fewer_texts": {name: len(subject.few(name)) for name in SUBSET_SIZES},
        "site": get_explaining_site(subject.model),
        "compared": REFERENCE_METHOD,
        "metrics": {name: asdict(each) for name, each in METRICS.items()},
        "removals": {how: REMOVALS[how] for how in REMOVALS if any(own == how for _, own in table)},
        "methods": {name: told(name) for name in dict.fromkeys(own for own, _ in table)},
        "causes": CAUSAL_METRICS,
        "comparisons": [each.to_dict() for each in compare_with_others(REFERENCE_METHOD, table)],
    }
    return result | {"rules": CONCLUSION_RULES, "conclusions": draw_conclusions(result)}


def _estimates(values: MetricValues) -> dict[str, dict[str, float]]:
    """Mean and interval of every metric that two texts have."""
    known = {name: numbers[~np.isnan(numbers)] for name, numbers in values.items()}
    return {name: bootstrap_mean(numbers).to_dict() for name, numbers in known.items() if len(numbers) > 1}
