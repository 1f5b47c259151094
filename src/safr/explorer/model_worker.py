"""The thread that runs the models for a server, one question at a time, and drops those that nobody waits for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from torch.utils.hooks import RemovableHandle

from safr.data.splits import Text
from safr.errors import InputError
from safr.explorer.defects import report_defect
from safr.explorer.explanation_payload import ExplanationPayload, RoundedValues
from safr.explorer.model_session import ModelSession
from safr.explorer.payload import PagePayload
from safr.explorer.turns import BusyError, StoppedError, Turns
from safr.model.forward_pass import HOOKS_LOCK, removing

MAX_WAITING = 256
"""Questions that may wait. Further ones are refused, to be asked again."""

MAX_WAITING_SECONDS = 120.0
"""Seconds that a question may wait. Then it is refused, to be asked again."""

TIMEOUT_SECONDS = 30.0
"""Seconds that a question may take once its turn has come."""

_Answer = TypeVar("_Answer")


class ModelWorker:
    """Runs the models for a server, in one thread.

    One thread is enough: torch uses every core by itself, and a model records one forward pass at a time. Visitors
    take turns. The effects of all texts are computed while no visitor waits.

    Args:
        sessions: The models, by name of the run.
        payload: The data of the page.
    """

    def __init__(self, sessions: Mapping[str, ModelSession], payload: PagePayload) -> None:
        self.sessions = sessions
        self.payload = payload
        self.texts = {row.number: row.source for row in payload.rows}
        self.effects: dict[str, dict[int, float | None]] = {name: {} for name in sessions}
        self.pending = True
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="safr")
        self._turns = Turns(MAX_WAITING)
        self._closed = threading.Event()

    async def answer(self, work: Callable[[], _Answer], *, visitor: str = "") -> _Answer:
        """The result of the work. Cancelled, it does not begin, or ends with the forward pass that it is at.

        Args:
            work: What to compute.
            visitor: Who asks. Visitors take turns.

        Raises:
            BusyError: Too many questions wait, or this one waited too long.
            StoppedError: The server stops.
            TimeoutError: It took too long, without the time that it waited.
        """
        try:
            async with asyncio.timeout(MAX_WAITING_SECONDS):
                await self._turns.take(visitor)
        except TimeoutError:
            raise BusyError from None
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return await self._run(work)

    def read(self, run: str, text: Text, number: int | None) -> ExplanationPayload:
        """One model's explanation of a text, with the other scores that the run's folder holds for a test text.

        Without its neurons, which take as long as all else and are asked for apart.
        """
        return self.sessions[run].read(text, number=number, most_neurons=0)

    async def find_effects(self) -> None:
        """Fill in the effects of all texts, a few at a time, while nobody asks anything."""
        try:
            for name in self.sessions:
                await self._find_effects_of_run(name)
        except (InputError, StoppedError):
            pass  # the server stops, or the model can't be explained, as every question about it is told
        except Exception as error:
            report_defect(error)
        finally:
            self.pending = False

    def close(self) -> None:
        """Turn away all who wait, start no further work, and stop the work at hand at its next forward pass."""
        self._closed.set()
        self._turns.close()
        self._pool.shutdown(wait=False)

    async def _run(self, work: Callable[[], _Answer]) -> _Answer:
        """The result of the work, whose turn has come. The turn lasts until the thread is free again."""
        if self._closed.is_set():
            self._turns.give_back()
            raise StoppedError
        dropped = threading.Event()
        task = asyncio.wrap_future(self._pool.submit(self._run_unless, dropped, work))
        task.add_done_callback(self._finish_turn)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            dropped.set()
            raise

    def _finish_turn(self, task: asyncio.Future) -> None:
        if not task.cancelled():
            task.exception()  # seen, also where nobody waits for it any more
        self._turns.give_back()

    def _run_unless(self, dropped: threading.Event, work: Callable[[], _Answer]) -> _Answer:
        """The result of the work, which ends before a model's next forward pass once it is dropped."""
        thread = threading.get_ident()

        def check(*_: object) -> None:
            if threading.get_ident() == thread and (dropped.is_set() or self._closed.is_set()):
                raise StoppedError

        handles: list[RemovableHandle] = []
        with removing(handles):
            with HOOKS_LOCK:
                handles += [session.model.register_forward_pre_hook(check) for session in self.sessions.values()]
            check()
            return work()

    async def _find_effects_of_run(self, run: str) -> None:
        numbers = list(self.texts)
        chunks = self.sessions[run].effects([self.texts[number] for number in numbers])
        while (chunk := await self._compute_next(chunks)) is not None:
            done = len(self.effects[run])
            self.effects[run] |= dict(zip(numbers[done : done + len(chunk)], chunk, strict=True))

    async def _compute_next(self, chunks: Iterator[RoundedValues]) -> Sequence[float | None] | None:
        await self._turns.take(None)
        return await self._run(lambda: next(chunks, None))
