"""Conclusions from a benchmark: sentences that follow from its tests by stated rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from safr.attribution.registry import COSTLY_METHODS
from safr.evaluation.sanity_checks import CONFOUND_THRESHOLD

FAITHFULNESS_METRICS = ("srs", "comprehensiveness", "sufficiency", "aopc", "words_to_flip")
"""The metrics that decide whether one method is more faithful than another.

Leave-one-out is not among them, since it favours occlusion, which computes the same. Nor is the first flip, since it
depends on one word alone.
"""

CONCLUSION_RULES = (
    "Two methods differ in a metric if a paired permutation test over the texts says so at 5 %, adjusted for all "
    "comparisons of the table (Benjamini and Hochberg). A method is more faithful than another if it is better by "
    "three of the five metrics SRS, comprehensiveness, sufficiency, AOPC and words to flip, words being deleted, and "
    "worse by none. Ways of removing words disagree about two methods if one is better in one way and worse in "
    "another. Scores follow something other than the model if their mean rank correlation with it is at least "
    f"{CONFOUND_THRESHOLD}; for shuffled weights it must also be larger than the correlation between scores drawn at "
    "random, which is high in short texts. A method that knows the class ranks words against their effects if the 95 "
    "% interval of its rank correlation with leave-one-out lies below 0. A difference or a correlation is clear if "
    "its 95 % interval excludes 0; two methods find marked words equally well if their intervals overlap."
)


def draw_conclusions(result: Mapping[str, Any]) -> list[str]:
    """Sentences that say what a benchmark shows, by `CONCLUSION_RULES`.

    Args:
        result: The contents of `benchmark.json`.
    """
    others = [name for name in result["methods"] if name != result["compared"]]
    verdicts: dict[str, list[str]] = {"more": [], "less": [], "mixed": []}
    for name in others:
        verdicts[_judge_faithfulness(result, name)].append(name)
    sentences = []
    for verdict, opening in (
        ("more", f"{result['compared'].capitalize()} is more faithful than"),
        ("less", f"More faithful than {result['compared']}:"),
        ("mixed", "Neither more nor less faithful:"),
    ):
        if verdicts[verdict]:
            sentences.append(f"{opening} {_join_by_kind(result, verdicts[verdict])}.")
    for describe in (
        _describe_disagreements,
        _describe_reversed_rankings,
        _describe_plausibility,
        _describe_confounds,
        _describe_causal_effects,
        _describe_costs,
    ):
        sentences += describe(result)
    return sentences


def _join_by_kind(result: Mapping[str, Any], names: Sequence[str]) -> str:
    """The names of methods, with those that know the predicted class apart, so that like is compared with like."""
    unsigned = [name for name in names if not result["methods"][name]["signed"]]
    signed = [name for name in names if result["methods"][name]["signed"]]
    parts = [f"{_join_names(unsigned)} (blind to the class)"] if unsigned else []
    return "; ".join(parts + ([f"{_join_names(signed)} (which know the class)"] if signed else []))


def _judge_faithfulness(result: Mapping[str, Any], other: str) -> str:
    """Whether the compared method is more faithful than another one: `more`, `less`, or `mixed` for neither."""
    verdicts = [
        comparison["verdict"]
        for comparison in result["comparisons"]
        if comparison["other"] == other
        and comparison["removal"] == "delete"
        and comparison["metric"] in FAITHFULNESS_METRICS
    ]
    better, worse = verdicts.count("better"), verdicts.count("worse")
    if better >= 3 and not worse:
        return "more"
    return "less" if worse >= 3 and not better else "mixed"


def _describe_disagreements(result: Mapping[str, Any]) -> list[str]:
    """A sentence on metrics by which a method is better for one way of removing words and worse for another."""
    removals_by_metric: dict[tuple[str, str], dict[str, list[str]]] = {}
    for comparison in result["comparisons"]:
        if comparison["metric"] in FAITHFULNESS_METRICS:
            removals = removals_by_metric.setdefault(
                (comparison["other"], comparison["metric"]), {"better": [], "worse": [], "no difference": []}
            )
            removals[comparison["verdict"]].append(comparison["removal"])
    disagreements = [
        f"{name} by {_format_metric(metric)} ({result['compared']} is better where it is "
        f"{_join_names(removals['better'])}, worse where it is {_join_names(removals['worse'])})"
        for (name, metric), removals in removals_by_metric.items()
        if removals["better"] and removals["worse"]
    ]
    if disagreements:
        return [f"Ways of removing words disagree about {'; '.join(disagreements)}."]
    decided = any(removals["better"] or removals["worse"] for removals in removals_by_metric.values())
    return (
        ["The ways of removing words do not contradict each other."] if decided and len(result["removals"]) > 1 else []
    )


def _describe_reversed_rankings(result: Mapping[str, Any]) -> list[str]:
    """A sentence on methods whose ranking of the words runs against what deleting them does."""
    found = []
    for name, method in result["methods"].items():
        correlation = method["values"].get("delete", {}).get("leave_one_out")
        if method["signed"] and correlation is not None and correlation["high"] < 0:
            found.append(f"{name} ({correlation['value']:.2f} [{correlation['low']:.2f}, {correlation['high']:.2f}])")
    if not found:
        return []
    return [f"Ranks words against the effect of deleting them (correlation with leave-one-out): {_join_names(found)}."]


def _describe_plausibility(result: Mapping[str, Any]) -> list[str]:
    optional_auprc = {name: method["values"].get("none", {}).get("auprc") for name, method in result["methods"].items()}
    auprc = {name: value for name, value in optional_auprc.items() if value is not None}
    if not auprc:
        return []
    best = max(auprc, key=lambda name: auprc[name]["value"])
    compared, chance = auprc[result["compared"]], auprc["random"]["value"]
    overlapping = [name for name in auprc if auprc[name]["high"] >= auprc[best]["low"] and name != best]
    note = f" (with overlapping intervals: {_join_names(overlapping)})" if overlapping else ""
    return [
        f"{result['compared'].capitalize()} finds the words that people mark with an AUPRC of {compared['value']:.2f} "
        f"[{compared['low']:.2f}, {compared['high']:.2f}], random scores with {chance:.2f}, {best} with "
        f"{auprc[best]['value']:.2f}{note}."
    ]


def _describe_confounds(result: Mapping[str, Any]) -> list[str]:
    """Sentences on methods whose scores follow something else than the model."""
    sentences = []
    random = result["methods"].get("random", {"values": {}})["values"].get("none", {})
    random_correlation = random["randomization"]["high"] if "randomization" in random else 0.0
    for name, method in result["methods"].items():
        values = method["values"].get("none", {})
        for metric, confound, chance in (
            ("length", "the length of the words", 0),
            ("position", "the words' place in the text", 0),
            ("randomization", "the text more than the weights, which were shuffled", random_correlation),
        ):
            if metric in values and abs(values[metric]["value"]) >= max(CONFOUND_THRESHOLD, chance):
                sentences.append(f"{name} follows {confound} (rank correlation {values[metric]['value']:+.2f}).")
    return sentences


def _describe_causal_effects(result: Mapping[str, Any]) -> list[str]:
    values = result["methods"][result["compared"]]["values"].get("none", {})
    sentences = []
    if "own_minus_others" in values:
        moved = "predicted number" if result.get("task") == "regression" else "log-odds"
        sentences.append(
            f"Setting a word's own FC1 neurons to zero moves the {moved} by {values['own']['value']:.2f} on average, "
            f"as many others by {values['others']['value']:.2f}: {_describe_difference(values['own_minus_others'])}."
        )
    if "capacity_own_minus_others" in values:
        sentences.append(
            f"A word's capacity has a rank correlation of {values['capacity_own']['value']:+.2f} with the effect of "
            f"its own neurons, and of {values['capacity_others']['value']:+.2f} with the effect of as many others: "
            f"{_describe_difference(values['capacity_own_minus_others'])}."
        )
    if "relevance_minus_capacity_own" in values:
        sentences.append(
            f"The relevance of a word's own neurons has a rank correlation of {values['relevance_own']['value']:+.2f} "
            "with the effect of setting them to zero, the word's capacity one of "
            f"{values['capacity_own']['value']:+.2f}: "
            f"{_describe_difference(values['relevance_minus_capacity_own'], 'relevance', 'capacity')}."
        )
    for name, what in (
        ("capacity_patched", "a word's capacity with the effect of patching its FC1 vectors"),
        ("interference_interaction", "two words' interference with how they interact in the prediction"),
    ):
        if name in values:
            nonzero = values[name]["low"] > 0 or values[name]["high"] < 0
            sentences.append(
                f"Rank correlation of {what}: {values[name]['value']:+.2f} [{values[name]['low']:+.2f}, "
                f"{values[name]['high']:+.2f}]{'' if nonzero else ', which may be 0'}."
            )
    return sentences


def _describe_difference(difference: Mapping[str, float], one: str = "", other: str = "") -> str:
    """Whether a word's own neurons matter more than others, or one predicts more than another, by the interval."""
    interval = f"[{difference['low']:+.2f}, {difference['high']:+.2f}]"
    more, less = (
        (f"{one} knows more", f"{other} knows more") if one else ("its own matter more", "the others matter more")
    )
    if difference["low"] > 0:
        return f"{more} {interval}"
    return f"{less} {interval}" if difference["high"] < 0 else f"no clear difference {interval}"


def _describe_costs(result: Mapping[str, Any]) -> list[str]:
    compared_time = result["methods"][result["compared"]]["cost"]["seconds"]
    times = {
        name: method["cost"]["seconds"] for name, method in result["methods"].items() if method["cost"] is not None
    }
    others = [name for name in ("integrated_gradients", "occlusion", *COSTLY_METHODS) if times.get(name)]
    if not others or not compared_time:
        return []
    ratios = _join_names(f"{times[name] / compared_time:.0f} times as long" + f" ({name})" for name in others)
    return [f"{result['compared'].capitalize()} takes {1000 * compared_time:.2g} ms a text; others take {ratios}."]


def _format_metric(metric: str) -> str:
    return {"srs": "SRS", "aopc": "AOPC"}.get(metric, metric.replace("_", " "))


def _join_names(names: Iterable[str]) -> str:
    *others, last = list(names)
    return f"{', '.join(others)} and {last}" if others else last
