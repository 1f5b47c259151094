"""The paper's settings in, its runs, tables and figures as files and as one HTML page out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

import safr
from safr.attribution.explanation import explain
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
from safr.figures import deletion_curves, save_figure
from safr.report.report import load_curve, svg_data_uri, template_environment
from safr.runs import Run, check_same_data
from safr.storage import write_text


@dataclass(frozen=True)
class Reproduction:
    """What a reproduction has come to."""

    page: Path
    """The page with everything."""
    failed: dict[str, str]
    """Why, by the name of the run."""


@dataclass(frozen=True)
class PageFigure:
    """A figure of the page."""

    name: str
    """Of its file."""
    title: str
    caption: str
    figure: Figure
    kind: str = "large"

    @property
    def address(self) -> str:
        """The figure as a data address."""
        return svg_data_uri(self.figure)


def reproduce_paper(
    folder: Path,
    datasets: Sequence[Dataset] = ("sst2",),
    *,
    seeds: int = DEFAULT_SEEDS,
    quick: bool = False,
    engine: Engine = "joblib",
    workers: int | None = None,
    data_dir: Path | None = None,
    progress: OutcomeCallback | None = None,
) -> Reproduction:
    """Run what is not finished of the paper's settings, and write its tables, figures and the page, also when stopped.

    Args:
        folder: Of the tables, figures and the page; the runs are in its folder `runs`.
        datasets: The paper's data to run. What is finished of the others is shown too.
        seeds: How many seeds each setting is run with.
        quick: The small version, on data that need no download; one of "sst2".
        engine: See `run_jobs`.
        workers: See `run_jobs`.
        data_dir: Folder where archives of data are looked for first.
        progress: See `run_jobs`.

    Raises:
        InputError: There are no seeds or data to run, or all runs failed.
    """
    if seeds < 1 or not datasets:
        raise InputError(f"expected at least one seed and one data set, got {seeds} and {len(datasets)}")
    known: tuple[Dataset, ...] = ("sst2",) if quick else tuple(DATASETS)
    everything = {name: paper_jobs(name, seeds, quick=quick) for name in known}
    asked = {name: settings for dataset in datasets for name, settings in everything[dataset].items()}
    runs = folder / "runs"
    failed: dict[str, str] = {}
    try:
        for outcome in run_jobs(
            asked, runs, ("test",), engine=engine, workers=workers, data_dir=data_dir, progress=progress
        ):
            if outcome.error is not None:
                failed[outcome.name] = outcome.error
    finally:  # who stops it sees what there is
        every = {name: settings for of_one in everything.values() for name, settings in of_one.items()}
        left = find_unfinished(every, runs, ("test",))
        finished = {name: Run(runs / name) for name in every if name not in left}
        if finished:
            page = write_reproduction(
                finished,
                folder,
                asked=len(asked.keys() | finished.keys()),
                seeds=seeds,
                missing={name: failed.get(name, "not run yet") for name in asked if name in left},
                quick=quick,
            )
    if not finished:
        raise InputError(f"all {len(asked)} runs failed; the first: {next(iter(failed.values()))}")
    return Reproduction(page, failed)


def write_reproduction(
    runs: Mapping[str, Run], folder: Path, *, asked: int, seeds: int, missing: Mapping[str, str], quick: bool = False
) -> Path:
    """Write every table as CSV and all as Markdown, every figure, and one page; returns the page.

    Args:
        runs: Evaluated runs by name.
        folder: Where the files go.
        asked: How many runs there should be.
        seeds: Seeds that were asked for.
        missing: Runs that are not finished, and why, if that is known.
        quick: Whether this is the small version.

    Raises:
        InputError: Runs of the same data were made from other contents of it.
    """
    for dataset in DATASETS:
        check_same_data([run for name, run in runs.items() if name.startswith(f"{dataset},")])
    tables = size_tables(runs)
    pictures = []
    for dataset in DATASETS:
        tables += paper_tables(runs, dataset, seeds)
        pictures += _pictures(runs, dataset, seeds)
    for table in tables:
        write_text(folder / f"{table.name}.csv", table.to_csv())
    texts = [f"{QUICK_NOTE}\n"] if quick else []
    texts += [f"{VERDICT_RULE}\n", *(table.to_markdown() for table in tables), f"### {CHOICES_TITLE}\n"]
    write_text(folder / "tables.md", "\n".join([*texts, *(f"- {choice}" for choice in CHOICES)]) + "\n")
    for picture in pictures:
        save_figure(picture.figure, folder / picture.name)
    page = (
        template_environment()
        .get_template("reproduction.html.jinja")
        .render(
            version=safr.__version__,
            tables=tables,
            pictures=pictures,
            rule=VERDICT_RULE,
            verdicts=VERDICTS,
            opened=CHOICES_TITLE,
            choices=CHOICES,
            note=QUICK_NOTE if quick else "",
            finished=len(runs),
            asked=asked,
            missing=missing,
            commands={name: run.settings.command for name, run in runs.items()},
            versions=_versions(runs.values()),
        )
    )
    output = folder / "reproduction.html"
    write_text(output, page)
    return output


def _versions(runs: Iterable[Run]) -> dict[str, str]:
    """Of each package the version that the runs were made with, or all of several."""
    found: dict[str, dict[str, None]] = {}
    for run in runs:
        for name, version in run.record["versions"].items():
            found.setdefault(name, {})[version] = None
    return {name: " and ".join(versions) for name, versions in found.items()}


def _pictures(runs: Mapping[str, Run], dataset: Dataset, seeds: int) -> list[PageFigure]:
    """Figure 3 over the seeds of the three settings of Table 1, Figures 2, 4 and 5 from the first run of the best."""
    there = {
        weights_label(weights): of_seeds
        for weights in table_1_weights(dataset)
        if (of_seeds := select_runs(runs, dataset, "mask", weights, seeds))
    }
    if not there:
        return []
    data = next(iter(there.values()))[0].record["data"]["name"]
    counts = ", ".join(f"{name} {len(of_seeds)}" for name, of_seeds in there.items())
    found = [
        PageFigure(
            f"figure_3_{dataset}",
            f"Figure 3, {data}: more and more words deleted",
            f"Means over seeds ({counts}), padding masked; of one seed the interval is over texts.",
            deletion_curves({name: load_curve(*of_seeds) for name, of_seeds in there.items()}),
        )
    ]
    if (name_of_best := weights_label(best_paper_weights(dataset))) not in there:
        return found
    best = there[name_of_best][0]
    model, tokenizer = best.load_model()
    figures = explain(model, tokenizer, PAPER_SENTENCE, max_tokens=best.settings.max_tokens).figures()
    titles = {
        "capacity": "Figure 2 (a): capacity of each word",
        "allocation": "Figure 2 (b): how the words share neurons",
        "interference": "Figure 2 (c): interference",
        "sites": "Figures 4 and 5: capacity and interference from the embedding to FC2",
    }
    for name, title in titles.items():
        found.append(
            PageFigure(
                f"{'figures_4_and_5' if name == 'sites' else 'figure_2_' + name}_{dataset}",
                f"{title}, {data}",
                f"The paper's sentence, {best.name}.",
                figures[name],
                "sites" if name == "sites" else "large",
            )
        )
    return found
