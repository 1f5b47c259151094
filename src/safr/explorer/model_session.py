"""A run in, a model that is loaded once and reads any text out."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from safr.attribution.explanation import Explanation, explain
from safr.attribution.internals import internal_scores
from safr.data.encoding import EncodedText, encode
from safr.errors import InputError
from safr.evaluation.srs import MAIN_PERCENT, delete_words
from safr.explorer.explanation_payload import ExplanationPayload, RoundedValues, pack_explanation, round_values
from safr.explorer.payload import PagePayload, load_other_scores
from safr.explorer.what_if import WhatIf, WhatIfPrediction, compute_what_if, predict_without_words
from safr.inference import predict_probabilities
from safr.model.regularizer import get_explaining_site
from safr.runs import Run

TEXTS_PER_CHUNK = 64
"""Texts whose effects are computed at a time, so that a person who waits for a sentence comes between."""


MAX_WAITING = 256
"""Questions that may wait; one more is sent away, to be asked again."""


TIMEOUT_SECONDS = 30.0
"""How long a question may wait and be worked on."""


_Answer = TypeVar("_Answer")


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
    return ModelSession(run, *run.load_model())


class BusyError(Exception):
    """Too many questions wait already."""


class ModelWorker:
    """What the server's answers are made of.

    One thread does all the work: torch uses every core by itself, and a model records one pass at a time.

    Args:
        readers: The models by the run's name.
        contents: What the page was given.
    """

    def __init__(self, readers: Mapping[str, ModelSession], contents: PagePayload) -> None:
        self.readers = readers
        self.contents = contents
        self.texts = {row.number: row.text for row in contents.rows}
        self.effects: dict[str, dict[int, float | None]] = {name: {} for name in readers}
        self.pending = True
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="safr")
        self._places = threading.BoundedSemaphore(MAX_WAITING)

    async def answer(self, work: Callable[[], _Answer]) -> _Answer:
        """What the work gives.

        Raises:
            BusyError: Too many wait.
            TimeoutError: It took too long; work that has begun goes on to its end, and the next begins after it.
        """
        if not self._places.acquire(blocking=False):
            raise BusyError
        task = self._pool.submit(work)
        task.add_done_callback(lambda _: self._places.release())
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return await asyncio.wrap_future(task)

    def read(self, run: str, text: str, number: int | None) -> ExplanationPayload:
        """A text as one model reads it, with the scores that its run keeps of a test text."""
        reader = self.readers[run]
        return pack_explanation(
            reader.explain(text), other=None if number is None else load_other_scores(reader.run, number)
        )

    async def find_effects(self) -> None:
        """Fill in what deleting does to every text, a few at a time, while questions come between."""
        try:
            for name in self.readers:
                await self._find_effects(name)
        finally:
            self.pending = False

    async def _find_effects(self, run: str) -> None:
        numbers = list(self.texts)
        chunks = self.readers[run].effects([self.texts[number] for number in numbers])
        while (some := await self._next(chunks)) is not None:
            done = len(self.effects[run])
            self.effects[run] |= dict(zip(numbers[done : done + len(some)], some, strict=True))

    async def _next(self, chunks: Iterator[RoundedValues]) -> Sequence[float | None] | None:
        return await asyncio.wrap_future(self._pool.submit(next, chunks, None))

    def close(self) -> None:
        """Begin nothing new."""
        self._pool.shutdown(wait=False, cancel_futures=True)
