"""The paper's tables, filled in with our finished runs beside the paper's own numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple

from safr.config import Settings
from safr.evaluation.statistics import NOT_MEASURED
from safr.experiments.paper import (
    DATASETS,
    VERSIONS,
    Comparison,
    Dataset,
    LossWeights,
    Padding,
    best_paper_weights,
    compare_capacity,
    compare_with_paper,
    comparison_cells,
    paper_numbers,
    paper_run_name,
    table_1_weights,
    weights_label,
)
from safr.experiments.run_table import group_rows, list_undeletable_notes, result_rows
from safr.experiments.text_table import TextTable
from safr.runs import Run

PADDINGS: dict[Padding, str] = {"mask": "padding masked", "count": "padding counted, as published but for the batches"}
"""What the titles of tables call the ways of padding."""


def paper_tables(runs: Mapping[str, Run], dataset: Dataset, seeds: int) -> list[TextTable]:
    """Tables 1, 2 and 6, and 3, of one data set, as far as their runs are finished.

    Args:
        runs: Evaluated runs by name.
        dataset: The data set.
        seeds: Number of seeds that were asked for.
    """
    tables = []
    for padding, padding_title in PADDINGS.items():
        dataset_runs = [run for name, run in runs.items() if name.startswith(f"{dataset},{padding},")]
        if not dataset_runs:
            continue
        run_rows = result_rows(dataset_runs, "test")
        comparisons = compare_with_paper(run_rows, dataset)
        note = "; ".join(list_undeletable_notes(group_rows(run_rows)))
        counts = {weights: len(select_runs(runs, dataset, padding, weights, seeds)) for weights in comparisons}
        data = f"{dataset_runs[0].record['data']['name']}, {padding_title}"
        labels = {weights: weights_label(weights) for weights in comparisons}
        for version, name in reversed(VERSIONS.items()):
            weights = best_paper_weights(dataset, version)
            labels |= {weights: f"{weights_label(weights)}, SAFR of the {name}"} if weights in labels else {}
        table_1 = dict.fromkeys(
            [*table_1_weights(dataset), *(best_paper_weights(dataset, version) for version in VERSIONS)]
        )
        rows = {weights: comparisons[weights] for weights in table_1 if weights in comparisons}
        title = f"Table 1, {data}, in %"
        tables.append(_make_ablation_table(f"table_1_{dataset}_{padding}", title, rows, counts, labels, note))
        if set(comparisons) > set(rows):
            title = f"Tables 2 and 6, {data}, in %"
            tables.append(
                _make_ablation_table(f"table_2_and_6_{dataset}_{padding}", title, comparisons, counts, labels, note)
            )
        best_runs = select_runs(runs, dataset, padding, best_paper_weights(dataset), seeds)
        if best_runs:
            tables.append(_make_capacity_table(best_runs, dataset, padding, data))
    return tables


def size_tables(runs: Mapping[str, Run]) -> list[TextTable]:
    """Tables 4 and 5: the sizes of the data and of the model."""
    rows = []
    for dataset, data in DATASETS.items():
        run = next((run for run in runs.values() if run.record["data"]["name"] == data), None)
        if run is not None:
            ours = " / ".join(f"{run.record['data']['sizes'][split]:,}" for split in ("train", "dev", "test"))
            printed = (paper_numbers()["versions"][version]["dataset_sizes"][dataset] for version in VERSIONS)
            rows.append((dataset, ours, *(" / ".join(f"{size:,}" for size in sizes) for sizes in printed)))
    model, size = paper_numbers()["model"], Settings().architecture
    sizes = (
        ("layers", str(size.hidden_layers), str(model["layers"])),
        ("embedding", str(size.width), str(model["embedding"])),
        ("FC1", f"{size.width} x {size.feed_forward}", " x ".join(map(str, model["fc1"]))),
        ("FC2", f"{size.feed_forward} x {size.width}", " x ".join(map(str, model["fc2"]))),
    )
    tables = [TextTable("table_5", "Table 5, the model", ("part", "ours", "paper"), sizes)]
    if rows:
        columns = ("data", "ours: train / dev / test", *VERSIONS.values())
        tables.insert(0, TextTable("table_4", "Table 4, the data", columns, tuple(rows)))
    return tables


def select_runs(
    runs: Mapping[str, Run], dataset: Dataset, padding: Padding, weights: LossWeights, seeds: int
) -> list[Run]:
    """The finished runs of one setting, ordered by seed."""
    names = [paper_run_name(dataset, padding, weights, seed) for seed in range(seeds)]
    return [runs[name] for name in names if name in runs]


def _make_ablation_table(
    name: str,
    title: str,
    comparisons: Mapping[LossWeights, Mapping[str, Comparison]],
    counts: Mapping[LossWeights, int],
    labels: Mapping[LossWeights, str],
    note: str,
) -> TextTable:
    # The paper's last column comes second, where a screen still shows it.
    titles = {"accuracy": "accuracy", "srs": "SRS", "random": "random deletion", "capacity": "by capacity"}
    columns = ["setting", "seeds"]
    for score_title in titles.values():
        columns += [score_title, *(f"{score_title} ({suffix})" for suffix in (*VERSIONS.values(), "verdict"))]
    rows = [
        (labels[weights], str(counts[weights]), *(cell for name in titles for cell in comparison_cells(scores[name])))
        for weights, scores in comparisons.items()
    ]
    return TextTable(name, title, tuple(columns), tuple(rows), note=note)


def _make_capacity_table(runs: Sequence[Run], dataset: Dataset, padding: Padding, data: str) -> TextTable:
    words = {"all": "all", "important": "most important 30 %", "rest": "the rest"}
    rows = []
    for group, comparison in compare_capacity(runs, dataset).items():
        printed = (f"{value:.4f}" for value in comparison.printed.values() if value is not None)
        ours = "{:.4f} [{:.4f}, {:.4f}]".format(*astuple(comparison.ours)) if comparison.ours else NOT_MEASURED
        rows.append((words[group], ours, *printed, comparison.verdict or ""))
    title = f"Table 3, {data}: average capacity with {weights_label(best_paper_weights(dataset))}"
    if (preprint_weights := best_paper_weights(dataset, "preprint")) != best_paper_weights(dataset):
        title += f"; the preprint's presumably with {weights_label(preprint_weights)}"
    return TextTable(
        f"table_3_{dataset}_{padding}", title, ("words", "ours", *VERSIONS.values(), "verdict"), tuple(rows)
    )
