"""Report about evaluated runs: one self-contained HTML file, or the figures of one run."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure
from transformers import PreTrainedModel, PreTrainedTokenizerBase

import safr
from safr.attribution.explain import explain
from safr.attribution.explanation import Explanation
from safr.attribution.registry import default_methods
from safr.attribution.word_scores import describe_scores
from safr.data.answers import ANSWER_NAMES, THE_ANSWER
from safr.data.splits import join_pair
from safr.data.tokenizer import describe_tokenizer
from safr.errors import InputError, shorten_text
from safr.evaluation.audit import AUDIT_MEASURES
from safr.evaluation.conclusions import CONCLUSION_RULES
from safr.evaluation.evaluate import EXAMPLE_RULE, describe_unknown_words
from safr.evaluation.metrics import METRICS
from safr.evaluation.srs import DELETION_PERCENTS, MAIN_PERCENT, count_random_draws, describe_undeletable
from safr.evaluation.statistics import NOT_MEASURED, Estimate, format_number, format_percent, mean_over_runs
from safr.evaluation.task_metrics import DEV_METRICS, MainMetric, get_main_metric
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
from safr.figures.inputs import UNKNOWN_MARK
from safr.figures.notebook import FAINT, MINUS
from safr.rounding import format_share
from safr.runs import Run, check_same_data
from safr.storage import hash_file, write_text

HISTORY_TERMS = ("task", "importance", "interaction", "information")
"""The loss terms of a training history, in the order in which they are drawn; metrics on dev come after them."""

MAIN_K = "30"
"""The percentage of deleted words that the findings are about, as `scores.json` writes it."""

MOST_CLASSES = 30
"""Classes that the table of classes shows of a run."""

CLOSED_MASK = 0.05
"""Mean keep probability below which the mask lets almost nothing through."""

FLAT_ATTENTION = 0.98
"""Share of the largest entropy above which attention no longer selects any words."""


def write_report(runs: Sequence[Run], output: Path) -> Path:
    """Write one HTML file that shows evaluated runs side by side, and return its path.

    Args:
        runs: Evaluated runs of the same data. The examples are those of the last run.
        output: The file.

    Raises:
        InputError: A run is not evaluated, two share a name, or they were made from different data.
    """
    check_same_data_and_names(runs)
    models = {run.name: run.load_model() for run in runs}
    scores = {run.name: run.scores for run in runs}
    history, curves = _draw_training_history(runs), draw_deletion_curves({run.name: [run] for run in runs})
    page = (
        template_environment()
        .get_template("report.html.jinja")
        .render(
            version=safr.__version__,
            runs=runs,
            data=runs[0].record["data"],
            records={run.name: run.record for run in runs},
            scores=scores,
            class_scores={name: score["classes"] for name, score in scores.items() if "classes" in score},
            most_classes=MOST_CLASSES,
            settings={run.name: _flatten(run.settings.to_dict()) for run in runs},
            tokenizers={name: describe_tokenizer(tokenizer) for name, (_, tokenizer) in models.items()},
            commands={run.name: run.command for run in runs},
            findings=state_findings(scores),
            metric=get_main_metric(scores[runs[0].name]),
            change="drop" if get_main_metric(scores[runs[0].name]).is_share else "growth",
            value_scores={name: score["values"] for name, score in scores.items() if "values" in score},
            generation_scores={name: score["generation"] for name, score in scores.items() if "generation" in score},
            tag_scores={name: score["tags"] for name, score in scores.items() if "tags" in score},
            answer_scores={name: score["answers"] for name, score in scores.items() if "answers" in score},
            answer_name=ANSWER_NAMES[THE_ANSWER],
            parts_of_pairs={name: score["within"] for name, score in scores.items() if "within" in score},
            curves=None if curves is None else svg_data_uri(curves),
            history=None if history is None else svg_data_uri(history),
            measures=AUDIT_MEASURES,
            examples=_explain_examples(runs, models),
            **_collect_benchmarks(runs),
            rule=EXAMPLE_RULE,
            unknown_mark=UNKNOWN_MARK,
            k=str(MAIN_PERCENT),
            percents=[str(percent) for percent in DELETION_PERCENTS],
            draws=count_random_draws(scores[runs[0].name]["texts"]),
        )
    )
    write_text(output, page)
    return output


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
        if (history := _draw_training_history([run])) is not None:
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


def state_findings(scores: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Sentences that say what the numbers mean; the other runs are compared with the first one.

    The rules are:
    - Capacity finds words that matter if deleting by capacity costs more than deleting at random, that is, if the 95 %
      interval of the difference on the same texts is above 0. Where nothing can be deleted, that is told instead.
    - Two runs differ if their intervals don't overlap. This is stricter than a test of their difference.
    - A model tells classes apart if its accuracy's interval is above the share of the largest class, or knows what
      comes next if it is above that of the most frequent next token. It predicts
      numbers if its mean absolute error's interval is below that of the best constant answer.
    - Test texts that are in the training texts too are told, and words that were not read.
    - The audit warns if the mask is closed (mean keep probability below 0.05), if the vectors passed on are less than
      half as long as the first run's, and if attention is flat (entropy above 98 % of the largest).
    """
    names = list(scores)
    first = scores[names[0]]
    sentences = [_judge_capacity(name, scores[name]) for name in names]
    sentences += [_compare_runs(name, scores[name], names[0], first) for name in names[1:]]
    sentences += [sentence for name in names if (sentence := _judge_accuracy(name, scores[name]))]
    if shared := first.get("duplicates", {}).get("test_in_train"):
        sentences.append(
            f"{shared:,} of the {first['texts']:,} test texts are in the training texts too, so the accuracies may be "
            "too high; `--drop-duplicates` leaves them out of training."
        )
    unknown = {name: describe_unknown_words(scores[name]) for name in names}
    sentences += [f"{name}: {sentence} of the test split." for name, sentence in unknown.items() if sentence]
    sentences += [warning for name in names for warning in _list_warnings(name, scores[name]["audit"], first["audit"])]
    return sentences


def check_same_data_and_names(runs: Sequence[Run]) -> None:
    """Raise an InputError if two runs share a name, were made from different data, or predict tokens of two kinds."""
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        raise InputError(f"the runs' folders need different names, got {', '.join(names)}")
    check_same_data(runs)
    if runs[0].task == "generation" and len({hash_file(run.model_folder / "tokenizer.json") for run in runs}) > 1:
        raise InputError(
            f"the runs {', '.join(names)} cut texts into tokens in different ways, so that their next tokens are not "
            "the same; show those of one tokenizer together"
        )


def draw_deletion_curves(runs_by_name: Mapping[str, Sequence[Run]]) -> Figure | None:
    """The deletion curves of settings by name, each over its seeds, or None if nothing can be deleted in any."""
    curves = {name: load_curve(*runs) for name, runs in runs_by_name.items()}
    measured_curves = {name: curve for name, curve in curves.items() if curve is not None}
    return deletion_curves(measured_curves) if measured_curves else None


def load_curve(*runs: Run) -> DeletionCurve | None:
    """Accuracy, or mean absolute error, after deleting ever more words, as a mean over runs that differ in their seed.

    The intervals of a single run are over texts, those of several runs over seeds. None where nothing can be deleted
    from any text.
    """
    scores_of_runs = [run.scores for run in runs]
    if any("srs_reason" in scores for scores in scores_of_runs):
        return None

    def average_over_runs(order: str) -> list[Estimate]:
        return [
            mean_over_runs([scores["deletion"][order][str(percent)] for scores in scores_of_runs])
            for percent in DELETION_PERCENTS
        ]

    metric = get_main_metric(scores_of_runs[0])
    capacity, random = average_over_runs("capacity"), average_over_runs("random")
    return DeletionCurve(
        percent=list(DELETION_PERCENTS),
        deleted=[accuracy.value for accuracy in capacity],
        low=[accuracy.low for accuracy in capacity],
        high=[accuracy.high for accuracy in capacity],
        random=[accuracy.value for accuracy in random],
        random_low=[accuracy.low for accuracy in random],
        random_high=[accuracy.high for accuracy in random],
        full=mean_over_runs([scores[metric.key] for scores in scores_of_runs]).value,
        metric=metric.name,
        is_share=metric.is_share,
    )


def svg_data_uri(figure: Figure) -> str:
    """The figure as SVG in a data address. In an `img` it can't run scripts, and its ids can't clash with others."""
    return "data:image/svg+xml;base64," + base64.b64encode(figure_to_svg(figure).encode("utf-8")).decode("ascii")


def template_environment() -> Environment:
    """The environment of the HTML templates. It escapes every value that is put into a template."""
    environment = Environment(
        loader=PackageLoader("safr.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {
        "percent": format_percent,
        "share": format_share,
        "number": format_number,
        "one_line": join_pair,
    }
    environment.globals |= {"describe_undeletable": describe_undeletable, "not_measured": NOT_MEASURED}
    return environment


def _flatten(settings: dict[str, Any]) -> dict[str, Any]:
    """Nested settings in one dictionary, with the names that they have on the command line."""
    flat_settings: dict[str, Any] = {}
    for name, value in settings.items():
        flat_settings |= value if isinstance(value, dict) else {name: value}
    return flat_settings


def _draw_training_history(runs: Sequence[Run]) -> Figure | None:
    """The loss terms and dev accuracy over the epochs, or None if no run has a history."""
    series_by_run = {}
    for run in runs:
        lines = run.history
        metrics = [f"dev_{name}" for names in DEV_METRICS.values() for name in names]
        names = dict.fromkeys([*HISTORY_TERMS, *metrics])
        terms = [term for term in names if lines and all(term in line for line in lines)]
        series_by_run[run.name] = {
            term: ([line["epoch"] for line in lines], [line[term] for line in lines]) for term in terms
        }
    series_by_run = {name: series for name, series in series_by_run.items() if series}
    return training_history(series_by_run) if series_by_run else None


def _collect_benchmarks(runs: Sequence[Run]) -> dict[str, Any]:
    """The template's values about benchmarks. The tables and conclusions are empty if no run has a benchmark."""
    benchmarked_runs = [run for run in runs if run.benchmark_file.is_file()]
    results = {run.name: run.benchmark for run in benchmarked_runs}
    groups = _group_by_settings(benchmarked_runs) if benchmarked_runs else []
    return {
        "evidence": [seed_group_table(group) for group in groups],
        "conclusions": {name: result["conclusions"] for name, result in results.items()},
        "metrics": METRICS,
        "legend": LEGEND,
        "rules": CONCLUSION_RULES,
    }


def _group_by_settings(runs: Sequence[Run]) -> list[SeedGroup]:
    """Groups of runs that differ in their seed alone, or one group per run if the runs can't be compared."""
    try:
        check_comparable(runs)
        check_same_texts(runs)
    except InputError:
        return [SeedGroup(run.name, (run,)) for run in runs]
    return group_runs(runs)


def _explain_examples(
    runs: Sequence[Run], models: Mapping[str, tuple[PreTrainedModel, PreTrainedTokenizerBase]]
) -> list[dict[str, Any]]:
    """The template's values about the last run's examples, with what every run's model says about them."""
    examples = []
    for number, example in enumerate(runs[-1].examples):
        readings = {}
        for run in runs:
            model, tokenizer = models[run.name]
            method = "relevance" if "relevance" in default_methods(model) else None
            explanation = explain(model, tokenizer, example["text"], max_tokens=run.settings.max_tokens, method=method)
            reading = _draw_explanation(explanation, sites=number == 0)
            readings[run.name] = reading | _describe_prediction(explanation) | _describe_relevance(explanation)
        examples.append({**example, "readings": readings})
    return examples


def _draw_explanation(explanation: Explanation, *, sites: bool) -> dict[str, Any]:
    """The template's values about one explanation; with `sites`, also a picture of all sites."""
    words, capacity, unknown = explanation.words, explanation.capacity, explanation.unknown
    interference = explanation.site().interference
    pictures = {
        "capacity of each word": capacity_bars(words, capacity, unknown=unknown),
        "how the words share neurons": allocation_graph(words, capacity, interference, unknown=unknown),
        "interference": interference_heatmap(words, interference, unknown=unknown),
    }
    if sites:
        pictures["from the embedding to FC2"] = sites_panel(words, explanation.site_pictures(), unknown=unknown)
    highest = max(float(capacity.max()), 1e-12)
    return {
        "words": [
            (word, value, value / highest, is_unknown)
            for word, value, is_unknown in zip(words, capacity.tolist(), unknown, strict=True)
        ],
        "unknown_note": explanation.unknown_note,
        "pictures": {name: svg_data_uri(figure) for name, figure in pictures.items()},
    }


def _describe_relevance(explanation: Explanation) -> dict[str, Any]:
    """The template's values about which words speak for the prediction and which against; none where it isn't known."""
    scores = explanation.scores
    if scores is None:
        return {}
    largest = max(float(np.abs(scores).max()), 1e-12)
    return {
        "meaning": describe_scores(explanation.method, explanation.target),
        "signed_words": [
            (MINUS * (value < -FAINT * largest) + word, value, abs(value) / largest)
            for word, value in zip(explanation.words, scores.tolist(), strict=True)
        ],
    }


def _describe_prediction(explanation: Explanation) -> dict[str, str]:
    """The prediction as a run's examples write labels, so that the two can be compared, and how sure it is."""
    shares = [] if explanation.is_regression else explanation.fitting.values()
    return {"prediction": explanation.answer, "certainty": ", ".join(f"{format_share(share, 0)} %" for share in shares)}


def _judge_capacity(name: str, scores: Mapping[str, Any]) -> str:
    if reason := scores.get("srs_reason"):
        return f"{name}: {reason}; SRS could not be measured."
    difference, metric = scores["srs"]["above_random"][MAIN_K], get_main_metric(scores)
    costs = "deleting the words of highest capacity " + ("costs" if metric.is_share else "adds to the error")
    size = _describe_size(metric, difference["value"])
    if difference["low"] > 0:
        return f"{name}: {costs} {size} more than deleting at random, so it finds words that matter."
    if difference["high"] < 0:
        return f"{name}: {costs} {size} less than deleting at random, so it misses what matters."
    sign = "-" if difference["value"] < 0 else "+"
    number = "no clearly other number of points" if metric.is_share else "not clearly more or less"
    return f"{name}: {costs} {number} than deleting at random ({sign}{size.removesuffix(' points')})."


def _judge_accuracy(name: str, scores: Mapping[str, Any]) -> str:
    """A sentence where the model may do no better than a constant answer; "" elsewhere and in older runs."""
    if "values" in scores:
        constant = scores["values"]["constant"]
        if scores["mae"]["high"] < constant:
            return ""
        return (
            f"{name}: the mean absolute error is not clearly below {constant:.3g}, that of always answering the "
            "median, so the model may predict nothing."
        )
    majority = scores.get("classes", scores.get("generation", {})).get("majority")
    if majority is None or scores["accuracy"]["low"] > majority["share"]:
        return ""
    share = format_share(majority["share"])
    if "generation" in scores:
        return (
            f"{name}: accuracy is not clearly above {share} %, the share of the most frequent "
            f"next token (“{shorten_text(majority['label'])}”), so the model may not have learned what comes next."
        )
    return (
        f"{name}: accuracy is not clearly above {share} %, the share of the largest class "
        f"({shorten_text(majority['label'])}), so the model may not tell the classes apart."
    )


def _compare_runs(name: str, scores: Mapping[str, Any], first_name: str, first_scores: Mapping[str, Any]) -> str:
    metric = get_main_metric(scores)
    main = f"{metric.name} is {_describe_difference(metric, scores[metric.key], first_scores[metric.key])}"
    if "srs_reason" in scores or "srs_reason" in first_scores:
        return f"{name} against {first_name}: {main}."
    srs = _describe_difference(metric, scores["srs"][MAIN_K], first_scores["srs"][MAIN_K])
    return f"{name} against {first_name}: {main}, SRS is {srs}."


def _describe_difference(metric: MainMetric, estimate: Mapping[str, float], reference: Mapping[str, float]) -> str:
    difference = estimate["value"] - reference["value"]
    size = _describe_size(metric, difference)
    if estimate["low"] > reference["high"]:
        return f"{size} higher"
    if estimate["high"] < reference["low"]:
        return f"{size} lower"
    return f"not clearly different ({'-' if difference < 0 else '+'}{size}, the intervals overlap)"


def _describe_size(metric: MainMetric, difference: float) -> str:
    """The size of a difference, in points of accuracy or in the labels' unit."""
    return f"{format_share(abs(difference))} points" if metric.is_share else f"{abs(difference):.3g}"


def _list_warnings(name: str, audit: Mapping[str, Any], first_audit: Mapping[str, Any]) -> list[str]:
    warnings = []
    if "keep" in audit and audit["keep"]["value"] < CLOSED_MASK:
        warnings.append(f"{name}: the mask is nearly closed, which lowers the importance loss without any sharing.")
    if audit["norm"]["value"] < first_audit["norm"]["value"] / 2:
        share = format_share(audit["norm"]["value"] / first_audit["norm"]["value"], 0)
        shared_directions = audit["shared_directions"]
        fewer = shared_directions["high"] < first_audit["shared_directions"]["low"]
        warnings.append(
            f"{name}: the vectors passed on are {share}% as long as the first run's, which lowers the importance "
            + ("loss by itself; they share fewer directions too." if fewer else "loss; they share no fewer directions.")
        )
    if "attention_entropy" in audit and audit["attention_entropy"]["value"] > FLAT_ATTENTION:
        warnings.append(f"{name}: attention is nearly even over all words, so the interaction loss found no pairs.")
    return warnings
