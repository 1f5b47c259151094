"""Neurons for the page: those that a text uses most, the page of one neuron, and predictions with neurons off."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from safr.attribution.explanation import TextNeurons
from safr.attribution.neurons import NeuronSummary
from safr.data.encoding import EncodedText
from safr.errors import InputError
from safr.evaluation.srs import RANDOM_DRAWS
from safr.explorer.explanation_payload import NeuronsPayload, RoundedValues, pack_matrix, round_values
from safr.explorer.what_if import name_outputs
from safr.inference import (
    batch_logits,
    drop_rest,
    iter_model_batches,
    iter_traces,
    predict_probabilities,
    probabilities,
    to_numpy,
)
from safr.model.interventions import intervene

SHOWN_NEURONS = 16
"""Neurons of a text that the page shows."""

CONTEXT_WORDS = 4
"""Words on either side of a neuron's word that its page shows."""


@dataclass(frozen=True)
class TopWord:
    """A word of a test text that drives a neuron."""

    text: int
    """Number of the text in the test split."""

    position: int
    """Place of the word in the text, from 0."""

    before: str
    """Up to 4 words in front of it."""

    word: str
    after: str
    """Up to 4 words behind it."""

    activation: float | None


@dataclass(frozen=True)
class NeuronPage:
    """What is known of one neuron over all test texts."""

    neuron: int
    site: str
    active: float | None
    """Share of all words at which it is above 0."""

    top: list[TopWord]
    """The words of largest activation, the largest first."""

    kept: int
    """How many such words the run keeps, at most 10; a file holds the first 5 of them."""

    distinct: int
    """How many different words those are that the run keeps, whatever their case."""

    relevance: dict[str, float | None]
    """By class, what it adds to the class's logit, summed over a text: the mean over texts that get this class."""


@dataclass(frozen=True)
class NeuronsOff:
    """What a model says with some neurons set to 0."""

    prediction: str
    """Name of the predicted class, or the token that a language model would put next."""

    followed: float | None
    """Probability of the class that the whole text gets, or the predicted number."""

    random: RoundedValues
    """The same with as many other neurons set to 0, for each of 5 random draws; empty where there are too few."""


def pack_neurons(model: PreTrainedModel, text: EncodedText, used: TextNeurons, *, seed: int = 0) -> NeuronsPayload:
    """The neurons that a text uses most, with what the model predicts without each of them.

    Args:
        model: A model; it runs in evaluation mode.
        text: The text.
        used: Its neurons.
        seed: Seed of the random neurons.
    """
    count = len(used.neurons)
    sets = np.zeros((1 + count, _count_neurons(model, text, used.site)), dtype=bool)  # the first one leaves all on
    sets[np.arange(count) + 1, used.neurons] = True
    random = _draw_others(np.isin(np.arange(sets.shape[1]), used.neurons), 1, seed)
    values = predict_with_neurons_off(model, text, used.site, np.concatenate([sets, random]))
    followed = int(drop_rest(model, values[0]).argmax())
    return NeuronsPayload(
        site=used.site,
        neurons=used.neurons.tolist(),
        activations=pack_matrix(used.activations.T, symmetric=False),
        relevance=None if used.relevance is None else pack_matrix(used.relevance.T, symmetric=False),
        total=None if used.total is None else round_values(used.total),
        whole=round_values(values[[0], followed])[0],
        alone=round_values(values[1 : 1 + count, followed]),
        random=round_values(values[1 + count :, followed]),
    )


def make_neuron_page(summary: NeuronSummary, neuron: int, words_of_text: Mapping[int, Sequence[str]]) -> NeuronPage:
    """What is known of one neuron.

    Args:
        summary: Of the neurons of a run.
        neuron: Its number.
        words_of_text: The words of the test texts by number.

    Raises:
        InputError: There is no such neuron.
    """
    if not 0 <= neuron < len(summary.words):
        raise InputError(f"expected a neuron from 0 to {len(summary.words) - 1}, got {neuron}")
    top = []
    for rank, word in enumerate(summary.words[neuron]):
        number, position = int(summary.texts[neuron, rank]), int(summary.positions[neuron, rank])
        words = words_of_text.get(number, ())
        (activation,) = round_values(summary.activations[neuron, [rank]])
        top.append(
            TopWord(
                number,
                position,
                " ".join(words[max(position - CONTEXT_WORDS, 0) : position]),
                word,
                " ".join(words[position + 1 : position + 1 + CONTEXT_WORDS]),
                activation,
            )
        )
    relevance = [] if summary.relevance is None else round_values(summary.relevance[neuron])
    return NeuronPage(
        neuron=neuron,
        site=summary.site,
        active=round_values(summary.active[[neuron]])[0],
        top=top,
        kept=len(top),
        distinct=len({word.casefold() for word in summary.words[neuron]}),
        relevance=dict(zip(summary.classes, relevance, strict=True)),
    )


def switch_off(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    text: EncodedText,
    site: str,
    neurons: Collection[int],
    *,
    seed: int = 0,
) -> NeuronsOff:
    """What a model says with some neurons set to 0 at all tokens, beside as many others.

    Args:
        model: A model; it runs in evaluation mode.
        tokenizer: Its tokenizer.
        text: The text.
        site: Where the neurons are, `fc1_out.N` or `fc1.N`.
        neurons: Their numbers.
        seed: Seed of the random neurons.

    Raises:
        InputError: There is no such neuron.
    """
    count = _count_neurons(model, text, site)
    if wrong := [neuron for neuron in neurons if not 0 <= neuron < count]:
        raise InputError(f"expected neurons from 0 to {count - 1}, got {wrong[0]}")
    off = np.zeros(count, dtype=bool)
    off[list(neurons)] = True
    random = _draw_others(off, int(off.sum()), seed)
    values = predict_with_neurons_off(model, text, site, np.concatenate([off[None], random]))
    followed = int(drop_rest(model, predict_probabilities(model, [text])[0]).argmax())
    predicted = int(drop_rest(model, values[0]).argmax())
    return NeuronsOff(
        prediction=name_outputs(model, tokenizer, [predicted], values.shape[1])[0],
        followed=round_values(values[[0], followed])[0],
        random=round_values(values[1:, followed]),
    )


def predict_with_neurons_off(
    model: PreTrainedModel, text: EncodedText, site: str, sets: Bool[np.ndarray, "set neuron"]
) -> Float[np.ndarray, "set label"]:
    """Probabilities of the labels with sets of neurons set to 0 at all tokens; of a regression model its values.

    Args:
        model: A model; it runs in evaluation mode.
        text: The text.
        site: Where the neurons are, `fc1_out.N` or `fc1.N`.
        sets: True for the neurons of each set.
    """
    masks = torch.from_numpy(sets).to(model.device)[:, None]  # (set, 1, neuron)
    found: dict[int, NDArray[np.float32]] = {}
    for batch in iter_model_batches(model, [text] * len(sets)):
        off = masks[list(batch.indices)]
        with torch.inference_mode(), intervene(model, site, partial(torch.masked_fill, mask=off, value=0)):
            rows = to_numpy(probabilities(model, batch_logits(model, batch)))
        found |= dict(zip(batch.indices, rows, strict=True))
    return np.stack([found[number] for number in range(len(sets))])


def _draw_others(off: Bool[np.ndarray, " neuron"], count: int, seed: int) -> Bool[np.ndarray, "draw neuron"]:
    """Random sets of neurons that are not off; no set where there are too few."""
    others = np.flatnonzero(~off)
    generator = np.random.default_rng(seed)
    sets = np.zeros((RANDOM_DRAWS if len(others) >= count else 0, len(off)), dtype=bool)
    for row in sets:
        row[generator.choice(others, count, replace=False)] = True
    return sets


def _count_neurons(model: PreTrainedModel, text: EncodedText, site: str) -> int:
    ((_, trace),) = iter_traces(model, [text], [site])
    return int(trace.vectors[site].shape[-1])
