"""A trained run in; every attribution method by every metric, with intervals, costs and conclusions, out."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import safr
from safr.attribution.files import read_scores, write_scores
from safr.attribution.methods import ABSOLUTE, Attributed, attribute, default_methods, is_signed, method
from safr.attribution.scores import Scores
from safr.data import TextDataset
from safr.errors import InputError
from safr.evaluation.cause import MEANINGS
from safr.evaluation.comparison import compared
from safr.evaluation.conclusions import RULES, conclusions
from safr.evaluation.faithfulness import Values
from safr.evaluation.measuring import SUBJECT, Progress, measure
from safr.evaluation.metrics import METRICS
from safr.evaluation.removal import REMOVALS, Removal
from safr.evaluation.statistics import mean
from safr.evaluation.subject import FEW, Subject, open_subject
from safr.evaluation.values import Table, write_values
from safr.model.attachment import explaining_site
from safr.runs import Run, read_json, write_json

SCHEMA = 1
"""Version of what `benchmark.json` holds; see `benchmark.schema.json`."""

TEXTS = 2000
"""Test texts that a run is judged on at most, unless more are asked for."""


def benchmark(
    run: Run,
    data: TextDataset,
    *,
    methods: Sequence[str] | None = None,
    files: Mapping[str, Path] | None = None,
    removals: Sequence[Removal] = tuple(REMOVALS),
    limit: int = TEXTS,
    data_dir: Path | None = None,
    progress: Progress = lambda *_: None,
) -> dict[str, Any]:
    """Judge the explanations of a run on its test texts.

    What is done is kept in the run's folder `benchmark`, so that a benchmark that was stopped goes on.

    Args:
        run: A trained run.
        data: The data it was trained on.
        methods: Names of attribution methods (see `safr.attribution.methods`). Default: all that the model can be
            asked for, but Shapley values. Capacity and random scores are always there.
        files: Files of other scores, by the name that they get; see `read_scores`.
        removals: How words are removed, `delete` among them.
        limit: Texts at most; of more, those whose SHA-256 comes first.
        data_dir: Folder where archives of data are looked for first.
        progress: Called as it goes on.

    Returns:
        What `benchmark.json` holds; the values of single texts are in `benchmark.parquet`.

    Raises:
        InputError: Other data, an unknown method, or a file that does not fit the texts.
    """
    if "delete" not in removals:
        raise InputError(f"expected delete among the removals, since most metrics need it, got {', '.join(removals)}")
    subject = open_subject(run, data, limit, data_dir)
    folder = run.folder / "benchmark"
    found = {
        name: Attributed(read_scores(path, subject.texts, subject.numbers)) for name, path in (files or {}).items()
    }
    found = _attributed(subject, methods or default_methods(subject.model), progress) | found
    table = measure(subject, {name: each.scores for name, each in found.items()}, removals, folder, progress)
    result = _result(subject, found, table)
    write_values(run.benchmark_values_file, table, subject.numbers)
    write_json(run.benchmark_file, result)
    return result


def _attributed(subject: Subject, names: Sequence[str], progress: Progress) -> dict[str, Attributed]:
    """The scores of every method, from the run's folder where they are there already."""
    chosen = {name: method(name) for name in (SUBJECT, *names) if name != "random"}
    folder = subject.run.attributions_folder
    found: dict[str, Attributed] = {}
    for done, (name, each) in enumerate(chosen.items()):
        progress(f"scoring words: {name}", done, len(chosen))
        file, cost = folder / f"{name}.parquet", folder / f"{name}.json"
        known = _known(file, subject) if cost.is_file() else None
        if known is not None:
            found[name] = Attributed(known, **read_json(cost))
        else:
            found[name] = attribute(subject.model, subject.texts, each.score)
            write_scores(file, subject.texts, subject.numbers, found[name].scores)
            write_json(cost, found[name].cost)
        if each.signed:  # its size costs nothing more
            found[ABSOLUTE + name] = replace(found[name], scores=[np.abs(values) for values in found[name].scores])
    return found


def _known(path: Path, subject: Subject) -> Scores | None:
    """Scores that were written before, unless they are of other texts."""
    try:
        return read_scores(path, subject.texts, subject.numbers)
    except InputError:
        return None


def _result(subject: Subject, found: Mapping[str, Attributed], table: Table) -> dict[str, Any]:
    methods = dict.fromkeys(name for name, _ in table)
    free = Attributed([])
    result: dict[str, Any] = {
        "schema": SCHEMA,
        "version": safr.__version__,
        "run": subject.run.name,
        "command": subject.run.settings.command,
        "data": subject.run.settings.data,
        "machine": {"platform": platform.platform(), "cores": os.cpu_count(), "threads": torch.get_num_threads()},
        "texts": len(subject.texts),
        "fewer_texts": {name: len(subject.few(name)) for name in FEW},
        "site": explaining_site(subject.model),
        "subject": SUBJECT,
        "marked": _marked(subject),
        "metrics": {name: asdict(each) for name, each in METRICS.items()},
        "removals": {how: REMOVALS[how] for how in REMOVALS if any(own == how for _, own in table)},
        "methods": {
            name: {"signed": is_signed(name), "cost": found.get(name, free).cost}
            | {"values": {how or "none": _estimates(values) for (own, how), values in table.items() if own == name}}
            for name in methods
        },
        "causes": MEANINGS,
        "comparisons": [each.to_dict() for each in compared(SUBJECT, table)],
    }
    return result | {"rules": RULES, "conclusions": conclusions(result)}


def _estimates(values: Values) -> dict[str, dict[str, float]]:
    """Mean and interval of every metric that two texts have."""
    known = {name: numbers[~np.isnan(numbers)] for name, numbers in values.items()}
    return {name: mean(numbers).to_dict() for name, numbers in known.items() if len(numbers) > 1}


def _marked(subject: Subject) -> float | None:
    """Share of the words that are marked where any are; what an AUPRC by chance would be."""
    shares = [each.mean() for each in subject.rationales if each is not None and 0 < each.sum() < len(each)]
    return float(np.mean(shares)) if shares else None
