"""Scores of some runs in, sentences about them out, each by a stated rule: nothing is said that an interval denies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MAIN_K = "30"

CLOSED_MASK = 0.05
"""Mean keep probability under which the mask lets next to nothing through."""

FLAT_ATTENTION = 0.98
"""Share of the largest entropy above which attention no longer picks anything."""


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
