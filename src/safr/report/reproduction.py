"""Reproduction of the paper: runs its settings, and writes its tables and figures as files and as one HTML page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

import safr
from safr.attribution.explain import explain
from safr.errors import InputError
from safr.evaluation.evaluate import PAPER_SENTENCE
from safr.experiments.grid import DEFAULT_SEEDS
from safr.experiments.paper import (
    CHOICES,
    CHOICES_TITLE,
    DATASETS,
    QUICK_NOTE,
    VERDICT_RULE,
    VERDICTS,
    Dataset,
    best_paper_weights,
    paper_jobs,
    table_1_weights,
    weights_label,
)
from safr.experiments.paper_tables import paper_tables, select_runs, size_tables
from safr.experiments.runner import Engine, OutcomeCallback, find_unfinished, run_jobs
from safr.figures import save_figure
from safr.report.report import template_environment
from safr.report.run_figures import Picture, draw_deletion_curves, make_picture
from safr.runs import Run, check_same_data
from safr.storage import write_text


@dataclass(frozen=True)
class Reproduction:
    """The result of a reproduction."""

    page: Path
    """The page with all tables and figures."""

    failed: dict[str, str]
    """The errors of failed runs, by name of the run."""


@dataclass(frozen=True)
class PageFigure:
    """A figure of the page."""

    name: str
    """Name of its file, without the ending."""

    title: str
    caption: str
    figure: Figure

    @property
    def picture(self) -> Picture:
        """The figure as the page holds it."""
        return make_picture(self.figure)


def reproduce_paper(
    folder: Path,
    datasets: Sequence[Dataset] = ("sst2",),
    *,
    seeds: int = DEFAULT_SEEDS,
    quick: bool = False,
    engine: Engine = "joblib",
    workers: int | None = None,
    gpus: float = 0.0,
    data_dir: Path | None = None,
    progress: OutcomeCallback | None = None,
) -> Reproduction:
    """Run the paper's unfinished settings, and write its tables, figures and the page, even if the runs are stopped.

    Args:
        folder: Folder of the tables, figures and the page. The runs are in its subfolder `runs`.
        datasets: The paper's data sets to run. Finished runs of the others are shown too.
        seeds: How many seeds to run every setting with.
        quick: Whether to run the small version of "sst2", on data that need no download.
        engine: See `run_jobs`.
        workers: See `run_jobs`.
        gpus: See `run_jobs`.
        data_dir: Folder where archives of data are looked for first.
        progress: See `run_jobs`.

    Raises:
        InputError: There are no seeds or data to run, or all runs failed.
    """
    if seeds < 1 or not datasets:
        raise InputError(f"expected at least one seed and one data set, got {seeds} and {len(datasets)}")
    available_datasets: tuple[Dataset, ...] = ("sst2",) if quick else tuple(DATASETS)
    jobs_by_dataset = {dataset: paper_jobs(dataset, seeds, quick=quick) for dataset in available_datasets}
    requested_jobs = {name: settings for dataset in datasets for name, settings in jobs_by_dataset[dataset].items()}
    runs = folder / "runs"
    failed: dict[str, str] = {}
    try:
        for outcome in run_jobs(
            requested_jobs,
            runs,
            ("test",),
            engine=engine,
            workers=workers,
            gpus=gpus,
            data_dir=data_dir,
            progress=progress,
        ):
            if outcome.error is not None:
                failed[outcome.name] = outcome.error
    finally:  # whoever stops the runs sees the results so far
        all_jobs = {name: settings for jobs in jobs_by_dataset.values() for name, settings in jobs.items()}
        unfinished = find_unfinished(all_jobs, runs, ("test",))
        finished = {name: Run(runs / name) for name in all_jobs if name not in unfinished}
        if finished:
            page = write_reproduction(
                finished,
                folder,
                asked=len(requested_jobs.keys() | finished.keys()),
                seeds=seeds,
                missing={name: failed.get(name, "not run yet") for name in requested_jobs if name in unfinished},
                quick=quick,
            )
    if not finished:
        raise InputError(f"all {len(requested_jobs)} runs failed; the first: {next(iter(failed.values()))}")
    return Reproduction(page, failed)


def write_reproduction(
    runs: Mapping[str, Run], folder: Path, *, asked: int, seeds: int, missing: Mapping[str, str], quick: bool = False
) -> Path:
    """Write all tables as CSV files and as one Markdown file, all figures, and one page; return the path of the page.

    Args:
        runs: Evaluated runs by name.
        folder: Folder of the files.
        asked: How many runs there should be.
        seeds: How many seeds every setting should have.
        missing: The reasons why runs are not finished, by name of the run; empty if the reason is unknown.
        quick: Whether this is the small version.

    Raises:
        InputError: Runs of the same data set were made from different contents of it.
    """
    for dataset in DATASETS:
        check_same_data([run for name, run in runs.items() if name.startswith(f"{dataset},")])
    tables = size_tables(runs)
    figures = []
    for dataset in DATASETS:
        tables += paper_tables(runs, dataset, seeds)
        figures += _draw_figures(runs, dataset, seeds)
    for table in tables:
        write_text(folder / f"{table.name}.csv", table.to_csv())
    texts = [f"{QUICK_NOTE}\n"] if quick else []
    texts += [f"{VERDICT_RULE}\n", *(table.to_markdown() for table in tables), f"### {CHOICES_TITLE}\n"]
    write_text(folder / "tables.md", "\n".join([*texts, *(f"- {choice}" for choice in CHOICES)]) + "\n")
    for figure in figures:
        save_figure(figure.figure, folder / figure.name)
    page = (
        template_environment()
        .get_template("reproduction.html.jinja")
        .render(
            version=safr.__version__,
            tables=tables,
            figures=figures,
            rule=VERDICT_RULE,
            verdicts=VERDICTS,
            opened=CHOICES_TITLE,
            choices=CHOICES,
            note=QUICK_NOTE if quick else "",
            finished=len(runs),
            asked=asked,
            missing=missing,
            commands={name: run.command for name, run in runs.items()},
            versions=_collect_versions(runs.values()),
        )
    )
    output = folder / "reproduction.html"
    write_text(output, page)
    return output


def _collect_versions(runs: Iterable[Run]) -> dict[str, str]:
    """The versions of packages that the runs were made with, by package. Different versions are joined by "and"."""
    versions_by_package: dict[str, dict[str, None]] = {}
    for run in runs:
        for name, version in run.record["versions"].items():
            versions_by_package.setdefault(name, {})[version] = None
    return {name: " and ".join(versions) for name, versions in versions_by_package.items()}


def _draw_figures(runs: Mapping[str, Run], dataset: Dataset, seeds: int) -> list[PageFigure]:
    """The figures of the paper about one data set.

    Figure 3 is drawn from the settings of Table 1, over their seeds. Figures 2, 4 and 5 are drawn from the first run of
    the paper's best setting.
    """
    runs_by_setting = {
        weights_label(weights): runs_of_setting
        for weights in table_1_weights(dataset)
        if (runs_of_setting := select_runs(runs, dataset, "mask", weights, seeds))
    }
    if not runs_by_setting:
        return []
    data = next(iter(runs_by_setting.values()))[0].record["data"]["name"]
    counts = ", ".join(f"{setting} {len(runs_of_setting)}" for setting, runs_of_setting in runs_by_setting.items())
    page_figures = []
    if (curves := draw_deletion_curves(runs_by_setting)) is not None:
        page_figures.append(
            PageFigure(
                f"figure_3_{dataset}",
                f"Figure 3, {data}: more and more words deleted",
                f"Means over seeds ({counts}), padding masked; with one seed, the interval is over texts.",
                curves,
            )
        )
    if (best_setting := weights_label(best_paper_weights(dataset))) not in runs_by_setting:
        return page_figures
    best = runs_by_setting[best_setting][0]
    model, tokenizer = best.load_model()
    figures = explain(model, tokenizer, PAPER_SENTENCE, max_tokens=best.settings.max_tokens).figures()
    titles = {
        "capacity": "Figure 2 (a): capacity of each word",
        "allocation": "Figure 2 (b): how the words share neurons",
        "interference": "Figure 2 (c): interference",
        "sites": "Figures 4 and 5: capacity and interference from the embedding to FC2",
    }
    for name, title in titles.items():
        page_figures.append(
            PageFigure(
                f"{'figures_4_and_5' if name == 'sites' else 'figure_2_' + name}_{dataset}",
                f"{title}, {data}",
                f"The paper's sentence, {best.name}.",
                figures[name],
            )
        )
    return page_figures
