"""A benchmark's numbers in, sentences out, each by a stated rule: nothing is said that the tests do not bear out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from safr.evaluation.sanity_checks import CONFOUND_THRESHOLD

FAITHFULNESS_METRICS = ("srs", "comprehensiveness", "sufficiency", "aopc", "words_to_flip")
"""The metrics that decide whether one method is more faithful than another; leave-one-out favours occlusion, which it
is, and the first flip sees one word alone."""

CONCLUSION_RULES = (
    "Two methods differ in a metric where a paired permutation test over the texts says so at 5 %, adjusted for all "
    "comparisons of the table (Benjamini and Hochberg). A method is more faithful than another if it is better by "
    "three of the five metrics SRS, comprehensiveness, sufficiency, AOPC and words to flip, words being deleted, and "
    "worse by none. Ways of removing words disagree about two methods if one is better in one way and worse in "
    "another. Scores follow something else than the model from a mean rank correlation of "
    f"{CONFOUND_THRESHOLD} on; what shuffled weights leave must also be more than scores drawn at random have in "
    "common, which is much in short texts. A difference or a correlation is there where its 95 % interval leaves out "
    "0; two methods find marked words alike where their intervals overlap."
)


def draw_conclusions(result: Mapping[str, Any]) -> list[str]:
    """What a benchmark shows, in words; `CONCLUSION_RULES` says when.

    Args:
        result: What `benchmark.json` holds.
    """
    others = [name for name in result["methods"] if name != result["compared"]]
    verdicts: dict[str, list[str]] = {"more": [], "less": [], "mixed": []}
    for name in others:
        verdicts[_faithfulness(result, name)].append(name)
    said = []
    for verdict, begins in (
        ("more", f"{result['compared'].capitalize()} is more faithful than"),
        ("less", f"More faithful than {result['compared']}:"),
        ("mixed", "Neither way by this rule:"),
    ):
        if verdicts[verdict]:
            said.append(f"{begins} {_by_kind(result, verdicts[verdict])}.")
    for tell in (_disagreements, _plausible, _suspicions, _causes, _costs):
        said += tell(result)
    return said


def _by_kind(result: Mapping[str, Any], names: Sequence[str]) -> str:
    """The names, those apart that know the predicted class: like is to be compared with like."""
    blind = [name for name in names if not result["methods"][name]["signed"]]
    knowing = [name for name in names if result["methods"][name]["signed"]]
    parts = [f"{_listed(blind)} (blind to the class)"] if blind else []
    return "; ".join(parts + ([f"{_listed(knowing)} (which know the class)"] if knowing else []))


def _faithfulness(result: Mapping[str, Any], other: str) -> str:
    """Whether the subject is more faithful than another method, less, or neither."""
    found = [
        each["verdict"]
        for each in result["comparisons"]
        if each["other"] == other and each["removal"] == "delete" and each["metric"] in FAITHFULNESS_METRICS
    ]
    better, worse = found.count("better"), found.count("worse")
    if better >= 3 and not worse:
        return "more"
    return "less" if worse >= 3 and not better else "mixed"


def _disagreements(result: Mapping[str, Any]) -> list[str]:
    """Metrics in which the subject is better than a method in one way of removing words and worse in another."""
    ways: dict[tuple[str, str], dict[str, list[str]]] = {}
    for each in result["comparisons"]:
        if each["metric"] in FAITHFULNESS_METRICS:
            found = ways.setdefault((each["other"], each["metric"]), {"better": [], "worse": [], "no difference": []})
            found[each["verdict"]].append(each["removal"])
    said = [
        f"{name} by {_named(metric)} ({result['compared']} is better where it is {_listed(found['better'])}, worse "
        f"where it is {_listed(found['worse'])})"
        for (name, metric), found in ways.items()
        if found["better"] and found["worse"]
    ]
    if said:
        return [f"Ways of removing words disagree about {'; '.join(said)}."]
    decided = any(found["better"] or found["worse"] for found in ways.values())
    return (
        ["The ways of removing words do not contradict each other."] if decided and len(result["removals"]) > 1 else []
    )


def _plausible(result: Mapping[str, Any]) -> list[str]:
    found = {name: each["values"].get("none", {}).get("auprc") for name, each in result["methods"].items()}
    known = {name: value for name, value in found.items() if value is not None}
    if not known:
        return []
    best = max(known, key=lambda name: known[name]["value"])
    own, chance = known[result["compared"]], known["random"]["value"]
    alike = [name for name in known if known[name]["high"] >= known[best]["low"] and name != best]
    beside = f" (with overlapping intervals: {_listed(alike)})" if alike else ""
    return [
        f"{result['compared'].capitalize()} finds the words that people mark with an AUPRC of {own['value']:.2f} "
        f"[{own['low']:.2f}, {own['high']:.2f}], random scores with {chance:.2f}, {best} with "
        f"{known[best]['value']:.2f}{beside}."
    ]


def _suspicions(result: Mapping[str, Any]) -> list[str]:
    said = []
    random = result["methods"].get("random", {"values": {}})["values"].get("none", {})
    unrelated = random["randomization"]["high"] if "randomization" in random else 0.0
    for name, each in result["methods"].items():
        values = each["values"].get("none", {})
        for metric, follows, chance in (
            ("length", "the length of the words", 0),
            ("position", "the words' place in the text", 0),
            ("randomization", "the text more than the weights, which were shuffled", unrelated),
        ):
            if metric in values and abs(values[metric]["value"]) >= max(CONFOUND_THRESHOLD, chance):
                said.append(f"{name} follows {follows} (rank correlation {values[metric]['value']:+.2f}).")
    return said


def _causes(result: Mapping[str, Any]) -> list[str]:
    values = result["methods"][result["compared"]]["values"].get("none", {})
    said = []
    if "own_minus_others" in values:
        said.append(
            f"Setting a word's own FC1 neurons to zero moves the log-odds by {values['own']['value']:.2f} on average, "
            f"as many others by {values['others']['value']:.2f}: {_apart(values['own_minus_others'])}."
        )
    if "capacity_own_minus_others" in values:
        said.append(
            f"A word's capacity has a rank correlation of {values['capacity_own']['value']:+.2f} with what its own "
            f"neurons do, and of {values['capacity_others']['value']:+.2f} with what as many others do: "
            f"{_apart(values['capacity_own_minus_others'])}."
        )
    for name, what in (
        ("capacity_patched", "a word's capacity with what patching its FC1 vectors does"),
        ("interference_interaction", "two words' interference with how they interact in the prediction"),
    ):
        if name in values:
            there = values[name]["low"] > 0 or values[name]["high"] < 0
            said.append(
                f"Rank correlation of {what}: {values[name]['value']:+.2f} [{values[name]['low']:+.2f}, "
                f"{values[name]['high']:+.2f}]{'' if there else ', which may be none'}."
            )
    return said


def _apart(difference: Mapping[str, float]) -> str:
    """What to say of own neurons beside others, by the interval of the difference."""
    interval = f"[{difference['low']:+.2f}, {difference['high']:+.2f}]"
    if difference["low"] > 0:
        return f"its own matter more {interval}"
    return f"the others matter more {interval}" if difference["high"] < 0 else f"no clear difference {interval}"


def _costs(result: Mapping[str, Any]) -> list[str]:
    own = result["methods"][result["compared"]]["cost"]["seconds"]
    times = {name: each["cost"]["seconds"] for name, each in result["methods"].items() if each["cost"] is not None}
    compared = [name for name in ("integrated_gradients", "occlusion", "shapley") if times.get(name)]
    if not compared or not own:
        return []
    said = _listed(f"{times[name] / own:.0f} times as long" + f" ({name})" for name in compared)
    return [f"{result['compared'].capitalize()} takes {1000 * own:.2g} ms a text; others take {said}."]


def _named(metric: str) -> str:
    return {"srs": "SRS", "aopc": "AOPC"}.get(metric, metric.replace("_", " "))


def _listed(names: Iterable[str]) -> str:
    *most, last = list(names)
    return f"{', '.join(most)} and {last}" if most else last
