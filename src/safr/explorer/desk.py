"""Models and questions in, answers out: one at a time, in a thread of their own, and never too many or for too long."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from safr.explorer.contents import PagePayload, load_other_scores
from safr.explorer.reader import ModelSession
from safr.explorer.readings import ExplanationPayload, RoundedValues, pack_explanation

MAX_WAITING = 256
"""Questions that may wait; one more is sent away, to be asked again."""

TIMEOUT_SECONDS = 30.0
"""How long a question may wait and be worked on."""

_Answer = TypeVar("_Answer")


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
