"""Pictures and HTML of an explanation."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from safr.attribution.explanation import Explanation, Explanations
from safr.attribution.generation import OutputExplanation
from safr.attribution.registry import is_signed
from safr.attribution.word_scores import describe_scores, name_scores
from safr.figures import SitePicture, allocation_graph, capacity_bars, interference_heatmap, score_bars, sites_panel
from safr.figures.frame import Width
from safr.figures.inputs import UNKNOWN_MARK, drawable_text
from safr.figures.notebook import shaded_words_html
from safr.rounding import format_share

MOST_SHOWN = 10
"""How many texts of a list a notebook shows."""


def explanation_figures(
    explanation: Explanation, site: str | None = None, *, width: Width = "page"
) -> dict[str, Figure]:
    """The paper's Figures 2 (a, b, c) at one site, and 4 and 5 of its layer, for one text, by file name.

    `scores` shows the scores of the method that was asked for, if any was.

    Args:
        explanation: Of the text.
        site: The site. Default: the one that explains the model.
        width: Width of the figures: of a paper's "column" or "page", or points of 1/72 inch.
    """
    site = site or explanation.explaining_site
    shared, place, layer = explanation.site(site), site_title(site), int(site.partition(".")[2] or 0)
    words, capacity, interference = explanation.words, shared.capacity, shared.interference
    options: dict[str, Any] = {"unknown": explanation.unknown, "width": width}
    title = f"predicted {explanation.prediction} ({explanation.format_probability()})"
    panel = f"From embedding to FC2{f' of layer {layer}' if layer else ''}, {title}"
    titled_pictures = {site_title(name): picture for name, picture in site_pictures(explanation, layer).items()}
    figures = {
        "capacity": capacity_bars(words, capacity, title=f"Capacity at {place}, {title}", **options),
        "allocation": allocation_graph(words, capacity, interference, title=f"Neurons at {place}, {title}", **options),
        "interference": interference_heatmap(words, interference, title=f"Interference at {place}, {title}", **options),
        "sites": sites_panel(words, titled_pictures, title=panel, **options),
    }
    return figures if explanation.scores is None else figures | {"scores": _draw_scores(explanation, title, width)}


def _draw_scores(explanation: Explanation, title: str, width: Width) -> Figure:
    """Bars of the scores of the method that was asked for; those of a signed one have a key."""
    words, scores, method = explanation.words, explanation.scores, explanation.method
    assert scores is not None
    options: dict[str, Any] = {"unknown": explanation.unknown, "width": width}
    title = f"Scores by {method}, {title}"
    if is_signed(method):
        return score_bars(words, scores, explanation.target, title=title, label=method, **options)
    return capacity_bars(words, scores, title=title, label=name_scores(method, explanation.target), **options)


def site_pictures(explanation: Explanation, layer: int | None = None) -> dict[str, SitePicture]:
    """Bars and matrix of every site of one layer, in the order data flows.

    Source: SAFR (Chang et al. 2025), Figures 4 and 5, where VMASK shows the mask itself and attention the weights:
    its bars are what each word receives on average.

    Args:
        explanation: Of one text.
        layer: Counted from 0. Default: the explaining site's.
    """
    explanation.site()  # an error where no sites were kept
    layer = int(explanation.explaining_site.partition(".")[2] or 0) if layer is None else layer
    pictures = {
        name.removesuffix(f".{layer}"): SitePicture(site.capacity, site.interference)
        for name, site in explanation.sites.items()
    }
    if explanation.keep is not None and "vmask" in pictures:
        pictures["vmask"] = pictures["vmask"]._replace(values=explanation.keep)
    if layer in explanation.attention:
        weights = explanation.attention[layer]
        pictures["attention"] = SitePicture(weights.mean(axis=0), weights, "attention")
    order = ("embedding", "vmask", "attention", "fc1", "fc2")
    return {name: pictures[name] for name in order if name in pictures}


def explanation_html(explanation: Explanation) -> str:
    """HTML for a notebook: the words shaded by the scores that were asked for, or by capacity."""
    shown = explanation.capacity if explanation.scores is None else explanation.scores
    highest = np.nan_to_num(shown).max()
    tooltips = [f"capacity {capacity:.2f}" for capacity in explanation.capacity]
    if explanation.explaining_capacity is None:
        shared = explanation.site().polysemanticity
        tooltips = [f"{tip}, polysemanticity {value:.3g}" for tip, value in zip(tooltips, shared, strict=True)]
    if explanation.keep is not None:
        tooltips = [f"{tip}, keep {keep:.2f}" for tip, keep in zip(tooltips, explanation.keep, strict=True)]
    meaning = f"The stronger the blue, the higher the capacity at {explanation.explaining_site}, to {highest:.2f}."
    if explanation.scores is not None:
        tooltips = [
            f"{explanation.method} {score:.3g}, {tip}" for tip, score in zip(tooltips, explanation.scores, strict=True)
        ]
        meaning = describe_scores(explanation.method, explanation.target)
    notes = [
        meaning,
        explanation.left_out_note,
        explanation.unknown_note and f"{UNKNOWN_MARK} {explanation.unknown_note}",
    ]
    return shaded_words_html(
        explanation.words,
        shown,
        text_of_word=explanation.text_of_word,
        numbers=tooltips,
        prediction=explanation.prediction,
        probability=explanation.format_probability(),
        note=" ".join(filter(None, notes)),
        unknown=explanation.unknown,
    )


def explanations_html(explanations: Explanations) -> str:
    """HTML for a notebook: the first texts, each with its words shaded by capacity, and how many there are."""
    shown = explanations[:MOST_SHOWN]
    heading = escape(drawable_text(repr(explanations)[1:-1], longest=1_000))
    more = f" The first {len(shown)}; to_pandas() gives all." if len(shown) < len(explanations) else ""
    return f"<div>{heading}.{more}</div>" + "".join(map(explanation_html, shown))


def output_html(explanation: OutputExplanation) -> str:
    """HTML for a notebook: for every token of an output the words, shaded by how much they speak for it."""
    lines = []
    for token, scores in enumerate(explanation.scores):
        seen = np.flatnonzero(np.isfinite(scores))
        lines.append(
            shaded_words_html(
                [explanation.words[word] for word in seen],
                scores[seen].clip(min=0),
                text_of_word=[0] * len(seen),
                numbers=[f"{explanation.method} {score:.3g}" for score in scores[seen]],
                prediction=explanation.tokens[token],
                probability=f"{format_share(explanation.probabilities[token])} %",
                note=f"token {token + 1} of {len(explanation.tokens)}",
            )
        )
    note = f"The stronger the blue, the more a word speaks for the token, by {explanation.method}."
    return "".join(lines) + f"<div>{escape(' '.join(filter(None, [note, explanation.left_out_note])))}</div>"


def site_title(site: str) -> str:
    """A site's name in a picture's title.

    >>> site_title("vmask"), site_title("fc1.0"), site_title("fc1_out.3")
    ('VMASK', 'FC1', 'FC1 of layer 3, after the activation')
    """
    kind, _, layer = site.partition(".")
    place = {"vmask": "VMASK", "fc1": "FC1", "fc1_out": "FC1", "fc2": "FC2"}.get(kind, kind)
    return place + (f" of layer {layer}" if int(layer or 0) else "") + (", after the activation" * (kind == "fc1_out"))
