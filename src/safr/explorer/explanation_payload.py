"""The payload of one explanation: its numbers in few bytes of JSON, for the page and for the server's answers."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from safr.attribution.explanation import Explanation, SiteScores
from safr.attribution.registry import is_signed
from safr.figures.allocation import MOST_CIRCLES
from safr.figures.inputs import Mask, top_positions, unknown_mask, unknown_pairs
from safr.figures.layout import compute_layout, relative_strength

MAX_PAIRED_WORDS = 200
"""Words whose pairs get values. The matrices of more would take megabytes, and a screen has no room for them."""

_MAX_INTEGER = 32767
_MAX_BYTE = 255
_NOT_FINITE = -32768

RoundedValues = list[float | None]
"""Rounded to 4 digits; None where a number is not finite."""


@dataclass(frozen=True)
class PackedMatrix:
    """One value for every pair of words, as base64 of little-endian 16-bit integers times `unit`."""

    values: str
    """Row by row. With a diagonal, only the pairs i < j: the matrix is symmetric. -32768 is not a finite number."""

    unit: float
    """What the integer 1 stands for; a value is off by half of it at most."""

    diagonal: RoundedValues | None
    """Values of each word with itself, or None where they stand in `values` as all others do."""


@dataclass(frozen=True)
class SitePayload:
    """How the words share one site's directions."""

    capacity: RoundedValues
    """In [0, 1], one per word."""

    polysemanticity: RoundedValues
    """At least 0, one per word."""

    interference: PackedMatrix
    """Between every two of the paired words."""


@dataclass(frozen=True)
class NeuronsPayload:
    """The neurons that a text uses most."""

    site: str
    """`fc1_out.N`, behind the activation of layer N; `fc1.N` where only that is known."""

    neurons: list[int]
    """Their numbers, the most used first."""

    activations: PackedMatrix
    """Of every neuron (rows) at every word (columns)."""

    relevance: PackedMatrix | None
    """What every neuron adds at every word to the logit of the predicted class; None where there is no rule for it."""

    total: RoundedValues | None
    """The same at all tokens, special ones too."""

    whole: float | None
    """Probability of the predicted class, or a predicted number."""

    alone: RoundedValues
    """The same with one neuron set to 0 at all tokens, for each of them."""

    random: RoundedValues
    """The same with one of 5 other random neurons set to 0."""


@dataclass(frozen=True)
class ExplanationPayload:
    """What one model says about one text, word by word."""

    words: list[str]
    """The words that the model read."""

    text_of_word: list[int]
    """For each word the text that it is from: 0, or 1 for the second of a pair."""

    unknown: list[bool]
    """For each word whether it holds the tokenizer's unknown token, so that the model did not read it as it is."""

    unknown_note: str
    """How many words are unknown and which, as a sentence; empty where none is."""

    prediction: str
    """Name of the predicted class, or the token that a language model would put next."""

    answer: str
    """What the model says in the form of the data's labels: all its classes, or its number."""

    probabilities: dict[str, float | None]
    """Probability of each class, or of the likeliest next tokens."""

    labels: list[str]
    """Name of each class by its number, or of the likeliest next tokens; two may be the same."""

    shares: RoundedValues
    """Probability of each of the labels; of a regression model, its values."""

    predicted: int
    """Index of the prediction in the labels."""

    is_regression: bool
    """Whether the model gives values of their own scale, and no probabilities."""

    truncated: bool
    """Whether something of the text was left out."""

    left_out: str
    """What was left out and where, as a sentence; empty where nothing was."""

    keep: RoundedValues | None
    """VMASK's keep probability of each word in [0, 1]; None without VMASK."""

    sites: dict[str, SitePayload]
    """By site: `embedding`, `vmask`, `fc1.0`, ..."""

    attention: dict[str, PackedMatrix]
    """By layer, the mean over heads of the attention that words pay (rows) to words (columns)."""

    received: dict[str, RoundedValues]
    """By layer, the attention that each word receives from all words, on average."""

    paired: list[int] | None
    """Words that the pairs are of, by number; None where they are of all words."""

    layouts: dict[str, str]
    """By site, and `attention.N` by layer, where the allocation graph has its circles: base64 of two bytes for each, x
    and y from the top left, with 255 for the longer side. The 30 paired words of most capacity, or that receive most
    attention, have a circle; they stand in the order of the text, and of equal words the earlier ones are taken."""

    other: dict[str, RoundedValues] = field(default_factory=dict)
    """Other scores per word, by name, where they were computed."""

    targets: dict[str, str] = field(default_factory=dict)
    """For each of the other scores that has a sign, name of the class that words speak for above 0, and against below
    0."""

    relevance: dict[str, RoundedValues] = field(default_factory=dict)
    """Relevance of each word for a class, by the class's place in the labels, above 0 where the word speaks for it; of
    a model with many classes for the predicted one alone, and empty where there are no rules for the model."""

    neurons: NeuronsPayload | None = None
    """The neurons that the text uses most; None where there is no model to ask, and where they are asked for apart."""


def pack_explanation(
    explanation: Explanation,
    *,
    most_paired: int = MAX_PAIRED_WORDS,
    other: Mapping[str, NDArray[np.float64]] | None = None,
    relevance: Mapping[int, NDArray[np.floating]] | None = None,
    neurons: NeuronsPayload | None = None,
) -> ExplanationPayload:
    """All numbers of an explanation, ready for JSON.

    Args:
        explanation: The explanation of one text. The scores in it are packed as one of `other`.
        most_paired: The most words that get values for their pairs. Those with the highest capacity are taken.
        other: Further scores per word, by name. Those of signed methods are about the predicted class.
        relevance: Relevance of every word for a class, by the class's place in the labels.
        neurons: The neurons that the text uses most.
    """
    other = dict(other or {})
    targets = {name: explanation.prediction for name in other if is_signed(name)}
    if explanation.scores is not None:
        other[explanation.method] = explanation.scores
        if is_signed(explanation.method):
            targets[explanation.method] = explanation.target
    count = len(explanation.words)
    positions = top_positions(np.nan_to_num(explanation.capacity), most_paired)
    paired = None if count <= most_paired else positions.tolist()
    return ExplanationPayload(
        words=list(explanation.words),
        text_of_word=list(explanation.text_of_word),
        unknown=list(explanation.unknown) or [False] * count,
        unknown_note=explanation.unknown_note,
        prediction=explanation.prediction,
        answer=explanation.answer,
        probabilities={name: round_values([value])[0] for name, value in explanation.probabilities.items()},
        labels=list(explanation.labels),
        shares=round_values(list(explanation.probabilities.values())),
        predicted=explanation.predicted,
        is_regression=explanation.is_regression,
        truncated=explanation.truncated,
        left_out=explanation.left_out_note,
        keep=None if explanation.keep is None else round_values(explanation.keep),
        sites={name: _pack_site(site, positions) for name, site in explanation.sites.items()},
        attention={
            str(layer): pack_matrix(weights[np.ix_(positions, positions)], symmetric=False)
            for layer, weights in explanation.attention.items()
        },
        received={str(layer): round_values(weights.mean(axis=0)) for layer, weights in explanation.attention.items()},
        paired=paired,
        layouts=_pack_layouts(explanation, positions),
        other={name: round_values(values) for name, values in other.items()},
        targets=targets,
        relevance={str(label): round_values(values) for label, values in (relevance or {}).items()},
        neurons=neurons,
    )


def pack_matrix(matrix: NDArray[np.float64], *, symmetric: bool) -> PackedMatrix:
    """A matrix in 2 bytes per value.

    Of a symmetric matrix, only the half above the diagonal is packed. The diagonal is kept apart: its values are
    squared norms, which are so large that the other values would be left with too few digits.

    >>> packed = pack_matrix(np.array([[9.0, -1.0], [-1.0, 4.0]]), symmetric=True)
    >>> packed.diagonal, round(-32767 * packed.unit, 6)
    ([9.0, 4.0], -1.0)
    """
    values = matrix[np.triu_indices(len(matrix), k=1)] if symmetric else matrix.ravel()
    finite = np.isfinite(values)
    unit = float(np.abs(values[finite]).max(initial=0.0)) / _MAX_INTEGER or 1.0
    integers = np.where(finite, np.rint(np.where(finite, values, 0.0) / unit), _NOT_FINITE).astype("<i2")
    encoded = base64.b64encode(integers.tobytes()).decode("ascii")
    return PackedMatrix(encoded, unit, round_values(matrix.diagonal()) if symmetric else None)


def round_values(values: Sequence[float] | NDArray[np.floating]) -> RoundedValues:
    """The values with 4 significant digits, and None for a value that is not finite.

    >>> round_values([0.123456, float("nan"), 1234567])
    [0.1235, None, 1235000.0]
    """
    return [float(f"{value:.4g}") if np.isfinite(value) else None for value in np.asarray(values).tolist()]


def _pack_site(site: SiteScores, positions: NDArray[np.intp]) -> SitePayload:
    interference = pack_matrix(site.interference[np.ix_(positions, positions)], symmetric=True)
    return SitePayload(round_values(site.capacity), round_values(site.polysemanticity), interference)


def _pack_layouts(explanation: Explanation, positions: NDArray[np.intp]) -> dict[str, str]:
    """Where the allocation graphs of all sites and layers have their circles. They are computed together, for speed."""
    unknown = unknown_mask(explanation.unknown, len(explanation.words))
    graphs = {name: (site.capacity, site.interference, unknown) for name, site in explanation.sites.items()}
    for layer, weights in explanation.attention.items():  # two unknown words may attend to each other as any others do
        graphs[f"attention.{layer}"] = weights.mean(axis=0), (weights + weights.T) / 2, np.zeros_like(unknown)
    strengths = [_find_strength(*graph, positions) for graph in graphs.values()]
    points = compute_layout(np.stack(strengths))  # (graph, word, 2)
    points -= points.min(axis=1, keepdims=True)
    longest = points.max(axis=(1, 2), keepdims=True)
    integers = np.rint(_MAX_BYTE * points / np.maximum(longest, 1e-9)).astype(np.uint8)
    return {
        name: base64.b64encode(layout.tobytes()).decode("ascii") for name, layout in zip(graphs, integers, strict=True)
    }


def _find_strength(
    sizes: NDArray[np.floating], matrix: NDArray[np.float64], unknown: Mask, positions: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Strength of the pairs of the words that have a circle, in [0, 1]."""
    # The page chooses the words by the sizes that it is given, so they are rounded here, too.
    rounded = np.array([value or 0.0 for value in round_values(sizes[positions])])
    words = positions[top_positions(rounded, MOST_CIRCLES)]
    pairs = np.where(unknown_pairs(unknown[words]), 0.0, matrix[np.ix_(words, words)])
    return relative_strength(np.where(np.isfinite(pairs), pairs, 0.0))
