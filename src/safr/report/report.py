"""Evaluated runs in, one self-contained HTML file out."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

import safr
from safr.attribution.explanation import Explanation, explain
from safr.errors import InputError
from safr.evaluation.audit import AUDIT_MEASURES
from safr.evaluation.conclusions import CONCLUSION_RULES
from safr.evaluation.evaluate import EXAMPLE_RULE, count_random_draws
from safr.evaluation.metrics import METRICS
from safr.evaluation.srs import DELETION_PERCENTS, MAIN_PERCENT
from safr.evaluation.statistics import Estimate, format_percent, mean_over_runs
from safr.experiments.benchmark_table import (
    LEGEND,
    SeedGroup,
    check_comparable,
    check_same_texts,
    group_runs,
    seed_group_table,
)
from safr.figures import (
    DeletionCurve,
    allocation_graph,
    capacity_bars,
    deletion_curves,
    figure_to_svg,
    interference_heatmap,
    save_figure,
    sites_panel,
    training_history,
)
from safr.runs import Run, check_same_data
from safr.storage import read_json, write_text

HISTORY_TERMS = ("task", "importance", "interaction", "information", "dev_accuracy")
"""What a history holds, in the order in which it is drawn."""


MAIN_K = "30"


CLOSED_MASK = 0.05
"""Mean keep probability under which the mask lets next to nothing through."""


FLAT_ATTENTION = 0.98
"""Share of the largest entropy above which attention no longer picks anything."""


def write_report(runs: Sequence[Run], output: Path) -> Path:
    """Write one HTML file that shows evaluated runs side by side; returns its path.

    Args:
        runs: Evaluated runs of the same data; the examples are the last one's.
        output: The file.

    Raises:
        InputError: A run is not evaluated, two share a name, or they were made from different data.
    """
    check_same_data_and_names(runs)
    history = _training_history(runs)
    page = (
        template_environment()
        .get_template("report.html.jinja")
        .render(
            version=safr.__version__,
            runs=runs,
            data=runs[0].record["data"],
            records={run.name: run.record for run in runs},
            scores={run.name: run.scores for run in runs},
            settings={run.name: _flat(run.settings.to_dict()) for run in runs},
            commands={run.name: run.settings.command for run in runs},
            findings=state_findings({run.name: run.scores for run in runs}),
            curves=svg_data_uri(deletion_curves({run.name: load_curve(run) for run in runs})),
            history=None if history is None else svg_data_uri(history),
            measures=AUDIT_MEASURES,
            examples=_examples(runs),
            **_evidence(runs),
            rule=EXAMPLE_RULE,
            k=str(MAIN_PERCENT),
            percents=[str(each) for each in DELETION_PERCENTS],
            draws=count_random_draws(runs[0].scores["texts"]),
        )
    )
    write_text(output, page)
    return output


def state_findings(scores: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What the numbers say, in words, the first run being what the others are compared with.

    Rules: capacity finds words that matter where deleting by it costs more than deleting at random, the 95 % interval
    of the difference on the same texts being above 0. Two runs differ where their intervals don't overlap, which is
    stricter than a test of their difference. The audit warns where the mask is closed (mean keep probability under
    0.05), where the vectors passed on are under half as long as the first run's, and where attention is flat (entropy
    above 98 % of the largest).
    """
    names = list(scores)
    first = scores[names[0]]
    said = [_faithful(name, scores[name]) for name in names]
    said += [_compared(name, scores[name], names[0], first) for name in names[1:]]
    return said + [warning for name in names for warning in _warnings(name, scores[name]["audit"], first["audit"])]


def _evidence(runs: Sequence[Run]) -> dict[str, Any]:
    """What the page shows of the runs' benchmarks, where there are any."""
    benchmarked = [run for run in runs if run.benchmark_file.is_file()]
    results = {run.name: read_json(run.benchmark_file) for run in benchmarked}
    return {
        "evidence": [seed_group_table(each) for each in _pooled(benchmarked)] if benchmarked else [],
        "conclusions": {name: result["conclusions"] for name, result in results.items()},
        "metrics": METRICS,
        "legend": LEGEND,
        "rules": CONCLUSION_RULES,
    }


def _pooled(runs: Sequence[Run]) -> list[SeedGroup]:
    """Benchmarked runs by their settings, or each by itself where they are no seeds that could be pooled."""
    try:
        check_comparable(runs)
        check_same_texts(runs)
    except InputError:
        return [SeedGroup(run.name, (run,)) for run in runs]
    return group_runs(runs)


def write_figures(run: Run) -> list[Path]:
    """Save an evaluated run's curves, its history, and the figures of its first example in the run's folder.

    Returns:
        The files, each as SVG and PNG.
    """
    figures = {"deletion": deletion_curves({run.name: load_curve(run)})}
    if (history := _training_history([run])) is not None:
        figures["history"] = history
    examples = read_json(run.examples_file)
    if examples:
        model, tokenizer = run.load_model()
        figures |= explain(model, tokenizer, examples[0]["text"], max_tokens=run.settings.max_tokens).figures()
    return [path for name, figure in figures.items() for path in save_figure(figure, run.figures_folder / name)]


def template_environment() -> Environment:
    """Where the pages' templates are found; whatever goes into one is escaped."""
    environment = Environment(
        loader=PackageLoader("safr.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"percent": format_percent, "number": _number}
    return environment


def check_same_data_and_names(runs: Sequence[Run]) -> None:
    """Raise an InputError where two runs share a name or were made from different data."""
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        raise InputError(f"the runs' folders need different names, got {', '.join(names)}")
    check_same_data(runs)


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Nested settings by their last name, as on the command line."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= value if isinstance(value, dict) else {name: value}
    return flat


def load_curve(*runs: Run) -> DeletionCurve:
    """Accuracy after deleting more and more words: of one run over texts, of several with other seeds over these."""
    scores = [run.scores for run in runs]

    def over_runs(score: str) -> list[Estimate]:
        return [mean_over_runs([each["deletion"][score][str(k)] for each in scores]) for k in DELETION_PERCENTS]

    capacity, random = over_runs("capacity"), over_runs("random")
    return DeletionCurve(
        percent=list(DELETION_PERCENTS),
        deleted=[each.value for each in capacity],
        low=[each.low for each in capacity],
        high=[each.high for each in capacity],
        random=[each.value for each in random],
        random_low=[each.low for each in random],
        random_high=[each.high for each in random],
        full=mean_over_runs([each["accuracy"] for each in scores]).value,
    )


def _training_history(runs: Sequence[Run]) -> Figure | None:
    series = {}
    for run in runs:
        lines = run.history
        terms = [term for term in HISTORY_TERMS if lines and all(term in line for line in lines)]
        series[run.name] = {term: ([line["epoch"] for line in lines], [line[term] for line in lines]) for term in terms}
    drawn = {name: terms for name, terms in series.items() if terms}
    return training_history(drawn) if drawn else None


def _examples(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Every example with what every run says about it."""
    models = {run.name: (*run.load_model(), run) for run in runs}
    shown = []
    for number, example in enumerate(read_json(runs[-1].examples_file)):
        readings = {}
        for name, (model, tokenizer, run) in models.items():
            explanation = explain(model, tokenizer, example["text"], max_tokens=run.settings.max_tokens)
            readings[name] = _reading(explanation, sites=number == 0)
        shown.append({**example, "readings": readings})
    return shown


def _reading(explanation: Explanation, *, sites: bool) -> dict[str, Any]:
    words, capacity = explanation.words, explanation.capacity
    shared = explanation.site().interference
    pictures = {
        "capacity of each word": capacity_bars(words, capacity),
        "how the words share neurons": allocation_graph(words, capacity, shared),
        "interference": interference_heatmap(words, shared),
    }
    if sites:
        pictures["from the embedding to FC2"] = sites_panel(words, explanation.site_pictures())
    highest = max(float(capacity.max()), 1e-12)
    return {
        "prediction": explanation.prediction,
        "probability": explanation.probabilities[explanation.prediction],
        "words": [(word, value, value / highest) for word, value in zip(words, capacity.tolist(), strict=True)],
        "pictures": {name: svg_data_uri(figure) for name, figure in pictures.items()},
    }


def svg_data_uri(figure: Figure) -> str:
    """An SVG as a data address: inside an `img` it can neither run scripts nor clash with other pictures' names."""
    return "data:image/svg+xml;base64," + base64.b64encode(figure_to_svg(figure).encode("utf-8")).decode("ascii")


def _number(estimate: dict[str, float]) -> str:
    return "{value:.3g} [{low:.3g}, {high:.3g}]".format(**estimate)


def _faithful(name: str, scores: Mapping[str, Any]) -> str:
    gap = scores["srs"]["above_random"][MAIN_K]
    points, costs = 100 * gap["value"], "deleting the words of highest capacity costs"
    if gap["low"] > 0:
        return f"{name}: {costs} {points:.1f} points more than deleting at random, so it finds words that matter."
    if gap["high"] < 0:
        return f"{name}: {costs} {-points:.1f} points less than deleting at random, so it misses what matters."
    return f"{name}: {costs} no clearly other number of points than deleting at random ({points:+.1f})."


def _compared(name: str, scores: Mapping[str, Any], first: str, others: Mapping[str, Any]) -> str:
    accuracy = _difference(scores["accuracy"], others["accuracy"])
    srs = _difference(scores["srs"][MAIN_K], others["srs"][MAIN_K])
    return f"{name} against {first}: accuracy is {accuracy}, SRS is {srs}."


def _difference(one: Mapping[str, float], other: Mapping[str, float]) -> str:
    gap = 100 * (one["value"] - other["value"])
    if one["low"] > other["high"]:
        return f"{gap:.1f} points higher"
    if one["high"] < other["low"]:
        return f"{-gap:.1f} points lower"
    return f"not clearly different ({gap:+.1f} points, the intervals overlap)"


def _warnings(name: str, audit: Mapping[str, Any], first: Mapping[str, Any]) -> list[str]:
    warnings = []
    if "keep" in audit and audit["keep"]["value"] < CLOSED_MASK:
        warnings.append(f"{name}: the mask is nearly closed, which lowers the importance loss without any sharing.")
    if audit["norm"]["value"] < first["norm"]["value"] / 2:
        share, shared = audit["norm"]["value"] / first["norm"]["value"], audit["shared_directions"]
        fewer = shared["high"] < first["shared_directions"]["low"]
        warnings.append(
            f"{name}: the vectors passed on are {share:.0%} as long as the first run's, which lowers the importance "
            + ("loss by itself; they share fewer directions too." if fewer else "loss; they share no fewer directions.")
        )
    if "attention_entropy" in audit and audit["attention_entropy"]["value"] > FLAT_ATTENTION:
        warnings.append(f"{name}: attention is nearly even over all words, so the interaction loss found no pairs.")
    return warnings
