"""Sweeps: many runs with varied settings, their table, and the setting with the best SRS for little that is lost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import pyarrow

from safr.config import Settings
from safr.errors import InputError
from safr.evaluation.task_metrics import MainMetric
from safr.experiments.grid import is_baseline
from safr.experiments.run_table import (
    ResultRow,
    find_row_metric,
    get_score_paths,
    group_rows,
    list_undeletable_notes,
    recommend_setting,
    result_rows,
)
from safr.experiments.runner import Engine, OutcomeCallback, SplitName, run_jobs
from safr.experiments.text_table import TextTable
from safr.figures import delete_figure, pareto_front, save_figure
from safr.rounding import format_share
from safr.runs import Run, check_same_data
from safr.storage import alone_in, write_parquet, write_text

ACCURACY_MARGIN = 0.02
"""Accuracy that a recommended setting may lose, or share of the error that it may add."""


@dataclass(frozen=True)
class SweepResult:
    """The results of a sweep, with its table."""

    folder: Path
    rows: list[ResultRow]
    """One per finished run."""
    groups: list[ResultRow]
    """One per setting, over its seeds."""
    failed: dict[str, str]
    """Error messages of the failed runs, by the name of the run."""
    table: TextTable
    """A row per setting, and below it the recommended one."""


def check_margin(margin: float) -> None:
    """Raise an InputError for a margin of accuracy, as a fraction, that is none."""
    if not 0 <= margin < 1:
        raise InputError(f"--margin must be at least 0 and below 100 points, got {100 * margin:g}")


def run_sweep(
    jobs: Mapping[str, Settings],
    folder: Path,
    *,
    engine: Engine = "joblib",
    workers: int | None = None,
    gpus: float = 0.0,
    test: bool = False,
    margin: float = ACCURACY_MARGIN,
    data_dir: Path | None = None,
    progress: OutcomeCallback | None = None,
) -> SweepResult:
    """The results of a sweep; does the runs that are not finished, and writes its files beside the runs.

    The files are `table.md`, `runs.parquet` and, where SRS could be measured, the figure `pareto.svg`. The recommended
    setting is chosen by scores on the dev split alone.

    Args:
        jobs: Settings by the name of the run, which is its folder in `folder`.
        folder: Folder of all runs.
        engine: See `run_jobs`.
        workers: See `run_jobs`.
        gpus: See `run_jobs`.
        test: Score the test split too, and add it to `runs.parquet`.
        margin: Accuracy, as a fraction, that the recommended setting may lose; of numbers to predict, the share of the
            baseline's error that it may add.
        data_dir: Folder where archives of data are looked for first.
        progress: See `run_jobs`.

    Raises:
        InputError: There are no runs, the margin is out of range, all runs failed, or the data changed between runs.
    """
    if not jobs:
        raise InputError("expected at least one run to sweep over, got none")
    check_margin(margin)
    splits: tuple[SplitName, ...] = ("dev", "test") if test else ("dev",)
    outcomes = run_jobs(
        jobs, folder, splits, engine=engine, workers=workers, gpus=gpus, data_dir=data_dir, progress=progress
    )
    failed = {outcome.name: outcome.error for outcome in outcomes if outcome.error is not None}
    finished = [Run(folder / name) for name in jobs if name not in failed]
    if not finished:
        raise InputError(f"all {len(jobs)} runs failed; the first: {next(iter(failed.values()))}")
    check_same_data(finished)
    rows = result_rows(finished, "dev")
    groups = group_rows(rows)
    table = sweep_table(groups, failed, margin)
    all_rows = rows + (result_rows(finished, "test") if test else [])
    best, _ = recommend_setting(groups, margin)
    metric = find_row_metric(groups[0])
    points = {
        group["label"]: (astuple(group[metric.key]), astuple(group["srs"]))
        for group in groups
        if group["srs"] is not None
    }
    with alone_in(folder):
        write_text(folder / "table.md", table.to_markdown())
        write_parquet(folder / "runs.parquet", _make_parquet_table(all_rows))
        if points:
            error = None if metric.is_share else metric.name
            figure = pareto_front(points, recommended=best["label"] if best else None, error=error)
            save_figure(figure, folder / "pareto")
        else:
            delete_figure(folder / "pareto")  # of other runs, which were swept in this folder before
    return SweepResult(folder, rows, groups, failed, table)


def sweep_table(groups: list[ResultRow], failed: Mapping[str, str], margin: float) -> TextTable:
    """A row per setting, best SRS first; its note names the recommended setting and the runs that failed."""
    best, baseline = recommend_setting(groups, margin)
    metric = find_row_metric(baseline)
    unit = "in %" if metric.is_share else "in the labels' unit"
    rows = []
    for group in sorted(groups, key=lambda group: math.inf if group["srs"] is None else -group["srs"].value):
        estimates = (group[name] for name in (metric.key, "random", "capacity", "srs"))
        cells = (metric.format(estimate.to_dict() if estimate else None) for estimate in estimates)
        rows.append((group["label"], str(group["seeds"]), *cells))
    against = "the baseline" if is_baseline(baseline) else "the most accurate setting, since there is no baseline here"
    near = _describe_margin(metric, margin, against, baseline[metric.key].value)
    if best is None:
        notes = [f"Recommended: none, since SRS could not be measured for {near}."]
    else:
        notes = [f"Recommended: {best['label']}, the highest SRS among {near}."]
    notes += [f"Note: {note}." for note in list_undeletable_notes(groups)]
    sites = {group["label"]: group["srs_site"] for group in groups}
    if len(set(sites.values())) > 1:
        site_list = ", ".join(f"{site} ({label})" for label, site in sites.items())
        notes.append(f"SRS is read at different sites: {site_list}. To compare it, choose one site by --site.")
    notes += [f"Failed: {name}: {error}" for name, error in failed.items()]
    return TextTable(
        "table",
        f"Dev split, {unit}: mean over seeds [95 % interval; with one seed, over texts].",
        ("setting", "seeds", metric.name, "random deletion", "by capacity", "SRS"),
        tuple(rows),
        note="\n\n".join(notes),
    )


def _describe_margin(metric: MainMetric, margin: float, against: str, value: float) -> str:
    if metric.is_share:
        points = f"at most {100 * margin:g} points below that of {against} ({format_share(value)} %)"
        return f"the settings whose {metric.name} is {points}"
    return f"the settings whose {metric.name} is at most {100 * margin:g} % above that of {against} ({value:.3g})"


def _make_parquet_table(rows: Sequence[ResultRow]) -> pyarrow.Table:
    """The rows as a table, in which a score that could not be measured for any is still a column of numbers."""
    table = pyarrow.Table.from_pylist(rows)
    scores = [f"{name}{end}" for name in get_score_paths(find_row_metric(rows[0])) for end in ("", "_low", "_high")]
    fields = [field.with_type(pyarrow.float64()) if field.name in scores else field for field in table.schema]
    return table.cast(pyarrow.schema(fields))
