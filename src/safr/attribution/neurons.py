"""Neurons of a feed-forward layer: which words of a text share one, and which words of many texts drive it most."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow
from jaxtyping import Float, Int
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from safr.attribution.explanation import TextNeurons, output_names
from safr.attribution.relevance import has_rules, iter_relevance
from safr.attribution.words import scores_per_word
from safr.data.encoding import EncodedText, replace_surrogates
from safr.errors import InputError
from safr.inference import Targets, get_task, iter_traces, to_numpy
from safr.model.families import find_feed_forward_layers, unwrap
from safr.model.regularizer import get_explaining_site, get_regularizer
from safr.runs import Run
from safr.storage import read_parquet

TOP_WORDS = 10
"""Words that are kept of each neuron."""


@dataclass(frozen=True)
class NeuronSummary:
    """What drives each neuron of a feed-forward layer over many texts, and which classes it speaks for."""

    site: str
    """`fc1_out.N`, behind the activation of layer N; `fc1.N` where only that is known."""

    activations: Float[np.ndarray, "neuron rank"]
    """Activations of largest size, the largest first, at most one of each word of a text; NaN where fewer are not 0."""

    texts: Int[np.ndarray, "neuron rank"]
    """Number of the text of each; -1 where there is none."""

    positions: Int[np.ndarray, "neuron rank"]
    """Position of its word in the text; -1 where there is none."""

    words: tuple[tuple[str, ...], ...]
    """The words, for each neuron as many as it has."""

    active: Float[np.ndarray, " neuron"]
    """Share of all words at which the neuron is above 0."""

    classes: tuple[str, ...] = ()
    """Names of the model's classes; "" alone where it has none to choose from. Empty without relevance."""

    relevance: Float[np.ndarray, "neuron class"] | None = None
    """What the neuron adds to a class's logit, summed over the tokens of a text: the mean over texts that get the class
    predicted, NaN where none does. None where the model computes something that has no rule."""

    def to_table(self) -> pyarrow.Table:
        """One row per neuron; site and classes are in the metadata of the schema."""
        kept = [len(words) for words in self.words]

        def cut(values: NDArray[Any]) -> list[list[Any]]:
            return [row[:count].tolist() for row, count in zip(values, kept, strict=True)]

        words = [[replace_surrogates(word) for word in row] for row in self.words]
        columns = {
            "neuron": range(len(kept)),
            "active": self.active,
            "activation": cut(self.activations),
            "text": cut(self.texts),
            "position": cut(self.positions),
            "word": words,
            "relevance": [[] for _ in kept] if self.relevance is None else self.relevance.tolist(),
        }
        about = {"site": self.site, "classes": json.dumps([replace_surrogates(name) for name in self.classes])}
        return pyarrow.table(columns, schema=neuron_schema().with_metadata(about))


def read_summary(run: Run) -> NeuronSummary | None:
    """What a run keeps of its neurons; None where it was evaluated before that was kept.

    Raises:
        InputError: The file is damaged.
    """
    if not run.neurons_file.exists():
        return None
    advice = f"run `safr evaluate {run.folder}` again"
    table = read_parquet(run.neurons_file, advice=advice)
    try:
        about = {name.decode(): value.decode() for name, value in (table.schema.metadata or {}).items()}
        classes = tuple(map(str, json.loads(about["classes"])))
        table = table.select(neuron_schema().names).cast(neuron_schema())
        columns = {name: table[name].to_pylist() for name in table.column_names}
        relevance = np.array(columns["relevance"], dtype=np.float64).reshape(table.num_rows, len(classes))

        def fill(name: str, missing: float) -> NDArray[Any]:
            rows = np.full((table.num_rows, TOP_WORDS), missing)
            for row, values in zip(rows, columns[name], strict=True):
                row[: len(values)] = values
            return rows

        if columns["neuron"] != list(range(table.num_rows)) or any(
            len({len(columns[name][row]) for name in ("activation", "text", "position", "word")}) > 1
            for row in range(table.num_rows)
        ):
            raise ValueError("its columns don't fit each other")
        return NeuronSummary(
            about["site"],
            fill("activation", np.nan),
            fill("text", -1).astype(np.int64),
            fill("position", -1).astype(np.int64),
            tuple(map(tuple, columns["word"])),
            np.array(columns["active"], dtype=np.float64),
            classes,
            relevance if classes else None,
        )
    except (pyarrow.ArrowException, KeyError, ValueError, TypeError) as error:
        raise InputError(f"{run.neurons_file}: expected a table of neurons, found another table; {advice}") from error


def neuron_schema() -> pyarrow.Schema:
    """Names and types of the columns of `neurons.parquet`, one row per neuron."""
    numbers, places = pyarrow.list_(pyarrow.float32()), pyarrow.list_(pyarrow.int32())
    return pyarrow.schema(
        {
            "neuron": pyarrow.int32(),
            "active": pyarrow.float32(),
            "activation": numbers,
            "text": places,
            "position": places,
            "word": pyarrow.list_(pyarrow.string()),
            "relevance": numbers,
        }
    )


def get_neuron_site(model: PreTrainedModel) -> str:
    """Where neurons are looked at: behind the activation of the layer whose capacity explains the model.

    It is the first layer where no feed-forward layer explains it, and FC1 itself where the second feed-forward layer is
    not known.
    """
    name, _, layer = get_explaining_site(model).partition(".")
    regularizer = get_regularizer(model)
    pairs = find_feed_forward_layers(unwrap(model), None if regularizer is None else regularizer.regularization.fc1)
    return f"{'fc1' if pairs[0][1] is None else 'fc1_out'}.{layer if name.startswith('fc') else 0}"


def find_text_neurons(
    model: PreTrainedModel,
    texts: Sequence[EncodedText],
    count: int,
    *,
    target_names: Sequence[str],
    targets: Targets | None = None,
) -> list[TextNeurons]:
    """The neurons that each text uses most, with the words that share them.

    Args:
        model: A model; it runs in evaluation mode.
        texts: Encoded texts.
        count: Neurons of each text at most.
        target_names: For every text the name of the class that relevance speaks about.
        targets: Its number. Default: the predicted class.
    """
    site = get_neuron_site(model)
    found: dict[int, TextNeurons] = {}
    for text in _iter_recorded(model, texts, site, targets):
        neurons = np.argsort(-np.abs(text.activations).sum(axis=0), kind="stable")[:count]
        relevance = None if text.relevance is None else text.relevance[:, neurons]  # (token, neuron)
        found[text.number] = TextNeurons(
            site,
            texts[text.number].words,
            neurons,
            text.activations[:, neurons],
            None if relevance is None else scores_per_word(texts[text.number], relevance, "sum"),
            None if relevance is None else relevance.sum(axis=0, dtype=np.float64),
            "" if relevance is None else target_names[text.number],
        )
    return [found[number] for number in range(len(texts))]


def summarize_neurons(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[EncodedText]
) -> NeuronSummary:
    """What drives each neuron of the explaining layer over texts, and what it adds to the classes, in one pass.

    Args:
        model: A model; it runs in evaluation mode.
        tokenizer: Its tokenizer.
        texts: Encoded texts, at least one with a word.
    """
    site = get_neuron_site(model)
    has_classes = get_task(model) in ("classification", "multi_label", "token_classification")
    names = tuple(output_names(model, tokenizer, range(model.config.num_labels or 0))) if has_classes else ("",)
    top: _TopWords | None = None
    active, words = np.zeros(1), 0
    counts, sums = np.zeros(len(names)), 0.0  # of texts by class, and of their relevance, (class, neuron)
    for text in _iter_recorded(model, texts, site, None):
        neurons = text.activations.shape[1]
        top = _TopWords(neurons) if top is None else top
        top.add(text.number, text.activations)
        active = active + (text.activations > 0).sum(axis=0)
        words += len(text.activations)
        if text.relevance is not None:
            is_class = np.arange(len(names)) == (text.explained if has_classes else 0)
            counts += is_class
            sums = sums + is_class[:, None] * text.relevance.sum(axis=0, dtype=np.float64)
    if top is None:
        raise InputError("expected at least one text with a word, got none")
    numbers, positions = top.places.transpose(2, 1, 0)
    with np.errstate(invalid="ignore"):  # of a class that is never predicted nothing is known: NaN
        relevance = None if not counts.any() else (sums / counts[:, None]).T
    return NeuronSummary(
        site,
        np.where(numbers < 0, np.nan, top.activations.T),
        numbers,
        positions,
        tuple(
            tuple(texts[number].words[position] for number, position in zip(row, places, strict=True) if number >= 0)
            for row, places in zip(numbers.tolist(), positions.tolist(), strict=True)
        ),
        active / words,
        () if relevance is None else names,
        relevance,
    )


class _RecordedText(NamedTuple):
    """What the neurons of a layer do in one text."""

    number: int
    """Of the text."""
    activations: Float[np.ndarray, "word neuron"]
    relevance: Float[np.ndarray, "token neuron"] | None
    explained: int
    """The class whose logit relevance is about; -1 without it."""


def _iter_recorded(
    model: PreTrainedModel, texts: Sequence[EncodedText], site: str, targets: Targets | None
) -> Iterator[_RecordedText]:
    """Activations of all neurons of a site, with their relevance if the model allows it, text by text."""
    if targets is not None or has_rules(model):
        for part in iter_relevance(model, texts, site, targets):
            vectors, relevance = to_numpy(part.vectors), to_numpy(part.relevance)
            for row, number in enumerate(part.batch.indices):
                tokens = relevance[row, : len(texts[number].ids)]
                yield _RecordedText(number, _largest_per_word(texts[number], vectors[row]), tokens, part.classes[row])
        return
    for batch, trace in iter_traces(model, texts, [site]):
        vectors = to_numpy(trace.vectors[site].float())
        for row, number in enumerate(batch.indices):
            yield _RecordedText(number, _largest_per_word(texts[number], vectors[row]), None, -1)


def _largest_per_word(text: EncodedText, values: Float[np.ndarray, "token neuron"]) -> Float[np.ndarray, "word neuron"]:
    """Of a word's tokens the value of largest size, with its sign."""
    highest, lowest = scores_per_word(text, values), -scores_per_word(text, -values)
    return np.where(highest >= -lowest, highest, lowest)


class _TopWords:
    """For every neuron the words of largest activation among all that were added."""

    def __init__(self, neurons: int) -> None:
        self.activations = np.zeros((TOP_WORDS, neurons))
        self.places = np.full((TOP_WORDS, neurons, 2), -1)  # number of the text and position in it

    def add(self, number: int, activations: Float[np.ndarray, "word neuron"]) -> None:
        """Add the words of one text."""
        if not len(activations):
            return
        # Few neurons, once many texts are in: the others are left alone.
        columns = np.flatnonzero(np.abs(activations).max(axis=0) > np.abs(self.activations).min(axis=0))
        values = np.concatenate([self.activations[:, columns], activations[:, columns]])
        added = np.empty((len(activations), len(columns), 2), dtype=self.places.dtype)
        added[..., 0] = number
        added[..., 1] = np.arange(len(activations))[:, None]
        places = np.concatenate([self.places[:, columns], added])
        chosen = np.argsort(-np.abs(values), axis=0, kind="stable")[:TOP_WORDS]
        self.activations[:, columns] = np.take_along_axis(values, chosen, axis=0)
        self.places[:, columns] = np.take_along_axis(places, chosen[..., None], axis=0)
