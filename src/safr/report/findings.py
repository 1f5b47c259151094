"""Scores of some runs in, sentences about them out, each by a stated rule: nothing is said that an interval denies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MAIN = "30"

CLOSED_MASK = 0.05
"""Mean keep probability under which the mask lets next to nothing through."""

FLAT_ATTENTION = 0.98
"""Share of the largest entropy above which attention no longer picks anything."""


def findings(scores: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What the numbers say, in words, the first run being what the others are compared with.

    Rules: two values differ where their 95 % intervals don't overlap. Capacity finds words that matter where deleting
    by it costs more than deleting at random. The audit warns where the mask is closed (mean keep probability under
    0.05), where the passed-on vectors are under half as long as the embeddings, and where attention is flat (entropy
    above 98 % of the largest).
    """
    names = list(scores)
    said = [_faithful(name, scores[name]) for name in names]
    said += [_compared(name, scores[name], names[0], scores[names[0]]) for name in names[1:]]
    return said + [warning for name in names for warning in _warnings(name, scores[name]["audit"])]


def _faithful(name: str, scores: Mapping[str, Any]) -> str:
    drop, chance = scores["srs"][MAIN], scores["srs"]["random"][MAIN]
    gap, by_capacity = 100 * (drop["value"] - chance["value"]), "deleting the words of highest capacity costs"
    if drop["low"] > chance["high"]:
        return f"{name}: {by_capacity} {gap:.1f} points more than deleting at random, so it finds words that matter."
    if drop["high"] < chance["low"]:
        return f"{name}: {by_capacity} {-gap:.1f} points less than deleting at random, so it misses what matters."
    return f"{name}: deleting by capacity and deleting at random can't be told apart, so capacity says little here."


def _compared(name: str, scores: Mapping[str, Any], first: str, others: Mapping[str, Any]) -> str:
    accuracy = _difference(scores["accuracy"], others["accuracy"])
    srs = _difference(scores["srs"][MAIN], others["srs"][MAIN])
    return f"{name} against {first}: accuracy is {accuracy}, SRS is {srs}."


def _difference(one: Mapping[str, float], other: Mapping[str, float]) -> str:
    gap = 100 * (one["value"] - other["value"])
    if one["low"] > other["high"]:
        return f"{gap:.1f} points higher"
    if one["high"] < other["low"]:
        return f"{-gap:.1f} points lower"
    return f"not clearly different ({gap:+.1f} points, the intervals overlap)"


def _warnings(name: str, audit: Mapping[str, Any]) -> list[str]:
    warnings = []
    if "keep" in audit and audit["keep"]["value"] < CLOSED_MASK:
        warnings.append(f"{name}: the mask is nearly closed, which lowers the importance loss without any sharing.")
    if "keep" in audit and audit["norm"]["value"] < audit["embedding_norm"]["value"] / 2:
        share = audit["norm"]["value"] / audit["embedding_norm"]["value"]
        warnings.append(
            f"{name}: the vectors that pass the mask are {share:.0%} as long as the embeddings, so part of the lower "
            "importance loss is the mask's; look at the shared directions, which don't depend on length."
        )
    if audit["attention_entropy"]["value"] > FLAT_ATTENTION:
        warnings.append(f"{name}: attention is nearly even over all words, so the interaction loss found no pairs.")
    return warnings
