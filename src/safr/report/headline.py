"""Headline of a run: one sentence that says what its numbers came to, and the intervals behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from safr.config import Task
from safr.evaluation.srs import MAIN_PERCENT
from safr.evaluation.task_metrics import MainMetric, get_main_metric
from safr.rounding import format_share

MAIN_K = str(MAIN_PERCENT)
"""The percentage of deleted words that headlines and findings are about, as `scores.json` writes it."""

_SUCCESSES: dict[Task, str] = {
    "classification": "is right on",
    "multi_label": "has all classes right on",
    "regression": "is off by",
    "generation": "has the next token right in",
    "token_classification": "has the tag of one word right in",
    "question_answering": "finds exactly the right answer in",
    "multiple_choice": "picks the right choice in",
}


@dataclass(frozen=True)
class Headline:
    """What a run's numbers say."""

    name: str
    """Name of the run, with which the sentence begins."""

    sentence: str
    """The rest of the sentence, in plain words with the terms in brackets."""

    intervals: str
    """The numbers behind it with their 95 % intervals."""


def state_headline(name: str, scores: Mapping[str, Any]) -> Headline:
    """What a run's numbers say: how good the model is, and whether its capacity points at words that it needs.

    It does if deleting by capacity costs more than deleting at random, that is, if the 95 % interval of the difference
    on the same texts is above 0. It points past them if the interval is below 0. An interval that holds or touches 0
    shows nothing. Where nothing can be deleted from any text, the sentence says so instead.

    Args:
        name: Name of the run.
        scores: What its `scores.json` holds.
    """
    metric, success = get_main_metric(scores), _SUCCESSES[scores.get("task", "classification")]
    whole = scores[metric.key]
    opening = f"{success} {_format_value(metric, whole)} {_describe_texts(metric, scores)} ({metric.name})."
    if reason := scores.get("srs_reason"):
        return Headline(
            name,
            f"{opening} What its capacity points at could not be measured: {reason}.",
            f"95 % interval: {metric.name} {metric.format(whole)}.",
        )
    srs, beyond = scores["srs"], scores["srs"]["above_random"][MAIN_K]
    deleted, random = (_format_value(metric, scores["deletion"][by][MAIN_K]) for by in ("capacity", "random"))
    loss = "lost" if metric.is_share else "growth"
    return Headline(
        name,
        f"{opening} Without the {MAIN_K} % of words of highest capacity it {success} {deleted} "
        f"(SRS: {_describe_change(metric, srs[MAIN_K]['value'])}), without as many random words "
        f"{success.split()[-1]} {random}: {_judge_capacity(beyond)}",
        f"{'In points' if metric.is_share else 'In numbers'}, with 95 % intervals: {metric.name} "
        f"{metric.format(whole)}; {loss} by capacity (SRS) {metric.format(srs[MAIN_K])}, at random "
        f"{metric.format(srs['random'][MAIN_K])}, by capacity beyond random {metric.format(beyond)}.",
    )


def _judge_capacity(beyond: Mapping[str, float]) -> str:
    """The end of the sentence, from what capacity costs beyond random deletion."""
    if beyond["low"] > 0:
        return "its capacity points at words that it needs."
    if beyond["high"] < 0:
        return "random words cost it more, so its capacity points past the words that it needs."
    return "the two are not clearly apart, so nothing is shown about its capacity."


def _describe_texts(metric: MainMetric, scores: Mapping[str, Any]) -> str:
    """The texts that the numbers are about; those that the model was trained on are not called unseen."""
    kind = "test" if scores.get("duplicates", {}).get("test_in_train") else "unseen"
    return f"{'of' if metric.is_share else 'on average over'} {scores['texts']:,} {kind} texts"


def _describe_change(metric: MainMetric, change: float) -> str:
    """What a deletion costs, in words."""
    size = describe_size(metric, change)
    if metric.is_share:
        return f"{size} {'gained' if change < 0 else 'lost'}"
    return f"{size} {'less' if change < 0 else 'more'}"


def describe_size(metric: MainMetric, difference: float) -> str:
    """The size of a difference, in points of accuracy or in the labels' unit."""
    return f"{format_share(abs(difference))} points" if metric.is_share else f"{abs(difference):.3g}"


def _format_value(metric: MainMetric, estimate: Mapping[str, float]) -> str:
    """The value without its interval, in the digits that tables show."""
    return metric.format(estimate).partition(" ")[0] + (" %" if metric.is_share else "")
