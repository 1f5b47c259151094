"""A run in, a model that is loaded once and reads any text out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from safr.attribution.explanation import Explanation, explain
from safr.attribution.scores import score_words
from safr.data.batches import EncodedText, encode
from safr.errors import InputError
from safr.evaluation.deletion import MAIN_PERCENT, delete_words, probabilities
from safr.explorer.readings import Numbers, rounded
from safr.explorer.what_if import Prediction, WhatIf, prediction_without, what_if
from safr.model.attachment import explaining_site
from safr.model.saving import load
from safr.runs import Run

TEXTS_TOGETHER = 64
"""Texts whose effects are computed at a time, so that a person who waits for a sentence comes between."""


@dataclass(frozen=True)
class Reader:
    """A run's model, ready to read."""

    run: Run
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    @property
    def site(self) -> str:
        """Where capacity explains this model."""
        return explaining_site(self.model)

    def explain(self, text: str) -> Explanation:
        """What the neurons say about a text."""
        return explain(self.model, self.tokenizer, text, max_tokens=self.run.settings.max_tokens)

    def what_if(self, text: str) -> WhatIf:
        """What becomes of a prediction as words are deleted, by capacity and, with VMASK, by keep probability."""
        explanation = self.explain(text)
        return what_if(self.model, self.tokenizer, self.encode(text), self.scores(explanation))

    def predict_without(self, text: str, deleted: Collection[int]) -> Prediction:
        """What the model says without some words."""
        return prediction_without(self.model, self.tokenizer, self.encode(text), deleted)

    def encode(self, text: str) -> EncodedText:
        """The text as the model reads it.

        Raises:
            InputError: It holds no word.
        """
        encoded = encode(self.tokenizer, [text], self.run.settings.max_tokens)[0]
        if not encoded.words:
            raise InputError("expected a text with at least one word, got none")
        return encoded

    @staticmethod
    def scores(explanation: Explanation) -> dict[str, NDArray[np.float64]]:
        """The scores that words are deleted by, by name."""
        found = {"capacity": np.nan_to_num(explanation.capacity)}
        return found if explanation.keep is None else found | {"keep": np.nan_to_num(explanation.keep)}

    def effects(self, texts: Sequence[str]) -> Iterator[Numbers]:
        """How far the predicted class's probability falls when the 30 % of words with the highest capacity go.

        Yields:
            The effects of the next few texts, in [-1, 1]; None for a text without words.
        """
        for start in range(0, len(texts), TEXTS_TOGETHER):
            yield self._effects(texts[start : start + TEXTS_TOGETHER])

    def _effects(self, texts: Sequence[str]) -> Numbers:
        encoded = encode(self.tokenizer, texts, self.run.settings.max_tokens)
        scored = score_words(self.model, encoded, [self.site])
        left = delete_words(encoded, [np.nan_to_num(each.capacity[self.site]) for each in scored], MAIN_PERCENT)
        found = probabilities(self.model, [*encoded, *left])
        rows, predicted = np.arange(len(texts)), [each.prediction for each in scored]
        fall = found[rows, predicted] - found[rows + len(texts), predicted]
        return [each if text.words else None for each, text in zip(rounded(fall), encoded, strict=True)]


def open_reader(run: Run) -> Reader:
    """Load a trained run's model."""
    return Reader(run, load(run.model_folder), AutoTokenizer.from_pretrained(run.model_folder))
