"""Model sessions: a run's model that is loaded once and explains any text."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from safr.attribution.explain import explain
from safr.attribution.explanation import Explanation
from safr.attribution.internals import internal_scores
from safr.attribution.neurons import NeuronSummary, find_text_neurons, get_neuron_site, read_summary
from safr.attribution.relevance import has_rules, relevance
from safr.data.encoding import EncodedText
from safr.data.splits import Text
from safr.errors import InputError
from safr.evaluation.srs import MAIN_PERCENT, delete_words
from safr.explorer.explanation_payload import (
    MAX_PAIRED_WORDS,
    ExplanationPayload,
    NeuronsPayload,
    RoundedValues,
    pack_explanation,
    round_values,
)
from safr.explorer.neurons import SHOWN_NEURONS, NeuronPage, NeuronsOff, make_neuron_page, pack_neurons, switch_off
from safr.explorer.payload import load_other_scores
from safr.explorer.what_if import (
    WhatIf,
    WhatIfFlip,
    WhatIfPrediction,
    compute_what_if,
    find_flip,
    predict_without_words,
)
from safr.explorer.words import WordIndex, read_word_index
from safr.inference import compares_answers, encode_texts, is_regression, predict, predict_probabilities
from safr.model.regularizer import get_explaining_site
from safr.runs import Run

TEXTS_PER_CHUNK = 64
"""Texts whose effects are computed at a time. Questions are answered between two chunks, so it must stay small."""

MAX_CLASSES = 4
"""A model of more classes has relevance for the predicted one alone, because each costs a pass forward and backward."""


@dataclass(frozen=True)
class ModelSession:
    """The loaded model of a run, ready to explain texts."""

    run: Run
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    @property
    def site(self) -> str:
        """The site whose capacity explains this model."""
        return get_explaining_site(self.model)

    def explain(self, text: Text) -> Explanation:
        """The explanation of a text."""
        return explain(self.model, self.tokenizer, text, max_tokens=self.max_tokens)

    @cached_property
    def max_tokens(self) -> int:
        """Tokens read of a text. It is kept, since the settings are read from the run's folder each time."""
        return self.run.settings.max_tokens

    @cached_property
    def has_relevance(self) -> bool:
        """Whether there are rules of relevance for all that the model computes."""
        return has_rules(self.model)

    @cached_property
    def neuron_summary(self) -> NeuronSummary | None:
        """What the run keeps of its neurons; None where it was evaluated before that was kept."""
        return read_summary(self.run)

    @cached_property
    def word_index(self) -> WordIndex:
        """All places of all words in the test texts."""
        return read_word_index(self.run, self.tokenizer)

    @cached_property
    def test_words(self) -> pyarrow.Table:
        """The words of the test texts in their order, with the number of the text."""
        table = self.run.read_words({"text": "integer", "position": "integer", "word": "text"})
        return table.sort_by([("text", "ascending"), ("position", "ascending")])

    def read(
        self,
        text: Text,
        *,
        number: int | None = None,
        most_paired: int = MAX_PAIRED_WORDS,
        most_neurons: int = SHOWN_NEURONS,
    ) -> ExplanationPayload:
        """The explanation of a text as the page gets it: with relevance, neurons, and the scores that the run keeps.

        Args:
            text: The text.
            number: Its place in the test split. Default: it is not in it.
            most_paired: The most words that get values for their pairs.
            most_neurons: The most neurons; 0 leaves them out.
        """
        explanation = self.explain(text)
        return pack_explanation(
            explanation,
            most_paired=most_paired,
            other=None if number is None else load_other_scores(self.run, number),
            relevance=self.compute_relevance(text, explanation),
            neurons=self.find_neurons(text, explanation, most_neurons) if most_neurons else None,
        )

    def find_neurons(self, text: Text, explanation: Explanation, count: int = SHOWN_NEURONS) -> NeuronsPayload:
        """The neurons that a text uses most.

        Args:
            text: The text.
            explanation: Its explanation.
            count: The most neurons.
        """
        encoded = self.encode(text)
        # With a class to speak about, nobody asks again whether there are rules, which costs a pass each way.
        targets = [explanation.predicted] if self.has_relevance and self._has_classes(explanation) else None
        names = [explanation.prediction]
        (used,) = find_text_neurons(self.model, [encoded], count, targets=targets, target_names=names)
        return pack_neurons(self.model, encoded, used)

    def describe_neuron(self, neuron: int) -> NeuronPage:
        """What the run keeps of one neuron. The run's files are read when this is first asked.

        Raises:
            LookupError: There is no such neuron, or the run keeps nothing of its neurons.
            InputError: The file with the neurons is damaged.
        """
        summary = self.neuron_summary
        if summary is None:
            raise LookupError(
                f"{self.run.name}: has no table of its neurons; run `safr evaluate {self.run.folder}` again"
            )
        if not 0 <= neuron < len(summary.words):
            raise LookupError(f"{self.run.name}: no such neuron; they go from 0 to {len(summary.words) - 1}")
        numbers = {int(number) for number in summary.texts[neuron] if number >= 0}
        return make_neuron_page(summary, neuron, {number: self._find_words(number) for number in numbers})

    def switch_off(self, text: Text, neurons: Collection[int]) -> NeuronsOff:
        """What the model predicts with some neurons of the explaining layer set to 0, beside as many random ones."""
        return switch_off(self.model, self.tokenizer, self.encode(text), get_neuron_site(self.model), neurons)

    def compute_relevance(self, text: Text, explanation: Explanation) -> dict[int, NDArray[np.floating]]:
        """Relevance of every word for each class of few, or for the predicted one of many, by its place in the labels.

        Args:
            text: The text.
            explanation: Its explanation.
        """
        if not self.has_relevance:
            return {}
        encoded, count = self.encode(text), len(explanation.labels)
        if not self._has_classes(explanation) or count > MAX_CLASSES:
            return {explanation.predicted: relevance(self.model, [encoded])[0]}
        return dict(enumerate(relevance(self.model, [encoded] * count, range(count))))

    def what_if(self, text: Text) -> WhatIf:
        """How the prediction changes as words are deleted, by capacity, and by keep and relevance where they are."""
        encoded = self.encode(text)
        return compute_what_if(self.model, self.tokenizer, encoded, self.scores(encoded, self.explain(text)))

    def predict_without(self, text: Text, deleted: Collection[int]) -> WhatIfPrediction:
        """What the model predicts without some of the words."""
        return predict_without_words(self.model, self.tokenizer, self.encode(text), deleted)

    def find_flip(self, text: Text, order: str) -> WhatIfFlip:
        """Few words without which the model says something else, found in the order of a score.

        Args:
            text: The text.
            order: Name of the score: `capacity`, and `keep` and `relevance` where they are.

        Raises:
            InputError: The model predicts numbers, or has no such score.
        """
        if is_regression(self.model):
            raise InputError("a model that predicts a number has no answer that could flip")
        encoded = self.encode(text)
        scores = self.scores(encoded, self.explain(text))
        if order not in scores:
            raise InputError(f"expected one of the scores {', '.join(scores)}, got {order}")
        return find_flip(self.model, self.tokenizer, encoded, scores[order])

    def encode(self, text: Text) -> EncodedText:
        """The text as the model reads it.

        Raises:
            InputError: The text has no words.
        """
        encoded = encode_texts(self.model, self.tokenizer, [text], self.max_tokens)[0]
        if not encoded.words:
            raise InputError("expected a text with at least one word, got none")
        return encoded

    def scores(self, text: EncodedText, explanation: Explanation) -> dict[str, NDArray[np.float64]]:
        """The scores that give the order in which words are deleted, by name.

        By relevance those that speak most for the prediction go first, and those that speak most against it last.

        Args:
            text: The text.
            explanation: Its explanation.
        """
        scores = {"capacity": explanation.capacity}
        if explanation.keep is not None:
            scores["keep"] = explanation.keep
        if self.has_relevance:
            scores["relevance"] = relevance(self.model, [text])[0]
        return {name: np.nan_to_num(values) for name, values in scores.items()}

    def effects(self, texts: Sequence[Text]) -> Iterator[RoundedValues]:
        """How far the predicted class's probability falls without the 30 % of words with the highest capacity.

        Yields:
            The effects of the next few texts, in [-1, 1]; None for a text from which nothing can be deleted.
        """
        for start in range(0, len(texts), TEXTS_PER_CHUNK):
            yield self._compute_effects(texts[start : start + TEXTS_PER_CHUNK])

    def _has_classes(self, explanation: Explanation) -> bool:
        """Whether the labels of an explanation are the model's classes, in their order."""
        return not (self.model.can_generate() or compares_answers(self.model) or explanation.is_regression)

    def _find_words(self, number: int) -> list[str]:
        """The words of one test text."""
        start, end = np.searchsorted(self.test_words["text"].to_numpy(), [number, number + 1]).tolist()
        words: list[str] = self.test_words["word"].slice(start, end - start).to_pylist()
        return words

    def _compute_effects(self, texts: Sequence[Text]) -> RoundedValues:
        encoded = encode_texts(self.model, self.tokenizer, texts, self.max_tokens)
        scores = internal_scores(self.model, encoded, [self.site])
        shortened = delete_words(encoded, [np.nan_to_num(score.capacity[self.site]) for score in scores], MAIN_PERCENT)
        probabilities = predict_probabilities(self.model, [*encoded, *shortened])  # (2 * text, label)
        rows, predicted = np.arange(len(texts)), predict(self.model, encoded)
        effects = probabilities[rows, predicted] - probabilities[rows + len(texts), predicted]
        if is_regression(self.model):  # a number may change either way
            effects = np.abs(effects)
        return [
            effect if len(text.words) > len(left.words) else None
            for effect, text, left in zip(round_values(effects), encoded, shortened, strict=True)
        ]


def open_session(run: Run, *, device: str | None = None) -> ModelSession:
    """A session with a trained run's model, which is loaded here, by default onto a GPU where there is one."""
    return ModelSession(run, *run.load_model(device=device))
