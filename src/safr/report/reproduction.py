"""Finished runs of the paper's settings in, its tables and figures as files and as one HTML page out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from transformers import AutoTokenizer

import safr
from safr.attribution.explanation import explain
from safr.evaluation.examples import PAPER_SENTENCE
from safr.experiments.paper import CHOICES, DATA, RULE, VERDICTS, Dataset, best_weights, label, run_name, three_rows
from safr.experiments.paper_tables import paper_tables, size_tables
from safr.figures import deletion_curves, save_figure
from safr.model.saving import load
from safr.report.report import curve_of, page_environment, picture_address
from safr.runs import Run, write_text


@dataclass(frozen=True)
class Picture:
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
        return picture_address(self.figure)


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
    """
    tables = size_tables(runs)
    pictures = []
    for dataset in DATA:
        tables += paper_tables(runs, dataset, seeds)
        pictures += _pictures(runs, dataset)
    for table in tables:
        write_text(folder / f"{table.name}.csv", table.to_csv())
    write_text(folder / "tables.md", "\n".join([f"{RULE}\n", *(table.to_markdown() for table in tables)]))
    for picture in pictures:
        save_figure(picture.figure, folder / picture.name)
    page = (
        page_environment()
        .get_template("reproduction.html.jinja")
        .render(
            version=safr.__version__,
            tables=tables,
            pictures=pictures,
            rule=RULE,
            verdicts=VERDICTS,
            choices=CHOICES,
            quick=quick,
            finished=len(runs),
            asked=asked,
            missing=missing,
            commands={name: run.settings.command for name, run in runs.items()},
            versions=next(iter(runs.values())).record["versions"],
        )
    )
    output = folder / "reproduction.html"
    write_text(output, page)
    return output


def _pictures(runs: Mapping[str, Run], dataset: Dataset) -> list[Picture]:
    """Figures 2 to 5 from the runs of the first seed that has any."""
    seeds = sorted({run.settings.recipe.seed for run in runs.values()})
    names = {label(weights): weights for weights in three_rows(dataset)}
    for seed in seeds:
        three = {name: runs.get(run_name(dataset, "mask", weights, seed)) for name, weights in names.items()}
        if there := {name: run for name, run in three.items() if run is not None}:
            break
    else:
        return []
    data = next(iter(there.values())).record["data"]["name"]
    curves = deletion_curves({name: curve_of(run) for name, run in there.items()})
    found = [
        Picture(
            f"figure_3_{dataset}",
            f"Figure 3, {data}: more and more words deleted",
            f"Seed {seed}, padding masked.",
            curves,
        )
    ]
    best = there.get(label(best_weights(dataset)))
    if best is None:
        return found
    model, tokenizer = load(best.model_folder), AutoTokenizer.from_pretrained(best.model_folder)
    figures = explain(model, tokenizer, PAPER_SENTENCE, max_tokens=best.settings.max_tokens).figures()
    titles = {
        "capacity": "Figure 2 (a): capacity of each word",
        "allocation": "Figure 2 (b): how the words share neurons",
        "interference": "Figure 2 (c): interference",
        "sites": "Figures 4 and 5: capacity and interference from the embedding to FC2",
    }
    for name, title in titles.items():
        found.append(
            Picture(
                f"{'figures_4_and_5' if name == 'sites' else 'figure_2_' + name}_{dataset}",
                f"{title}, {data}",
                f"The paper's sentence, {label(best_weights(dataset))}, seed {seed}, padding masked.",
                figures[name],
                "sites" if name == "sites" else "large",
            )
        )
    return found
