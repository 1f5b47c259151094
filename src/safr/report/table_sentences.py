"""One sentence for every table of the report that says what it shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from safr.errors import shorten_text
from safr.evaluation.srs import DELETION_PERCENTS
from safr.evaluation.task_metrics import get_main_metric
from safr.report.headline import MAIN_K, describe_size
from safr.report.plain_names import name_method
from safr.rounding import format_share

RunScores = Mapping[str, Any]
"""What `scores.json` holds."""

_NOTHING_DELETED = "nothing could be deleted."


def describe_tables(scores: RunScores) -> dict[str, str]:
    """What each table of the report shows of one run, by the name that the table has in `scores.json`."""
    describers = {
        "deletion": _describe_curve,
        "classes": _describe_classes,
        "values": _describe_values,
        "generation": _describe_generation,
        "tags": _describe_tags,
        "answers": _describe_answers,
        "within": _describe_parts_of_pairs,
        "srs": _describe_other_scores,
        "capacity": _describe_allocation,
        "audit": _describe_audit,
    }
    return {name: describe(scores) for name, describe in describers.items() if name in scores}


def _describe_curve(scores: RunScores) -> str:
    if "srs_reason" in scores:
        return _NOTHING_DELETED
    beyond = {percent: scores["srs"]["above_random"][str(percent)] for percent in DELETION_PERCENTS}
    percent = max(beyond, key=lambda each: abs(beyond[each]["value"]))
    size = describe_size(get_main_metric(scores), beyond[percent]["value"])
    verb = "more" if beyond[percent]["value"] >= 0 else "less"
    unclear = ", which may be chance" if beyond[percent]["low"] <= 0 <= beyond[percent]["high"] else ""
    return (
        f"the two lines are furthest apart at {percent} %, where words of highest capacity cost {size} {verb} than "
        f"random ones{unclear}."
    )


def _describe_classes(scores: RunScores) -> str:
    classes = sorted(scores["classes"]["per_class"], key=lambda row: -row["f1"])
    best, worst = classes[0], classes[-1]
    if best["f1"] == worst["f1"]:
        return f"every class is recognised equally well (F1 {format_share(best['f1'])} %)."
    named = (f"“{shorten_text(row['label'])}” (F1 {format_share(row['f1'])} %)" for row in (best, worst))
    return "it recognises {} best and {} worst.".format(*named)


def _describe_values(scores: RunScores) -> str:
    constant = scores["values"]["constant"]
    return f"it is off by {scores['mae']['value']:.3g} on average; always answering the median, by {constant:.3g}."


def _describe_generation(scores: RunScores) -> str:
    written = scores["generation"]
    return (
        f"of the tokens to write it has {format_share(written['token_accuracy']['value'])} % right, and all of a text "
        f"in {format_share(written['exact_match']['value'])} %."
    )


def _describe_tags(scores: RunScores) -> str:
    return f"it tags {format_share(scores['tags']['token_accuracy']['value'])} % of all words right."


def _describe_answers(scores: RunScores) -> str:
    return f"it answers {format_share(scores['answers']['exact_match']['value'])} % of the questions word for word."


def _describe_parts_of_pairs(scores: RunScores) -> str:
    measured = {part: within["srs"] for part, within in scores["within"].items() if within["srs"]}
    if not measured:
        return _NOTHING_DELETED
    if len(measured) < 2:
        return f"words could be deleted in the {next(iter(measured))} text alone."
    less, more = sorted(measured, key=lambda part: measured[part]["value"])
    if measured[less]["high"] >= measured[more]["low"]:
        return "it needs the words of highest capacity about as much in both texts."
    return f"it needs the words of highest capacity more in the {more} text."


def _describe_other_scores(scores: RunScores) -> str:
    if "srs_reason" in scores:
        return _NOTHING_DELETED
    drops = {name: drop[MAIN_K] for name, drop in scores["srs"].items() if is_score(name, drop)}
    drops["capacity"] = scores["srs"][MAIN_K]
    name = max(drops, key=lambda each: drops[each]["value"])
    if drops[name]["value"] <= 0:
        return "deletion costs nothing by any score."
    size = describe_size(get_main_metric(scores), drops[name]["value"])
    return f"deletion costs most by {name_method(name)}: {size}."


def is_score(name: str, drops: Any) -> bool:
    """Whether this entry of `srs` is about a score of words other than capacity at the explaining site."""
    return isinstance(drops, Mapping) and MAIN_K in drops and name not in ("random", "above_random")


def _describe_allocation(scores: RunScores) -> str:
    words, important, rest = (scores["capacity"].get(group) for group in ("all", "important", "rest"))
    if not words:
        return "no word was read."
    if not important or not rest:
        return f"a word has {words['value']:.3g} of its direction to itself on average, where 1 is all of it."
    if important["low"] > rest["high"]:
        comparison = "more of their directions to themselves than"
    elif important["high"] < rest["low"]:
        comparison = "less of their directions to themselves than"
    else:
        comparison = "about as much of their directions to themselves as"
    return f"important words have {comparison} the rest ({important['value']:.3g} and {rest['value']:.3g} of 1)."


def _describe_audit(scores: RunScores) -> str:
    audit = scores["audit"]
    if "keep" not in audit:
        return "it has no mask that could close."
    share = audit["norm"]["value"] / max(audit["embedding_norm"]["value"], 1e-12)
    return (
        f"the mask keeps {format_share(audit['keep']['value'], 0)} % of a word on average, and vectors go on "
        f"{format_share(share, 0)} % as long as they were."
    )
