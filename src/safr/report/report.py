"""Report about evaluated runs: one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import safr
from safr.data.answers import ANSWER_NAMES, THE_ANSWER
from safr.data.splits import join_pair
from safr.data.tokenizer import describe_tokenizer
from safr.errors import InputError
from safr.evaluation.audit import AUDIT_MEASURES
from safr.evaluation.conclusions import CONCLUSION_RULES
from safr.evaluation.evaluate import EXAMPLE_RULE
from safr.evaluation.metrics import METRICS
from safr.evaluation.srs import DELETION_PERCENTS, MAIN_PERCENT, count_random_draws, describe_undeletable
from safr.evaluation.statistics import NOT_MEASURED, format_number, format_percent
from safr.evaluation.task_metrics import get_main_metric
from safr.experiments.benchmark_table import (
    LEGEND,
    SeedGroup,
    check_comparable,
    check_same_texts,
    group_runs,
    seed_group_table,
)
from safr.figures.inputs import UNKNOWN_MARK
from safr.figures.notebook import MINUS
from safr.report.examples import explain_examples
from safr.report.findings import state_findings
from safr.report.headline import state_headline
from safr.report.plain_names import AUDIT_NAMES, name_method, name_methods_in
from safr.report.run_figures import HALF_PAGE, Picture, draw_deletion_curves, draw_training_history, make_picture
from safr.report.table_sentences import describe_tables, is_score
from safr.rounding import format_share
from safr.runs import Run, check_same_data
from safr.storage import hash_file, write_text

MOST_CLASSES = 30
"""Classes that the table of classes shows of a run."""


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
    history, runs_by_name = draw_training_history(runs), {run.name: [run] for run in runs}
    curves, narrow_curves = (draw_deletion_curves(runs_by_name, width=width) for width in (HALF_PAGE, "column"))
    metric = get_main_metric(scores[runs[0].name])
    *other_headlines, headline = (state_headline(name, score) for name, score in scores.items())
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
            headline=headline,
            other_headlines=other_headlines,
            findings=state_findings(scores),
            told={name: describe_tables(score) for name, score in scores.items()},
            metric=metric,
            change="drop" if metric.is_share else "growth",
            loss="lost" if metric.is_share else "added",
            value_scores={name: score["values"] for name, score in scores.items() if "values" in score},
            generation_scores={name: score["generation"] for name, score in scores.items() if "generation" in score},
            tag_scores={name: score["tags"] for name, score in scores.items() if "tags" in score},
            answer_scores={name: score["answers"] for name, score in scores.items() if "answers" in score},
            answer_name=ANSWER_NAMES[THE_ANSWER],
            parts_of_pairs={name: score["within"] for name, score in scores.items() if "within" in score},
            curves=None if curves is None else make_picture(curves),
            curve_text=f"{metric.name.capitalize()} against the share of deleted words. {headline.name} "
            f"{headline.sentence}",
            narrow_curves=None if narrow_curves is None else make_picture(narrow_curves),
            history=None if history is None else make_picture(history),
            measures=AUDIT_MEASURES,
            audit_names=AUDIT_NAMES,
            examples=explain_examples(runs, models),
            **_collect_benchmarks(runs),
            rule=EXAMPLE_RULE,
            k=str(MAIN_PERCENT),
            percents=[str(percent) for percent in DELETION_PERCENTS],
            draws=count_random_draws(scores[runs[0].name]["texts"]),
        )
    )
    write_text(output, page)
    return output


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


def template_environment() -> Environment:
    """The environment of the HTML templates. It escapes every value that is put into a template."""
    environment = Environment(
        loader=PackageLoader("safr.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {
        "percent": _format_percent_whole,
        "number": _format_number_whole,
        "share": format_share,
        "whole_interval": _keep_interval_whole,
        "one_line": join_pair,
        "method": name_method,
        "methods_in": name_methods_in,
    }
    environment.globals |= {
        "describe_undeletable": describe_undeletable,
        "is_score": is_score,
        "minus": MINUS,
        "not_measured": NOT_MEASURED,
        "picture": _write_image,
        "unknown_mark": UNKNOWN_MARK,
    }
    return environment


def _format_percent_whole(estimate: Mapping[str, float] | None) -> str:
    return _keep_interval_whole(format_percent(estimate))


def _format_number_whole(estimate: Mapping[str, float] | None) -> str:
    return _keep_interval_whole(format_number(estimate))


def _keep_interval_whole(text: str) -> str:
    """The text of an estimate, whose line may break before its interval but not inside it."""
    return text.replace(", ", ",\N{NO-BREAK SPACE}") if "[" in text else text


def _write_image(picture: Picture, alt: str, narrow: Picture | None = None) -> Markup:
    """An image as wide as its letters need it, in a box that scrolls where the page is narrower.

    Args:
        picture: The figure.
        alt: What it shows, for those who don't see it.
        narrow: The same for a phone.
    """
    source = Markup('<source media="(max-width: 40rem)" srcset="{}">').format(narrow.address) if narrow else ""
    return Markup(
        '<div class="wide" tabindex="0" role="group" aria-label="Figure"><picture>{}'
        '<img src="{}" alt="{}" style="--wide: {}px; --narrow: {}px"></picture></div>'
    ).format(source, picture.address, alt, picture.width, (narrow or picture).width)


def _flatten(settings: dict[str, Any]) -> dict[str, Any]:
    """Nested settings in one dictionary, with the names that they have on the command line."""
    flat_settings: dict[str, Any] = {}
    for name, value in settings.items():
        flat_settings |= value if isinstance(value, dict) else {name: value}
    return flat_settings


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
