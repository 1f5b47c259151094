"""Examples: a few texts with what every run's model says about their words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from safr.attribution.explain import explain
from safr.attribution.explanation import Explanation
from safr.attribution.registry import default_methods
from safr.figures import allocation_graph, capacity_bars, interference_heatmap, sites_panel
from safr.figures.notebook import FAINT, MINUS
from safr.report.run_figures import HALF_PAGE, make_picture
from safr.rounding import format_share
from safr.runs import Run

SITE_TITLES = {"vmask": "VMASK", "fc1": "FC1", "fc2": "FC2"}
"""Titles of the sites whose names are not their titles."""

MOST_NAMED = 3
"""Words of highest capacity that are named with their numbers, for who can't see the shades."""


def explain_examples(
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
            readings[run.name] = (
                _describe_prediction(explanation)
                | _describe_capacity(explanation)
                | _describe_relevance(explanation)
                | _draw_explanation(explanation, sites=number == 0)
            )
        examples.append({**example, "readings": readings})
    return examples


def _describe_capacity(explanation: Explanation) -> dict[str, Any]:
    """The template's values about the words' capacity, which is shaded from 0 to 1 in all texts and runs alike."""
    words, capacity = explanation.words, explanation.capacity
    unknown = explanation.unknown or [False] * len(words)
    highest = np.argsort(-capacity, kind="stable")[:MOST_NAMED]
    return {
        "words": list(zip(words, capacity.tolist(), unknown, strict=True)),
        "highest": [(words[position], float(capacity[position])) for position in highest],
        "unknown_note": explanation.unknown_note,
    }


def _draw_explanation(explanation: Explanation, *, sites: bool) -> dict[str, Any]:
    """The template's pictures of one explanation; with `sites`, also one of all sites."""
    words, capacity, unknown = explanation.words, explanation.capacity, explanation.unknown
    interference = explanation.site().interference
    pictures = {
        "capacity of each word": capacity_bars(words, capacity, unknown=unknown, width=HALF_PAGE),
        "how the words share neurons": allocation_graph(
            words, capacity, interference, unknown=unknown, width=HALF_PAGE
        ),
        "interference": interference_heatmap(words, interference, unknown=unknown, width=HALF_PAGE),
    }
    if sites:
        sites_by_name = {SITE_TITLES.get(name, name): site for name, site in explanation.site_pictures().items()}
        pictures["from the embedding to FC2"] = sites_panel(words, sites_by_name, unknown=unknown)
    return {"pictures": {name: make_picture(figure) for name, figure in pictures.items()}}


def _describe_relevance(explanation: Explanation) -> dict[str, Any]:
    """The template's values about which words speak for the prediction and which against; none where it isn't known."""
    scores = explanation.scores
    if scores is None:
        return {}
    largest = max(float(np.abs(scores).max()), 1e-12)
    return {
        "target": explanation.target,
        "largest": largest,
        "signed_words": [
            (MINUS * (value < -FAINT * largest) + word, value, abs(value) / largest)
            for word, value in zip(explanation.words, scores.tolist(), strict=True)
        ],
    }


def _describe_prediction(explanation: Explanation) -> dict[str, str]:
    """The prediction as a run's examples write labels, so that the two can be compared, and how sure it is."""
    shares = [] if explanation.is_regression else explanation.fitting.values()
    return {"prediction": explanation.answer, "certainty": ", ".join(f"{format_share(share, 0)} %" for share in shares)}
