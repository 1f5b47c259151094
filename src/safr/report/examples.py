"""Examples: a few texts with what every run's model says about their words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from safr.attribution.explain import explain
from safr.attribution.explanation import Explanation
from safr.attribution.registry import default_methods
from safr.attribution.word_scores import describe_scores
from safr.figures import allocation_graph, capacity_bars, interference_heatmap, sites_panel
from safr.figures.notebook import FAINT, MINUS
from safr.report.run_figures import svg_data_uri
from safr.rounding import format_share
from safr.runs import Run


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
