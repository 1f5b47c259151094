"""Figures of evaluated runs: deletion curves, training histories, and the files with those of one run."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from safr.attribution.explain import explain
from safr.evaluation.srs import DELETION_PERCENTS
from safr.evaluation.statistics import Estimate, mean_over_runs
from safr.evaluation.task_metrics import DEV_METRICS, get_main_metric
from safr.figures import DeletionCurve, deletion_curves, figure_to_svg, save_figure, training_history
from safr.figures.frame import POINTS_PER_INCH, Width
from safr.figures.style import TEXT_SIZE
from safr.runs import Run

LETTER_HEIGHT = 11
"""Size of the smallest letters of a figure in a page, in CSS pixels; smaller ones are hard to read."""

HALF_PAGE = 370.0
"""Width in points of a figure that takes half of a wide page."""

HISTORY_TERMS = ("task", "importance", "interaction", "information")
"""The loss terms of a training history, in the order in which they are drawn; metrics on dev come after them."""


@dataclass(frozen=True)
class Picture:
    """A figure as a page holds it."""

    address: str
    """A data address with all of it."""

    width: int
    """Width in CSS pixels at which its smallest letters are `LETTER_HEIGHT` high."""


def write_figures(run: Run) -> list[Path]:
    """Save the deletion curves, the training history and the first example's figures of a run in the run's folder.

    There are no deletion curves where nothing can be deleted from any text.

    Returns:
        The files, each as SVG and PNG.

    Raises:
        InputError: The run is not evaluated, or another process works on it.
    """
    with run.lock():
        figures = {}
        if (curves := draw_deletion_curves({run.name: [run]})) is not None:
            figures["deletion"] = curves
        if (history := draw_training_history([run])) is not None:
            figures["history"] = history
        examples = run.examples
        if examples:
            model, tokenizer = run.load_model()
            figures |= explain(model, tokenizer, examples[0]["text"], max_tokens=run.settings.max_tokens).figures()
        if run.figures_folder.exists():
            return [path for name, figure in figures.items() for path in save_figure(figure, run.figures_folder / name)]
        # The folder gets its name when all are there, so that a crash never leaves some of them.
        unfinished = run.figures_folder.with_name(".figures")
        unfinished.mkdir(exist_ok=True)
        paths = [path for name, figure in figures.items() for path in save_figure(figure, unfinished / name)]
        unfinished.rename(run.figures_folder)
        return [run.figures_folder / path.name for path in paths]


def draw_deletion_curves(runs_by_name: Mapping[str, Sequence[Run]], *, width: Width = "page") -> Figure | None:
    """The deletion curves of settings by name, each over its seeds, or None if nothing can be deleted in any.

    Args:
        runs_by_name: One run or more of each setting.
        width: Width of the figure: of a paper's "column" or "page", or points of 1/72 inch.
    """
    curves = {name: load_curve(*runs) for name, runs in runs_by_name.items()}
    measured_curves = {name: curve for name, curve in curves.items() if curve is not None}
    return deletion_curves(measured_curves, width=width) if measured_curves else None


def load_curve(*runs: Run) -> DeletionCurve | None:
    """Accuracy, or mean absolute error, after deleting ever more words, as a mean over runs that differ in their seed.

    The intervals of a single run are over texts, those of several runs over seeds. None where nothing can be deleted
    from any text.
    """
    scores_of_runs = [run.scores for run in runs]
    if any("srs_reason" in scores for scores in scores_of_runs):
        return None

    metric = get_main_metric(scores_of_runs[0])
    most = 1.0 if metric.is_share else math.inf

    def average_over_runs(order: str) -> list[Estimate]:
        return [
            mean_over_runs([scores["deletion"][order][str(percent)] for scores in scores_of_runs], most=most)
            for percent in DELETION_PERCENTS
        ]

    capacity, random = average_over_runs("capacity"), average_over_runs("random")
    return DeletionCurve(
        percent=list(DELETION_PERCENTS),
        deleted=[accuracy.value for accuracy in capacity],
        low=[accuracy.low for accuracy in capacity],
        high=[accuracy.high for accuracy in capacity],
        random=[accuracy.value for accuracy in random],
        random_low=[accuracy.low for accuracy in random],
        random_high=[accuracy.high for accuracy in random],
        full=mean_over_runs([scores[metric.key] for scores in scores_of_runs], most=most).value,
        metric=metric.name,
        is_share=metric.is_share,
    )


def draw_training_history(runs: Sequence[Run]) -> Figure | None:
    """The loss terms and dev accuracy over the epochs, or None if no run has a history."""
    series_by_run = {}
    for run in runs:
        lines = run.history
        metrics = [f"dev_{name}" for names in DEV_METRICS.values() for name in names]
        names = dict.fromkeys([*HISTORY_TERMS, *run.settings.regularization.neuron_loss_weights, *metrics])
        terms = [term for term in names if lines and all(term in line for line in lines)]
        series_by_run[run.name] = {
            _name_series(term): ([line["epoch"] for line in lines], [line[term] for line in lines]) for term in terms
        }
    series_by_run = {name: series for name, series in series_by_run.items() if series}
    return training_history(series_by_run) if series_by_run else None


def _name_series(term: str) -> str:
    """What a series of a training history is, in words: a part of the loss, or a metric on dev."""
    if term.startswith("dev_"):
        return f"{term.removeprefix('dev_').replace('_', ' ')} on dev"
    return f"{term.replace('_', ' ')} loss"


def make_picture(figure: Figure) -> Picture:
    """The figure as SVG in a data address. In an `img` it can't run scripts, and its ids can't clash with others."""
    content = base64.b64encode(figure_to_svg(figure).encode("utf-8")).decode("ascii")
    width = figure.get_figwidth() * POINTS_PER_INCH * LETTER_HEIGHT / TEXT_SIZE
    return Picture("data:image/svg+xml;base64," + content, math.ceil(width))
