"""Findings: sentences that say what the numbers of evaluated runs mean, by stated rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from safr.errors import shorten_text
from safr.evaluation.evaluate import describe_unknown_words
from safr.evaluation.task_metrics import MainMetric, get_main_metric
from safr.report.headline import MAIN_K, describe_size
from safr.rounding import format_share

CLOSED_MASK = 0.05
"""Mean keep probability below which the mask lets almost nothing through."""

FLAT_ATTENTION = 0.98
"""Share of the largest entropy above which attention no longer selects any words."""


def state_findings(scores: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Sentences that say what the numbers mean; the other runs are compared with the first one.

    The rules are:
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
    sentences = [_compare_runs(name, scores[name], names[0], first) for name in names[1:]]
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


def _judge_accuracy(name: str, scores: Mapping[str, Any]) -> str:
    """A sentence where the model may do no better than a constant answer; "" elsewhere and in older runs."""
    if "values" in scores:
        constant = scores["values"]["constant"]
        if scores["mae"]["high"] < constant:
            return ""
        return (
            f"{name}: the mean absolute error is not clearly below {constant:.3g}, that of always answering the "
            "median, so the model may have learned nothing."
        )
    majority = scores.get("classes", scores.get("generation", {})).get("majority")
    if majority is None or scores["accuracy"]["low"] > majority["share"]:
        return ""
    if "generation" in scores:
        return (
            f"{name}: accuracy is not clearly above {format_share(majority['share'])} %, the share of the most "
            f"frequent next token (“{shorten_text(majority['label'])}”), so the model may not have learned what comes "
            "next."
        )
    return (
        f"{name}: accuracy is not clearly above {format_share(majority['share'])} %, the share of the largest class "
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
    size = describe_size(metric, difference)
    if estimate["low"] > reference["high"]:
        return f"{size} higher"
    if estimate["high"] < reference["low"]:
        return f"{size} lower"
    return f"not clearly different ({'-' if difference < 0 else '+'}{size}, the intervals overlap)"


def _list_warnings(name: str, audit: Mapping[str, Any], first_audit: Mapping[str, Any]) -> list[str]:
    warnings = []
    if "keep" in audit and audit["keep"]["value"] < CLOSED_MASK:
        warnings.append(f"{name}: the mask is nearly closed, which lowers the importance loss without any sharing.")
    if audit["norm"]["value"] < first_audit["norm"]["value"] / 2:
        share, shared_directions = audit["norm"]["value"] / first_audit["norm"]["value"], audit["shared_directions"]
        fewer = shared_directions["high"] < first_audit["shared_directions"]["low"]
        warnings.append(
            f"{name}: the vectors passed on are {format_share(share, 0)} % as long as the first run's, which lowers "
            "the importance "
            + ("loss by itself; they share fewer directions too." if fewer else "loss; they share no fewer directions.")
        )
    if "attention_entropy" in audit and audit["attention_entropy"]["value"] > FLAT_ATTENTION:
        warnings.append(f"{name}: attention is nearly even over all words, so the interaction loss found no pairs.")
    return warnings
