"""Model sessions: a run's model that is loaded once and explains any text, and the thread that runs it for a server."""

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
"""Texts whose effects are computed at a time. Questions are answered between two chunks, so it must stay small."""

MAX_WAITING = 256
"""Questions that may wait. Further ones are refused, to be asked again."""

TIMEOUT_SECONDS = 30.0
"""Seconds that a question may take, with the time that it waits."""

_Answer = TypeVar("_Answer")


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

    def explain(self, text: str) -> Explanation:
        """The explanation of a text."""
        return explain(self.model, self.tokenizer, text, max_tokens=self.run.settings.max_tokens)

    def what_if(self, text: str) -> WhatIf:
        """How the prediction changes as words are deleted, by capacity and, with VMASK, by keep probability."""
        explanation = self.explain(text)
        return compute_what_if(self.model, self.tokenizer, self.encode(text), self.scores(explanation))

    def predict_without(self, text: str, deleted: Collection[int]) -> WhatIfPrediction:
        """What the model predicts without some of the words."""
        return predict_without_words(self.model, self.tokenizer, self.encode(text), deleted)

    def encode(self, text: str) -> EncodedText:
        """The text as the model reads it.

        Raises:
            InputError: The text has no words.
        """
        encoded = encode(self.tokenizer, [text], self.run.settings.max_tokens)[0]
        if not encoded.words:
            raise InputError("expected a text with at least one word, got none")
        return encoded

    @staticmethod
    def scores(explanation: Explanation) -> dict[str, NDArray[np.float64]]:
        """The scores that give the order in which words are deleted, by name."""
        scores = {"capacity": np.nan_to_num(explanation.capacity)}
        return scores if explanation.keep is None else scores | {"keep": np.nan_to_num(explanation.keep)}

    def effects(self, texts: Sequence[str]) -> Iterator[RoundedValues]:
        """How far the predicted class's probability falls without the 30 % of words with the highest capacity.

        Yields:
            The effects of the next few texts, in [-1, 1]; None for a text without words.
        """
        for start in range(0, len(texts), TEXTS_PER_CHUNK):
            yield self._compute_effects(texts[start : start + TEXTS_PER_CHUNK])

    def _compute_effects(self, texts: Sequence[str]) -> RoundedValues:
        encoded = encode(self.tokenizer, texts, self.run.settings.max_tokens)
        scores = internal_scores(self.model, encoded, [self.site])
        shortened = delete_words(encoded, [np.nan_to_num(score.capacity[self.site]) for score in scores], MAIN_PERCENT)
        probabilities = predict_probabilities(self.model, [*encoded, *shortened])  # (2 * text, label)
        rows, predicted = np.arange(len(texts)), [score.prediction for score in scores]
        effects = probabilities[rows, predicted] - probabilities[rows + len(texts), predicted]
        return [effect if text.words else None for effect, text in zip(round_values(effects), encoded, strict=True)]


def open_session(run: Run) -> ModelSession:
    """A session with a trained run's model, which is loaded here."""
    return ModelSession(run, *run.load_model())


class BusyError(Exception):
    """Too many questions wait already."""


class ModelWorker:
    """Runs the models for a server, in one thread.

    One thread is enough: torch uses every core by itself, and a model records one forward pass at a time.

    Args:
        sessions: The models, by name of the run.
        payload: The data of the page.
    """

    def __init__(self, sessions: Mapping[str, ModelSession], payload: PagePayload) -> None:
        self.sessions = sessions
        self.payload = payload
        self.texts = {row.number: row.text for row in payload.rows}
        self.effects: dict[str, dict[int, float | None]] = {name: {} for name in sessions}
        self.pending = True
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="safr")
        self._waiting_slots = threading.BoundedSemaphore(MAX_WAITING)

    async def answer(self, work: Callable[[], _Answer]) -> _Answer:
        """The result of the work.

        Raises:
            BusyError: Too many questions wait.
            TimeoutError: It took too long. Work that has begun still runs to its end, and the next begins after it.
        """
        if not self._waiting_slots.acquire(blocking=False):
            raise BusyError
        task = self._pool.submit(work)
        task.add_done_callback(lambda _: self._waiting_slots.release())
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return await asyncio.wrap_future(task)

    def read(self, run: str, text: str, number: int | None) -> ExplanationPayload:
        """One model's explanation of a text, with the other scores that the run's folder holds for a test text."""
        session = self.sessions[run]
        return pack_explanation(
            session.explain(text), other=None if number is None else load_other_scores(session.run, number)
        )

    async def find_effects(self) -> None:
        """Fill in the effects of all texts, a few at a time, so that questions are answered in between."""
        try:
            for name in self.sessions:
                await self._find_effects_of_run(name)
        finally:
            self.pending = False

    def close(self) -> None:
        """Start no further work."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _find_effects_of_run(self, run: str) -> None:
        numbers = list(self.texts)
        chunks = self.sessions[run].effects([self.texts[number] for number in numbers])
        while (chunk := await self._compute_next(chunks)) is not None:
            done = len(self.effects[run])
            self.effects[run] |= dict(zip(numbers[done : done + len(chunk)], chunk, strict=True))

    async def _compute_next(self, chunks: Iterator[RoundedValues]) -> Sequence[float | None] | None:
        return await asyncio.wrap_future(self._pool.submit(next, chunks, None))
