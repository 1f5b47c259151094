"""A run in, a model that is loaded once and reads any text out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from safr.attribution.explanation import Explanation, explain
from safr.attribution.scores import internal_scores
from safr.data.batches import EncodedText, encode
from safr.errors import InputError
from safr.evaluation.deletion import MAIN_PERCENT, delete_words, predict_probabilities
from safr.explorer.readings import RoundedValues, round_values
from safr.explorer.what_if import WhatIf, WhatIfPrediction, compute_what_if, predict_without_words
from safr.model.attachment import get_explaining_site
from safr.model.saving import load
from safr.runs import Run

TEXTS_PER_CHUNK = 64
"""Texts whose effects are computed at a time, so that a person who waits for a sentence comes between."""


@dataclass(frozen=True)
class ModelSession:
    """A run's model, ready to read."""

    run: Run
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    @property
    def site(self) -> str:
        """Where capacity explains this model."""
        return get_explaining_site(self.model)

    def explain(self, text: str) -> Explanation:
        """What the neurons say about a text."""
        return explain(self.model, self.tokenizer, text, max_tokens=self.run.settings.max_tokens)

    def what_if(self, text: str) -> WhatIf:
        """What becomes of a prediction as words are deleted, by capacity and, with VMASK, by keep probability."""
        explanation = self.explain(text)
        return compute_what_if(self.model, self.tokenizer, self.encode(text), self.scores(explanation))

    def predict_without(self, text: str, deleted: Collection[int]) -> WhatIfPrediction:
        """What the model says without some words."""
        return predict_without_words(self.model, self.tokenizer, self.encode(text), deleted)

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

    def effects(self, texts: Sequence[str]) -> Iterator[RoundedValues]:
        """How far the predicted class's probability falls when the 30 % of words with the highest capacity go.

        Yields:
            The effects of the next few texts, in [-1, 1]; None for a text without words.
        """
        for start in range(0, len(texts), TEXTS_PER_CHUNK):
            yield self._effects(texts[start : start + TEXTS_PER_CHUNK])

    def _effects(self, texts: Sequence[str]) -> RoundedValues:
        encoded = encode(self.tokenizer, texts, self.run.settings.max_tokens)
        scored = internal_scores(self.model, encoded, [self.site])
        left = delete_words(encoded, [np.nan_to_num(each.capacity[self.site]) for each in scored], MAIN_PERCENT)
        found = predict_probabilities(self.model, [*encoded, *left])
        rows, predicted = np.arange(len(texts)), [each.prediction for each in scored]
        fall = found[rows, predicted] - found[rows + len(texts), predicted]
        return [each if text.words else None for each, text in zip(round_values(fall), encoded, strict=True)]


def open_session(run: Run) -> ModelSession:
    """Load a trained run's model."""
    return ModelSession(run, load(run.model_folder), AutoTokenizer.from_pretrained(run.model_folder))
